"""Weights as the papers' code and other libraries save them give the features that their networks have."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from kinevec import encoders
from kinevec.config import load as preset
from kinevec.encoders.foreign import KINDS, bring
from kinevec.encoders.weights import shape_only
from kinevec.errors import CheckpointError, ConfigError
from reference import released, resnet, slowonly

Shape = tuple[int, ...]
Maps = Callable[[dict[str, Tensor], Tensor], Tensor]


def weights(shapes: dict[str, Shape]) -> dict[str, Tensor]:
    """Random entries that keep values in bounds; variances so small that ε counts."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        value = torch.rand(shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            value = torch.tensor(7)
        elif name.endswith("running_var"):
            value = 2e-3 * value + 1e-4
        elif len(shape) == 5:
            value = 0.2 * (value - 0.5) / np.sqrt(np.prod(shape[1:]))
        elif not name.endswith("weight"):
            value = value - 0.5
        state[name] = value
    return state


def r3d(split: bool) -> Maps:
    return lambda state, x: resnet.Forward(state, split, training=False)(x)[-1]


# kind, encoder → its entries, what stands before them in a file, what else stands there, forward pass
SOURCES: dict[tuple[str, str], tuple[dict[str, Shape], str, dict[str, Shape], Maps]] = {
    ("mscl", "r3d18"): (
        resnet.state_shapes(False),
        "recognizer.encoder_q.",
        {
            "recognizer.encoder_k.stem.0.weight": (64, 3, 3, 7, 7),
            "recognizer.neck_q.laterals.0.weight": (8, 8),
            "recognizer.mlp_q.0.weight": (512, 512),
            "recognizer.queue": (128, 16),
            "recognizer_flow.encoder_q.stem.0.weight": (16, 3, 1, 7, 7),
        },
        r3d(False),
    ),
    ("fima", "r2plus1d18"): (
        resnet.state_shapes(True),
        "module.encoder_q.",
        {
            "module.encoder_k.stem.0.weight": (45, 3, 1, 7, 7),
            "module.queue": (128, 24),
            "module.cls_token": (1, 1, 512),
            "module.transformer_decoder.layers.0.linear1.weight": (512, 512),
        },
        r3d(True),
    ),
    ("fima", "i3d"): (
        released.state_shapes(),
        "module.encoder_q.",
        {"module.encoder_k.conv3d_2b_1x1.conv3d.weight": (64, 64, 1, 1, 1), "module.queue_ptr": (1,)},
        released.forward,
    ),
}


def saved(path: Path, kind: str, encoder: str) -> dict[str, Tensor]:
    """Writes a checkpoint as that code does; returns the encoder's entries."""
    shapes, prefix, others, _ = SOURCES[kind, encoder]
    state = weights(shapes)
    everything = {prefix + name: value for name, value in state.items()} | weights(others)
    checkpoint = {"epoch": 200, "arch": "x", "args": argparse.Namespace(lr=0.1), "state_dict": everything}
    torch.save(checkpoint, path)
    return state


