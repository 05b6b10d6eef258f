"""The presets are what they are called, have the papers' numbers, and fit the methods that they are for."""

import dataclasses
from typing import Any

import pytest
import torch

from kinevec.config import load, presets
from kinevec.methods import method as room
from kinevec.methods.mscl.motion_branch import at_steps
from kinevec.train.clips import example_clips


def test_presets_say_what_they_are() -> None:
    found = presets()
    assert {"moco", "moco-r3d18"} <= set(found)
    for name, line in found.items():
        assert len(line) > 20, name
        assert not line.startswith("#"), name


# What the papers say of each published configuration: of all three, of MSCL, of FIMA.
COMMON = {
    "method.dim": 128,
    "train.optimizer": "sgd",
    "train.weight_decay": 1e-4,
    "views.area": (0.2, 1.0),
    "views.flip": 0.5,
    "views.jitter": 0.8,
    "views.grayscale": 0.2,
    "views.blur": 0.5,
    "views.blur_sigma": (0.1, 2.0),
    **{f"views.{key}": 0.4 for key in ("brightness", "contrast", "saturation")},
    "views.hue": 0.1,
}

BASELINE_OF_MSCL = COMMON | {
    "clip.frames": 8,
    "clip.stride": 16,
    "clip.size": 112,
    "model.name": "r3d18",
    "method.hidden": 512,
    "method.queue": 65_536,
    "method.damping": 0.99999,
    "method.temperature": 0.07,
    "method.momentum": 0.994,
    "method.momentum_schedule": "cosine",
    "method.symmetric": False,
    "method.centred": False,
    "train.epochs": 400,
    "train.batch": 128,
    "train.lr": 0.02,
    "train.warmup_epochs": 5,
    "train.clip_norm": 40,
    "views.mean": (0.485, 0.456, 0.406),
    "views.std": (0.229, 0.224, 0.225),
}

MSCL = BASELINE_OF_MSCL | {
    "sampling.near": True,
    "sampling.moving": True,
    "flow.gap": 8,
    "terms.names": ["instance", "flow", "cross", "rotated", "local"],
    "mscl.motion": "flow",
    "mscl.width": 16,
    "mscl.blocks": 2,
    "mscl.neck": "pyramid",
    "mscl.rotated_steps": True,
    "mscl.temperature": 0.07,
}

FIMA = COMMON | {
    "clip.frames": 16,
    "clip.stride": 2,
    "clip.window": 32,
    "clip.size": 224,
    "sampling.near": False,
    "sampling.moving": False,
    "model.name": "i3d",
    "terms.names": ["instance", "pixel", "frame"],
    "method.hidden": 1024,
    "method.damping": 1,
    "method.temperature": 0.1,
    "method.momentum": 0.999,
    "method.momentum_schedule": "constant",
    "method.symmetric": True,
    "method.centred": False,
    "fima.motion": "difference",
    "fima.decoder": True,
    "fima.foreground": True,
    "fima.steps": 2,
    "fima.positive_radius": 0.7,
    "fima.temperature": 0.1,
    "fima.width": 512,
    "fima.heads": 4,
    "fima.feedforward": 512,
    "fima.layers": 2,
    "fima.dropout": 0.1,
    "train.warmup_epochs": 0,
    "views.mean": (0.43216, 0.394666, 0.37645),
    "views.std": (0.22803, 0.22145, 0.216989),
}

PUBLISHED: dict[str, dict[str, Any]] = {
    "moco-r3d18": BASELINE_OF_MSCL | {"terms.names": ["instance"]},
    "mscl-r3d18": MSCL,
    "mscl-slowonly50": MSCL
    | {"model.name": "slowonly50", "clip.size": 224, "method.hidden": 2048, "train.epochs": 200},
    "fima-ucf101": FIMA
    | {
        "method.queue": 2_240,
        "fima.vanilla_queue": 2_240,
        "fima.local_queue": 2_240,
        "fima.dense_queue": 0,
        "train.epochs": 200,
        "train.batch": 24,
        "train.lr": 0.00375,
    },
    "fima-k400": FIMA
    | {
        "method.queue": 65_536,
        "fima.vanilla_queue": 65_536,
        "fima.local_queue": 65_536,
        "fima.dense_queue": 31_360,
        "train.epochs": 100,
        "train.batch": 64,
        "train.lr": 0.01,
    },
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_presets_have_the_papers_numbers(name: str) -> None:
    config = load(name)
    found = {}
    for key in PUBLISHED[name]:
        section, _, entry = key.partition(".")
        found[key] = getattr(getattr(config, section), entry)
    assert found == PUBLISHED[name]
    weights = {getattr(config.terms, term) for term in config.terms.names}
    assert weights == {1.0}  # all weights are 1 in both papers


def test_small_presets_differ_in_what_they_compare_alone() -> None:
    """Else their results would not tell the methods apart."""
    moco, mscl, fima = (load(name) for name in ("moco", "mscl", "fima"))
    assert (moco.model.name, moco.clip.size, moco.method.centred) == ("tiny", 64, True)
    for config in (mscl, fima):
        assert (config.clip, config.views, config.model, config.train, config.data, config.sampling) == (
            moco.clip,
            moco.views,
            moco.model,
            moco.train,
            moco.data,
            moco.sampling,
        )
    assert mscl.method == moco.method
    assert dataclasses.replace(fima.method, symmetric=False) == moco.method
    assert (moco.terms.names, mscl.terms.names, fima.terms.names) == (
        ["instance"],
        ["instance", "flow", "cross", "rotated", "local"],
        ["instance", "pixel", "frame"],
    )


@pytest.mark.parametrize("name", presets())
def test_presets_make_a_method_whose_parts_fit(name: str) -> None:
    """In shapes alone, so that the large ones pass too: no number is computed and no memory used."""
    config = load(name)
    clip = config.clip
    with torch.device("meta"):
        model = room.Method(config)
        images = torch.zeros(2, 3, clip.frames, clip.size, clip.size)
        stages = model.encoder.stages(images)
        assert (model.mscl is not None, model.fima is not None) == (config.terms.mscl, config.terms.fima)
        if model.mscl is not None and model.mscl.neck is not None:
            flow = model.mscl.branch.encoder(images[:, :, ::2])
            assert flow.shape[2] == 4  # MSCL: as many steps as there are to compare
            assert at_steps(model.mscl.neck(stages), 4).shape[:3] == flow.shape[:3]
        if model.fima is not None:
            assert stages[-1].shape[2] == config.fima.steps
            assert model.fima.decoder is not None
            token, cells = model.fima.decoder(*(stages[-1][:, :, t] for t in range(2)))
            assert (token.shape, cells.shape) == ((2, model.encoder.channels), stages[-1][:, :, 0].shape)


@pytest.mark.parametrize("name", ["moco", "mscl", "fima"])
def test_small_presets_take_their_clips(name: str) -> None:
    config = load(name, ["clip.size=32"])
    losses = room.Method(config)(example_clips(config, 2, torch.device("cpu")))
    rotated = {f"{term}_rotated" for term in ("flow", "cross")} if config.terms.rotated else set()
    assert set(losses.terms) == set(config.terms.names) - {"rotated"} | rotated
    assert torch.isfinite(losses.total)
