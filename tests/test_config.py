"""Configurations go to TOML and back, and refuse what makes no sense with a message that helps."""

import dataclasses
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kinevec.config import (
    Clip,
    Config,
    Data,
    Method,
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


def test_presets_differ_from_the_defaults_where_they_say_so() -> None:
    moco, large = load("moco"), load("moco-r3d18")
    assert (moco.model.name, moco.clip.size, moco.method.centred) == ("tiny", 64, True)
    # MSCL §1: 8 frames at stride 16, 112 pixels, K = 65,536, τ = 0.07, m from 0.994 by cosine, SGD 0.02 for 128
    assert large.clip == Clip(frames=8, stride=16, size=112)
    assert large.method == Method(queue=65_536, temperature=0.07, momentum=0.994, momentum_schedule="cosine")
    assert large.train == Train(epochs=400, batch=128, optimizer="sgd", lr=0.02, warmup_epochs=5)
    assert large.views == Views()


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
        ({"xyzzy": 1}, "unknown key 'xyzzy'; known: clip, data, views, model, method, train"),
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
    ("method", "dim", [2], [1, 0]),
    ("method", "hidden", [1], [0, -1]),
    ("method", "queue", [1], [0, -1]),
    ("method", "temperature", [1e-9], [0.0, -0.1, NAN]),
    ("method", "momentum", [0.0, 1.0], [-0.01, 1.01, NAN]),
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
        ("zzz", "unknown preset 'zzz'; known: moco"),
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