@pytest.mark.parametrize(("kind", "encoder"), SOURCES)
def test_features_are_those_of_the_network_the_weights_come_from(
    kind: str, encoder: str, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint_0199.pth.tar"
    state = saved(path, kind, encoder)
    found = bring(path)
    assert (found.kind, found.loaded.config.model.name) == (kind, encoder)
    assert set(found.conversion.dropped) == set(SOURCES[kind, encoder][2])
    assert found.conversion.complete
    x = torch.rand(1, 3, 8, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        wanted = SOURCES[kind, encoder][3]({k: v.double() for k, v in state.items()}, x)
        got = found.loaded.encoder.eval().double()(x)
    assert got.shape == wanted.shape
    assert wanted.std() > 0
    # running_var is kept in single precision, also where the other ε is moved into it
    assert float((got - wanted).norm() / wanted.norm()) < (1e-4 if encoder == "i3d" else 1e-9)


CLIPS = {
    ("torchvision", "r3d18"): (16, 2, 112, 0.43216, 0.22803),
    ("mscl", "r3d18"): (8, 16, 112, 0.485, 0.229),
    ("fima", "r2plus1d18"): (16, 2, 112, 0.43216, 0.22803),
    ("fima", "i3d"): (16, 2, 224, 0.43216, 0.22803),
    ("mmaction", "slowonly50"): (8, 8, 224, 0.485, 0.229),
    ("pytorchvideo", "slowonly50"): (8, 8, 224, 0.45, 0.225),
    ("i3d", "i3d"): (64, 1, 224, 0.5, 0.5),
    ("mscl", "slowonly50"): (8, 16, 224, 0.485, 0.229),
    ("torchvision", "r2plus1d18"): (16, 2, 112, 0.43216, 0.22803),
}


def test_clips_and_normalisation_belong_to_the_weights() -> None:
    got = {}
    for kind, value in KINDS.items():
        for layout in value.layouts:
            clip, views = layout.config.clip, layout.config.views
            got[kind, layout.encoder] = (clip.frames, clip.stride, clip.size, views.mean[0], views.std[0])
            assert layout.config.model.name == layout.encoder
    assert got == CLIPS
    mscl, fima = KINDS["mscl"].layouts[0].config, KINDS["fima"].layouts[1].config
    assert (mscl, fima) == (preset("mscl-r3d18"), preset("fima-ucf101"))


def flat(shapes: dict[str, Shape], prefix: str = "") -> dict[str, Tensor]:
    """Entries of zeros that take no space, in memory or in a file."""
    return {prefix + name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}


def mscl(path: Path) -> Path:
    torch.save({"state_dict": flat(resnet.state_shapes(False), "recognizer.encoder_q.")}, path)
    return path


def test_other_clips_can_be_asked_for(tmp_path: Path) -> None:
    mscl(tmp_path / "a.pth")
    clip = bring(tmp_path / "a.pth", frames=16, stride=1, size=64).loaded.config.clip
    assert (clip.frames, clip.stride, clip.size) == (16, 1, 64)
    clip = bring(tmp_path / "a.pth", stride=3).loaded.config.clip
    assert (clip.frames, clip.stride, clip.size) == (8, 3, 112)
    with pytest.raises(ConfigError, match=r"clip.frames is 1"):
        bring(tmp_path / "a.pth", frames=1)


@pytest.mark.parametrize(
    ("kind", "encoder", "shapes"),
    [
        ("pytorchvideo", "slowonly50", slowonly.state_shapes(pytorchvideo=True)),
        ("i3d", "i3d", {n: tuple(v.shape) for n, v in shape_only("i3d").state_dict().items()}),
        ("torchvision", "r3d18", resnet.state_shapes(False, 400)),
        ("mmaction", "slowonly50", {f"backbone.{n}": s for n, s in slowonly.state_shapes().items()}),
        ("torchvision", "r2plus1d18", {f"module.{n}": s for n, s in resnet.state_shapes(True).items()}),
        ("mscl", "r3d18", {f"backbone.{n}": s for n, s in resnet.state_shapes(False).items()}),
        ("mscl", "slowonly50", {f"recognizer.encoder_q.{n}": s for n, s in slowonly.state_shapes().items()}),
    ],
)
def test_the_kind_is_found_out(kind: str, encoder: str, shapes: dict[str, Shape], tmp_path: Path) -> None:
    torch.save(flat(shapes), tmp_path / "a.pt")
    for found in (bring(tmp_path / "a.pt"), bring(tmp_path / "a.pt", kind)):
        assert (found.kind, found.loaded.config.model.name) == (kind, encoder)
        assert found.loaded.step is None


def test_safetensors_are_read(tmp_path: Path) -> None:
    state = weights(released.state_shapes())
    save_file({f"encoder_q.{name}": value for name, value in state.items()}, tmp_path / "a.safetensors")
    torch.save({f"encoder_q.{name}": value for name, value in state.items()}, tmp_path / "a.pt")
    identities = {encoders.load(tmp_path / name).identity for name in ("a.safetensors", "a.pt")}
    assert len(identities) == 1


def test_a_file_of_weights_is_a_place_of_an_encoder(tmp_path: Path) -> None:
    mscl(tmp_path / "a.pth")
    loaded = encoders.load(tmp_path / "a.pth")
    assert loaded.identity == bring(tmp_path / "a.pth").loaded.identity
    assert loaded.facts["origin"] == "MSCL's released code, the query encoder of the RGB branch"
    assert str(tmp_path) not in str(loaded.facts)


def test_what_is_of_no_kind_is_refused_by_name(tmp_path: Path) -> None:
    torch.save({"classifier.weight": torch.ones(1), "b": torch.ones(2)}, tmp_path / "a.pt")
    with pytest.raises(
        CheckpointError, match=r"2 entries \(classifier.weight, b\), of no kind that is known \(mscl, fima"
    ):
        bring(tmp_path / "a.pt")
    mscl(tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match="not of the kind 'fima'"):
        bring(tmp_path / "b.pt", "fima")
    with pytest.raises(ConfigError, match="unknown kind 'nonsense'; known: mscl, fima"):
        bring(tmp_path / "b.pt", "nonsense")


def changed(path: Path, change: Callable[[dict[str, Tensor]], None]) -> Path:
    """torchvision's R3D-18 but for a change."""
    state = flat(resnet.state_shapes(False))
    change(state)
    torch.save(state, path)
    return path


def test_an_encoder_that_is_not_filled_is_refused_unless_it_may_be(tmp_path: Path) -> None:
    def lose(state: dict[str, Tensor]) -> None:
        del state["layer4.1.conv2.0.weight"]
        state["stem.0.weight"] = torch.zeros(64, 1, 3, 7, 7)

    path = changed(tmp_path / "a.pt", lose)
    with pytest.raises(CheckpointError) as error:
        bring(path)
    for part in (
        "'r3d18'",
        "theirs (64, 1, 3, 7, 7), the model's (64, 3, 3, 7, 7)",
        "layer4.1.conv2.0.weight",
    ):
        assert part in str(error.value)
    found = bring(path, partial=True)
    assert found.loaded.facts["left_random"] == 2
    state = found.loaded.encoder.state_dict()
    assert state["stem.0.weight"].std() > 0
    assert not state["layer1.0.conv1.0.weight"].any()
    before = torch.get_rng_state()
    again = bring(path, partial=True).loaded
    assert again.identity == found.loaded.identity
    assert torch.equal(before, torch.get_rng_state())


def test_a_deeper_network_is_not_taken_for_a_shallow_one(tmp_path: Path) -> None:
    """ResNet-34 has all entries of ResNet-18, and more."""
    path = changed(
        tmp_path / "a.pt", lambda s: s.update({"layer1.2.conv1.0.weight": torch.zeros(64, 64, 3, 3, 3)})
    )
    with pytest.raises(CheckpointError, match=r"layer1.2.conv1.0.weight -> layer1.2.conv1.0.weight"):
        bring(path)


def test_other_parts_that_are_left_over_do_no_harm_and_are_said(tmp_path: Path) -> None:
    found = bring(changed(tmp_path / "a.pt", lambda s: s.update({"projector.0.weight": torch.zeros(2, 2)})))
    assert found.conversion.unexpected == ("projector.0.weight -> projector.0.weight",)
    assert "1 not in the model (projector.0.weight" in found.conversion.report()
