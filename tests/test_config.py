"""Configurations go to TOML and back, and refuse what makes no sense with a message that helps."""

import dataclasses
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kinevec.config import (
    Clip,
    Config,
    Data,
    Fima,
    Flow,
    Method,
    Mscl,
    Sampling,
    Terms,
    Train,
    Views,
    differences,
    from_dict,
    load,
    presets,
    to_dict,
    to_toml,
)
from kinevec.errors import ConfigError
from kinevec.methods import method as room
from kinevec.methods.mscl.motion_branch import at_steps
from kinevec.train.clips import example_clips

SECTIONS = {field.name: field.default_factory for field in dataclasses.fields(Config)}


def test_presets_say_what_they_are() -> None:
    found = presets()
    assert {"moco", "moco-r3d18"} <= set(found)
    for name, line in found.items():
        assert len(line) > 20, name
        assert not line.startswith("#"), name


@pytest.mark.parametrize("name", presets())
def test_presets_survive_toml(name: str, tmp_path: Path) -> None:
    config = load(name)
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config), "utf-8")
    assert load(path) == config
    assert load(str(path)) == config
    assert from_dict(Config, to_dict(config)) == config


# What METHODS says of each published configuration: of all three, of MSCL (§1), of FIMA (§2).
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
            assert flow.shape[2] == 4  # METHODS §1: as many steps as there are to compare
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


def test_defaults_are_the_papers_augmentation() -> None:
    views = Views()
    assert (views.area, views.flip, views.jitter, views.grayscale, views.blur) == (
        (0.2, 1),
        0.5,
        0.8,
        0.2,
        0.5,
    )
    assert (views.brightness, views.contrast, views.saturation, views.hue) == (0.4, 0.4, 0.4, 0.1)
    assert views.blur_sigma == (0.1, 2.0)
    assert (views.mean, views.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_toml_gives_unusual_values_back_exactly() -> None:
    config = Config(
        views=Views(area=(0.1 + 0.2, 1.0), mean=(1 / 3, -1e-17, 12345678.9)),
        data=Data(split='odd "name" \\ ü\n', workers=0),
        method=Method(symmetric=True, momentum_schedule="constant"),
        train=Train(lr=5e-324, seed=2**62),
    )
    assert from_dict(Config, tomllib.loads(to_toml(config))) == config


def test_every_value_stands_in_the_toml() -> None:
    tree = tomllib.loads(to_toml(Config()))
    for name, factory in SECTIONS.items():
        assert set(tree[name]) == {field.name for field in dataclasses.fields(factory)}


@pytest.mark.parametrize("name", SECTIONS)
def test_configurations_are_frozen(name: str) -> None:
    config = Config()
    section = getattr(config, name)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, name, section)
    key = dataclasses.fields(section)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(section, key, getattr(section, key))


