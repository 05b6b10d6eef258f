"""Exported programs compute what PyTorch computes, for any number of clips, and are refused where they do not."""

import logging
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from kinevec import encoders, tasks
from kinevec.config import Clip, Config, Model, Views
from kinevec.encoders import Loaded
from kinevec.errors import WorkError
from kinevec.exchange import programs
from kinevec.exchange.programs import ClipProgram, trace
from kinevec.models import build_encoder
from kinevec.models.conv import Conv3d, channels_last
from kinevec.runtime import seeded
from kinevec.train.checkpoint import save_encoder

CONFIG = Config(
    clip=Clip(frames=4, stride=2, size=32),
    views=Views(mean=(0.2, 0.5, 0.4), std=(0.3, 0.2, 0.6)),
    model=Model("tiny"),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported folder with both programs."""
    folder = tmp_path_factory.mktemp("models")
    run = folder / "run"
    run.mkdir()
    with seeded(5):
        save_encoder(run, build_encoder("tiny"), CONFIG, step=17)
    return tasks.export(run, folder / "model", onnx=True, torch_export=True)


def clips(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, 4, 32, 32, 3), dtype=np.uint8)


def expected(model: Path, batch: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Features and map in double precision, by the formula of normalisation."""
    frames = (batch / 255 - np.array(CONFIG.views.mean)) / np.array(CONFIG.views.std)
    encoder = encoders.load(model).encoder.eval().double()
    with torch.no_grad():
        maps = encoder(torch.from_numpy(frames.transpose(0, 4, 1, 2, 3))).numpy()
    return maps.mean((2, 3, 4)), maps


def test_programs_name_no_folder_of_this_machine(model: Path) -> None:
    private = [str(Path.home()), str(Path(__file__).parents[2]), str(model.parent)]
    for file in model.iterdir():
        content = file.read_bytes()
        assert [path for path in private if path.encode() in content] == [], file.name


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_both_programs_take_any_number_of_raw_clips(count: int, model: Path) -> None:
    session = onnxruntime.InferenceSession(model / "model.onnx", providers=["CPUExecutionProvider"])
    assert [(i.name, i.type, i.shape[1:]) for i in session.get_inputs()] == [
        ("clips", "tensor(uint8)", [4, 32, 32, 3])
    ]
    assert [o.name for o in session.get_outputs()] == ["features", "map"]
    batch = clips(count)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PyTorch's, of its own parts
        program = torch.export.load(model / "model.pt2").module()
    right = expected(model, batch)
    for found in (
        session.run(None, {"clips": batch}),
        [v.detach().numpy() for v in program(torch.from_numpy(batch))],
    ):
        for got, want in zip(found, right, strict=True):
            assert got.dtype == np.float32
            assert got.shape == want.shape
            assert np.abs(got - want).max() < 1e-5 * np.abs(want).max()


def test_the_folder_is_a_model_like_any_other_and_says_how_well_they_agree(model: Path) -> None:
    assert {path.name for path in model.iterdir()} == {
        "README.md",
        "config.json",
        "model.onnx",
        "model.pt2",
        "model.safetensors",
    }
    assert encoders.load(model).step == 17
    card = (model / "README.md").read_text("utf-8")
    assert "| `model.onnx` | " in card
    assert "| `model.pt2` | " in card


def loaded() -> Loaded:
    with seeded(2):
        return Loaded(build_encoder("tiny"), CONFIG, "x", None)


def test_tracing_leaves_the_encoder_as_it_is_and_starts_from_plain_routes() -> None:
    it = loaded()
    channels_last(it.encoder.train())
    layer = next(module for module in it.encoder.modules() if isinstance(module, Conv3d))
    layer.route = "fp32"
    identity, strides = it.identity, layer.weight.stride()
    program, traced = trace(it)
    assert it.encoder.training
    assert layer.route == "fp32"
    assert layer.weight.stride() == strides
    assert it.identity == identity
    assert not program.training
    assert {module.route for module in program.modules() if isinstance(module, Conv3d)} == {"plain"}
    assert "autocast" not in str(traced.graph)
    for count in (1, 3):
        batch = torch.from_numpy(clips(count))
        for got, want in zip(traced.module()(batch), program(batch), strict=True):
            assert torch.equal(got, want)


@pytest.mark.parametrize("wrong", ["features", "map", "alone", "nan"])
def test_a_program_that_computes_something_else_is_refused(wrong: str, tmp_path: Path) -> None:
    program = ClipProgram(loaded().encoder.eval(), CONFIG)
    sizes = []

    def run(batch: NDArray[np.uint8]) -> list[NDArray[Any]]:
        sizes.append(len(batch))
        with torch.no_grad():
            features, maps = (value.numpy().copy() for value in program(torch.from_numpy(batch)))
        if wrong == "features":
            features[-1, 3] += 2e-4 * features.max()
        if wrong == "map":
            maps[0, 0, 0, 0, 0] += 2e-4 * maps.max()
        if wrong == "alone" and len(batch) == 1:
            features *= 1.001
        if wrong == "nan":
            features[0, 0] = np.nan
        return [features, maps]

    with pytest.raises(WorkError, match=r"model.onnx differs from PyTorch by .* it was not kept"):
        programs._checked(program, run, tmp_path / "model.onnx")
    assert sizes == [1, 2, 3]


def test_a_wrong_program_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: Any) -> float:
        raise WorkError("model.onnx differs")

    monkeypatch.setattr(programs, "trace", lambda it: (nn.Identity(), None))
    monkeypatch.setattr(programs, "write_onnx", wrong)
    with pytest.raises(WorkError):
        tasks.export("untrained:tiny", tmp_path / "model", onnx=True)
    assert list(tmp_path.iterdir()) == []


def test_exporting_is_quiet(model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with programs._quiet(), caplog.at_level(logging.WARNING):
        logging.getLogger("torch.onnx._internal.exporter._registration").warning(
            "torchvision is not installed"
        )
    assert caplog.text == ""
    again = shutil.copytree(model, tmp_path / "model")
    assert encoders.load(tasks.export(again, again)).step == 17  # programs are files of ours too
    assert not (again / "model.onnx").exists()  # and not those of the new weights, unless asked for
