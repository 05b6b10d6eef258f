"""Configurations go to TOML and back; presets, files and changes that cannot be read are named."""

import dataclasses
import tomllib
from pathlib import Path

import pytest

from kinevec.config import Config, Data, Method, Train, Views, from_dict, load, presets, to_dict, to_toml
from kinevec.config.toml import read_value
from kinevec.errors import ConfigError

SECTIONS = {field.name: field.default_factory for field in dataclasses.fields(Config)}


@pytest.mark.parametrize("name", presets())
def test_presets_survive_toml(name: str, tmp_path: Path) -> None:
    config = load(name)
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config), "utf-8")
    assert load(path) == config
    assert load(str(path)) == config
    assert from_dict(Config, to_dict(config)) == config


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


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (".5", 0.5),
        ("5.", 5.0),
        ("+.5e-1", 0.05),
        ("-3.", -3.0),
        (".", "."),
        ("5", 5),
        ("a.b", "a.b"),
        ("1.2.3", "1.2.3"),
    ],
)
def test_numbers_may_leave_out_a_side_of_the_point(text: str, value: object) -> None:
    found = read_value(text)
    assert (found, type(found)) == (value, type(value))


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