def test_span_counts_first_and_last_frame() -> None:
    assert [Clip(frames=f, stride=s).span for f, s in [(8, 1), (8, 2), (2, 5)]] == [8, 15, 6]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"trian": {}}, "unknown key 'trian'; did you mean 'train'?"),
        ({"train": {"epoch": 3}}, "unknown key 'train.epoch'; did you mean 'epochs'?"),
        ({"views": {"blur_sgima": 3}}, "unknown key 'views.blur_sgima'; did you mean 'blur_sigma'?"),
        ({"method": {"dm": 3}}, "unknown key 'method.dm'; did you mean 'dim'?"),
        (
            {"xyzzy": 1},
            "unknown key 'xyzzy'; known: "
            "clip, sampling, flow, data, views, model, terms, method, mscl, fima, train, log",
        ),
        ({"terms": {"pixl": 1}}, "unknown key 'terms.pixl'; did you mean 'pixel'?"),
        ({"clip": {"qqq": 1}}, "unknown key 'clip.qqq'; known: frames, stride, size"),
    ],
)
def test_unknown_keys_name_the_nearest(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(Config, tree)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("train", "epochs", 3.0, "train.epochs is 3.0; it must be of type int"),
        ("train", "epochs", "3", "train.epochs is '3'; it must be of type int"),
        ("train", "epochs", True, "train.epochs is True; it must be of type int"),
        ("train", "lr", "fast", "train.lr is 'fast'; it must be of type float"),
        ("train", "lr", False, "train.lr is False; it must be of type float"),
        ("train", "lr", [0.1], "train.lr is [0.1]; it must be of type float"),
        ("method", "symmetric", 1, "method.symmetric is 1; it must be of type bool"),
        ("method", "symmetric", "yes", "method.symmetric is 'yes'; it must be of type bool"),
        ("sampling", "near", 1, "sampling.near is 1; it must be of type bool"),
        ("flow", "gap", 1.5, "flow.gap is 1.5; it must be of type int"),
        ("flow", "store", "disk", "flow.store is 'disk'; it must be one of auto, cache, run, none"),
        ("terms", "pixel", True, "terms.pixel is True; it must be of type float"),
        ("mscl", "neck", "none", "mscl.neck is 'none'; it must be one of pyramid, linear"),
        ("mscl", "motion", "rgb", "mscl.motion is 'rgb'; it must be one of flow, difference"),
        ("fima", "motion", "rgb", "fima.motion is 'rgb'; it must be one of difference, flow"),
        ("fima", "steps", 2.0, "fima.steps is 2.0; it must be of type int"),
        ("model", "name", 18, "model.name is 18; it must be of type str"),
        ("train", "optimizer", "adam", "train.optimizer is 'adam'; it must be one of sgd, adamw"),
        ("data", "store", [], "data.store is []; it must be one of auto, frames, files"),
        ("views", "area", 0.5, "views.area is 0.5; it must be a list of 2 numbers"),
        ("views", "area", [0.5], "views.area is [0.5]; it must be a list of 2 numbers"),
        ("views", "mean", [0.1, 0.2], "views.mean is [0.1, 0.2]; it must be a list of 3 numbers"),
        ("views", "mean", "abc", "views.mean is 'abc'; it must be a list of 3 numbers"),
        ("views", "mean", [0.1, "x", 0.2], "views.mean is 'x'; it must be of type float"),
    ],
)
def test_values_of_the_wrong_type(section: str, key: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(Config, {section: {key: value}})
    assert str(caught.value) == message


def test_a_section_must_be_a_section() -> None:
    with pytest.raises(ConfigError, match=r"'train' is a section; write \[train\]"):
        from_dict(Config, {"train": 3})


def test_whole_numbers_serve_as_floats_and_lists_as_tuples() -> None:
    config = from_dict(Config, {"train": {"lr": 1}, "views": {"area": [1, 1]}})
    assert type(config.train.lr) is float
    assert config.views.area == (1.0, 1.0)
    assert {type(x) for x in config.views.area} == {float}


NAN, INFINITE = float("nan"), float("inf")

# (section, key, values that are allowed right at the bounds, values just beyond them)
BOUNDS: list[tuple[str, str, list[Any], list[Any]]] = [
    ("clip", "frames", [2], [1, 0, -1]),
    ("clip", "stride", [1], [0, -1]),
    ("clip", "size", [16], [15, 0]),
    ("data", "held_out", [1e-9, 0.999], [0.0, 1.0, -0.1, NAN]),
    ("data", "store_limit_gb", [0.0], [-0.1, NAN]),
    ("data", "workers", [-1, 0, 99], [-2]),
    ("data", "failed_share", [0.0, 1.0], [-0.01, 1.01, NAN]),
    (
        "views",
        "area",
        [(1e-9, 1.0), (1.0, 1.0)],
        [(0.0, 1.0), (0.5, 0.4), (0.5, 1.01), (0.5, NAN), (NAN, 0.5)],
    ),
    ("views", "aspect", [(1e-9, 99.0), (2.0, 2.0)], [(0.0, 1.0), (2.0, 1.9), (NAN, 1.0)]),
    *[("views", key, [0.0, 1.0], [-0.01, 1.01, NAN]) for key in ("flip", "jitter", "grayscale", "blur")],
    *[("views", key, [0.0, 1.0], [-0.01, 1.01, NAN]) for key in ("brightness", "contrast", "saturation")],
    ("views", "hue", [0.0, 0.5], [-0.01, 0.51, NAN]),
    ("views", "blur_sigma", [(1e-9, 1e-9), (1.0, 9.0)], [(0.0, 1.0), (2.0, 1.9), (-1.0, 1.0)]),
    ("views", "std", [(1e-9, 1.0, 1.0)], [(0.0, 1.0, 1.0), (1.0, 1.0, -0.1), (NAN, 1.0, 1.0)]),
    ("flow", "gap", [1], [0, -1]),
    ("flow", "short_side", [32], [31, 0]),
    *[
        ("terms", key, [0.0, 9.0], [-0.1, NAN])
        for key in ("flow", "cross", "local", "vanilla", "pixel", "frame")
    ],
    ("terms", "instance", [1e-9], [-0.1, NAN]),
    ("method", "dim", [2], [1, 0]),
    ("method", "damping", [1e-9, 1.0], [0.0, 1.01, -0.1, NAN]),
    ("method", "hidden", [1], [0, -1]),
    ("method", "queue", [1], [0, -1]),
    ("method", "temperature", [1e-9], [0.0, -0.1, NAN]),
    ("method", "momentum", [0.0, 1.0], [-0.01, 1.01, NAN]),
    *[("mscl", key, [1], [0, -1]) for key in ("width", "blocks")],
    ("mscl", "temperature", [1e-9], [0.0, -0.1, NAN]),
    *[("fima", key, [1e-9], [0.0, -0.1, NAN]) for key in ("temperature", "positive_radius")],
    *[("fima", key, [1], [0, -1]) for key in ("steps", "vanilla_queue", "feedforward", "layers")],
    *[("fima", key, [0], [-1]) for key in ("dense_queue", "local_queue")],
    ("fima", "width", [4, 1000], [0, 2, 7, 513, 514, -4]),
    ("fima", "dropout", [0.0, 0.999], [-0.01, 1.0, NAN]),
    ("train", "batch", [2], [1, 0]),
    ("train", "lr", [1e-9], [0.0, -0.1, NAN]),
    ("train", "weight_decay", [0.0], [-1e-9, NAN]),
    ("train", "clip_norm", [0.0], [-1e-9, NAN]),
    ("train", "seed", [0, 2**63 - 1], [-1, 2**63]),
    ("train", "warmup_epochs", [0.0, 199.9], [-0.1, 200.0, NAN]),
]


@pytest.mark.parametrize(
    ("section", "key", "allowed", "refused"), BOUNDS, ids=[f"{bound[0]}.{bound[1]}" for bound in BOUNDS]
)
def test_bounds_hold_at_construction(section: str, key: str, allowed: list[Any], refused: list[Any]) -> None:
    make: Callable[..., object] = SECTIONS[section]  # type: ignore[assignment]
    for value in allowed:
        assert getattr(make(**{key: value}), key) == value
    for value in refused:
        with pytest.raises(ConfigError, match=rf"{section}\.{key} is "):
            make(**{key: value})


@pytest.mark.parametrize(("width", "heads"), [(512, 0), (512, -1), (512, 3), (9, 3), (3, 1)])
def test_the_decoders_width_is_even_and_divides_among_its_heads(width: int, heads: int) -> None:
    with pytest.raises(ConfigError) as caught:
        Fima(width=width, heads=heads)
    assert str(caught.value) == (
        f"fima.width is {width}; it must be even and a multiple of fima.heads = {heads}"
    )
    assert Fima(width=12, heads=3).heads == 3


def test_some_term_must_have_a_weight() -> None:
    with pytest.raises(ConfigError, match=r"every weight in \[terms\] is 0"):
        Terms(instance=0)
    assert Terms(instance=0, frame=1e-9).names == ["frame"]


def test_rotated_flow_repeats_terms_that_are_there() -> None:
    for rotated in (1.0, -1.0, NAN):
        with pytest.raises(ConfigError, match=r"terms\.rotated is "):
            Terms(rotated=rotated)
    with pytest.raises(ConfigError, match=r"repeats terms\.flow and terms\.cross, which are 0"):
        Terms(rotated=1, local=1)
    assert Terms(rotated=1, flow=1).rotated == Terms(rotated=1, cross=1).rotated == 1


DIFFERENCE = Mscl(motion="difference", rotated_steps=False)


def test_frame_differences_cannot_be_rotated() -> None:
    with pytest.raises(ConfigError) as caught:
        Config(terms=Terms(flow=1, rotated=1), mscl=DIFFERENCE)
    assert str(caught.value) == (
        "terms.rotated is set, but frame differences cannot be rotated: set it to 0, or mscl.motion=flow"
    )
    with pytest.raises(ConfigError) as caught:
        Config(terms=Terms(local=1), mscl=Mscl(motion="difference"))
    assert str(caught.value) == (
        "mscl.rotated_steps is set, but frame differences cannot be rotated: "
        "set it to false, or mscl.motion=flow"
    )
    assert Config(terms=Terms(flow=1, local=1), mscl=DIFFERENCE).motions == {"difference"}
    # Settings of terms that are left out say nothing.
    assert Config(terms=Terms(flow=1), mscl=Mscl(motion="difference")).terms.flow == 1
    assert Config(mscl=Mscl(motion="difference")).motions == set()


@pytest.mark.parametrize("term", ["vanilla", "pixel", "frame"])
def test_fima_is_symmetric(term: str) -> None:
    terms = Terms(**{term: 1.0})
    with pytest.raises(ConfigError, match=r"set method\.symmetric=true"):
        Config(terms=terms)
    assert Config(terms=terms, method=Method(symmetric=True)).motions == {"difference"}


def test_the_frame_term_needs_the_decoder() -> None:
    method, without = Method(symmetric=True), Fima(decoder=False)
    with pytest.raises(ConfigError, match=r"set fima\.decoder=true"):
        Config(terms=Terms(frame=1), method=method, fima=without)
    assert Config(terms=Terms(pixel=1, vanilla=1), method=method, fima=without).terms.pixel == 1


def test_local_clips_of_differences_repeat_no_frame() -> None:
    whole: dict[str, Any] = {"clip": Clip(frames=16, stride=2), "method": Method(symmetric=True)}
    with pytest.raises(ConfigError) as caught:
        Config(**whole, terms=Terms(frame=1), fima=Fima(steps=3))
    assert str(caught.value) == (
        "local clips of 16 frames do not fit into one of fima.steps = 3 parts of a window of 32 frames "
        "without repeating some, whose difference would be nothing: raise clip.stride"
    )
    assert Config(**whole, terms=Terms(frame=1), fima=Fima(steps=2)).fima.steps == 2
    assert Config(**whole, terms=Terms(frame=1), fima=Fima(steps=3, motion="flow")).fima.steps == 3
    assert Config(**whole, terms=Terms(pixel=1), fima=Fima(steps=3)).fima.steps == 3  # no local clips


@pytest.mark.parametrize(("method", "weights"), [("raft", ""), ("dis", "raft.pth")])
def test_raft_and_no_other_method_has_weights(method: str, weights: str) -> None:
    with pytest.raises(ConfigError, match=f"flow.method is {method} and flow.weights is '{weights}'; raft "):
        Flow(method=method, weights=weights)
    assert Flow(method="raft", weights="raft.pth").weights == "raft.pth"


def test_motions_are_what_the_terms_need() -> None:
    symmetric = Method(symmetric=True)
    both = Terms(local=1, pixel=1)
    assert Config().motions == set()
    assert Config(terms=both, method=symmetric).motions == {"flow", "difference"}
    assert Config(terms=both, method=symmetric, fima=Fima(motion="flow")).motions == {"flow"}
    assert Config(terms=both, method=symmetric, mscl=DIFFERENCE).motions == {"difference"}
    for term, branch in [("flow", "mscl"), ("cross", "mscl"), ("local", "mscl"), ("vanilla", "fima")]:
        terms = Terms(**{term: 0.1})
        assert (terms.mscl, terms.fima) == (branch == "mscl", branch == "fima")


def test_window_is_what_a_clip_stands_for() -> None:
    assert [Clip(frames=f, stride=s).window for f, s in [(8, 1), (16, 2), (2, 5)]] == [8, 32, 10]


def test_sampling_and_flow_say_nothing_unless_asked() -> None:
    assert Sampling() == Sampling(near=False, moving=False)
    assert (Flow().method, Flow().gap, Flow().store) == ("dis", 8, "auto")


def test_epochs_must_be_one_at_least() -> None:
    assert Train(epochs=1, warmup_epochs=0).epochs == 1
    with pytest.raises(ConfigError, match=r"train\.epochs is 0"):
        Train(epochs=0, warmup_epochs=0)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("train", "lr", INFINITE),
        ("train", "weight_decay", INFINITE),
        ("method", "temperature", INFINITE),
        ("terms", "pixel", INFINITE),
        ("fima", "positive_radius", INFINITE),
        ("views", "aspect", [1.0, INFINITE]),
        ("views", "blur_sigma", [1.0, INFINITE]),
        ("views", "mean", [0.1, NAN, 0.1]),
        ("views", "std", [0.1, NAN, 0.1]),
    ],
)
def test_numbers_must_be_finite(section: str, key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"{section}\.{key} is "):
        from_dict(Config, {section: {key: value}})


