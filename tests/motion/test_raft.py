"""RAFT through torchvision's interface, on a stand-in network that does something known."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kinevec.errors import CheckpointError, InputError, UsageError
from kinevec.motion.flow import optical_flow, pair_flow
from kinevec.motion.raft import raft
from reference.textures import Motion, moving_texture

SEEN: list[tuple[Tensor, Tensor]] = []


class Standin(nn.Module):
    """Says that the first image's red, and the second's green, are the flow; times a weight."""

    def __init__(self, *, large: bool) -> None:
        super().__init__()
        self.scale = nn.Linear(1, 1, bias=False)
        self.norm = nn.BatchNorm1d(1)
        if large:
            self.mask_predictor = nn.Linear(1, 1)

    def forward(self, first: Tensor, second: Tensor) -> list[Tensor]:
        assert not self.training
        assert not torch.is_grad_enabled()
        SEEN.append((first, second))
        flow = torch.stack([first[:, 0], second[:, 1]], 1) * self.scale.weight
        return [torch.zeros_like(flow), flow]  # coarse first, the last is the finest


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    networks = ModuleType("torchvision.models.optical_flow")
    networks.raft_large = lambda weights: Standin(large=True)  # type: ignore[attr-defined]
    networks.raft_small = lambda weights: Standin(large=False)  # type: ignore[attr-defined]
    for name in ("torchvision", "torchvision.models"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, networks.__name__, networks)
    SEEN.clear()
    yield
    SEEN.clear()


def weights(path: Path, *, large: bool = True, prefix: str = "") -> Path:
    network = Standin(large=large)
    nn.init.constant_(network.scale.weight, 10.0)
    state = {f"{prefix}{name}": value.contiguous() for name, value in network.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def frames(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, height, width), dtype=np.uint8)


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("batch", [1, 2, 8])
@pytest.mark.parametrize("size", [(128, 136), (32, 171), (133, 40)])
def test_every_pair_goes_through_the_network(size: tuple[int, int], batch: int, tmp_path: Path) -> None:
    images = frames(5, *size)
    pairs = [(0, 2), (4, 1), (3, 3)]
    method = raft(weights(tmp_path / "raft.pth"), "cpu", batch)
    flow = pair_flow(images, pairs, method)
    assert flow.shape == (3, 2, *size)
    assert flow.dtype == np.float32
    for got, (source, target) in zip(flow, pairs, strict=True):
        expected = 10 * (np.stack([images[source, 0], images[target, 1]]) / 127.5 - 1)
        np.testing.assert_allclose(got, expected, atol=1e-5)
    assert [len(first) for first, _ in SEEN] == {1: [1, 1, 1], 2: [2, 1], 8: [3]}[batch]
    height, width = SEEN[0][0].shape[2:]
    assert (height, width) == tuple(max(128, -(-side // 8) * 8) for side in size)
    for first, second in SEEN:  # the edge goes on
        for image in (first, second):
            assert (image[:, :, size[0] :, : size[1]] == image[:, :, size[0] - 1 : size[0], : size[1]]).all()
            assert (image[:, :, :, size[1] :] == image[:, :, :, size[1] - 1 : size[1]]).all()


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("name", ["raft.pth", "raft.safetensors"])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("large", [False, True])
def test_weights_say_which_network_they_are_of(name: str, prefix: str, large: bool, tmp_path: Path) -> None:
    method = raft(weights(tmp_path / name, large=large, prefix=prefix))
    flow = optical_flow(frames(3, 40, 48), 2, method)
    assert flow.shape == (1, 2, 40, 48)
    assert np.abs(flow).max() > 9


@pytest.mark.usefixtures("torchvision")
def test_what_is_not_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.pth: cannot read these weights: No such file"):
        raft(tmp_path / "none.pth")
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("not weights")
        with pytest.raises(CheckpointError, match="damaged, or not weights"):
            raft(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="holds no weights by name"):
        raft(tmp_path / "list.pth")
    torch.save({"other.weight": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: not the weights of torchvision's raft_small"):
        raft(tmp_path / "other.pth")


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this must not run",)


@pytest.mark.usefixtures("torchvision")
def test_weights_run_no_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"scale.weight": Harmful()}, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match="damaged, or not weights"):
        raft(tmp_path / "bad.pth")
    assert capsys.readouterr().out == ""


def test_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(UsageError, match=r"needs torchvision.*pip install torchvision 'torch=="):
        raft(weights(tmp_path / "raft.pth"))


def test_its_name_alone_says_that_weights_are_needed() -> None:
    with pytest.raises(UsageError, match=r"needs the weights of a network.*kinevec\.motion\.raft\.raft\("):
        optical_flow(frames(2, 40, 40), 1, "raft")


def test_any_function_serves_as_a_method() -> None:
    images, _ = moving_texture(Motion(shift=(2.0, 0.0)), frames=3, size=(40, 48), gap=1)
    asked = []

    def method(frames: np.ndarray, pairs: list[tuple[int, int]]) -> np.ndarray:
        asked.append((frames.shape, pairs))
        return np.full((len(pairs), 2, *frames.shape[2:]), 7, np.float32)

    assert (optical_flow(torch.from_numpy(images), 2, method) == 7).all()
    assert asked == [((3, 3, 40, 48), [(0, 2)])]