def test_changes_are_applied_in_order() -> None:
    config = load(
        "moco",
        [
            "train.epochs=3",
            " train.lr = 1e-3 ",
            " model.name = r3d18 ",
            'data.split="all"',
            "views.area=[0.3, 1]",
            "method.symmetric=true",
            "train.epochs=4",
        ],
    )
    expected = load("moco")
    expected = dataclasses.replace(
        expected,
        train=dataclasses.replace(expected.train, epochs=4, lr=1e-3),
        model=dataclasses.replace(expected.model, name="r3d18"),
        data=dataclasses.replace(expected.data, split="all"),
        views=dataclasses.replace(expected.views, area=(0.3, 1.0)),
        method=dataclasses.replace(expected.method, symmetric=True),
    )
    assert config == expected


def test_changes_reach_sections_that_the_file_lacks(tmp_path: Path) -> None:
    path = tmp_path / "empty.toml"
    path.write_text("")
    assert load(path) == Config()
    assert load(path, ["data.workers=2"]) == Config(data=Data(workers=2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.epochs", "cannot read the change 'train.epochs'; write section.key=value"),
        ("epochs=3", "cannot read the change 'epochs=3'"),
        ("=3", "cannot read the change '=3'"),
        ("", "cannot read the change ''"),
        ("train.epoch=3", "unknown key 'train.epoch'; did you mean 'epochs'?"),
        ("trian.epochs=3", "unknown key 'trian'; did you mean 'train'?"),
        ("train.epochs.x=3", "unknown key 'train.epochs.x'"),
        ("train.epochs=", "train.epochs is ''; it must be of type int"),
        ("train.epochs=many", "train.epochs is 'many'; it must be of type int"),
        ("train.epochs=0", "train.epochs is 0; it must be at least 1"),
        ("views.area=0.3,1", "views.area is '0.3,1'; it must be a list of 2 numbers"),
        ("views.area=[0.3", "views.area is '[0.3'; it must be a list of 2 numbers"),
    ],
)
def test_malformed_changes(change: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load("moco", [change])
    assert str(caught.value).startswith(message)


def test_a_change_within_a_value_that_should_be_a_section(tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    path.write_text("train = 3")
    with pytest.raises(ConfigError, match="train"):
        load(path, ["train.epochs=3"])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("mocco", "unknown preset 'mocco'; did you mean 'moco'?"),
        ("zzz", "unknown preset 'zzz'; known: fima-k400, "),
        ("run/config.json", "a file must end in .toml"),
    ],
)
def test_unknown_presets(source: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(source)
    assert message in str(caught.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    missing, folder = tmp_path / "missing.toml", tmp_path / "folder.toml"
    broken, binary = tmp_path / "broken.toml", tmp_path / "binary.toml"
    folder.mkdir()
    broken.write_text("epochs = = 3")
    binary.write_bytes(b"\xff\xfe[train]")
    for path, reason in [
        (missing, "No such file"),
        (folder, "directory"),
        (broken, "not valid TOML"),
        (binary, "UTF-8"),
    ]:
        with pytest.raises(ConfigError, match=reason) as caught:
            load(path)
        assert str(path) in str(caught.value)


def test_differences_list_every_value_that_differs() -> None:
    old = Config()
    assert differences(old, Config()) == []
    new = Config(train=Train(lr=0.05, epochs=7), views=Views(area=(0.5, 1.0)))
    assert differences(old, new) == [
        "views.area: (0.2, 1.0) → (0.5, 1.0)",
        "train.epochs: 200 → 7",
        "train.lr: 0.02 → 0.05",
    ]
