"""Dictionaries become configurations; an unknown key or a value of the wrong type is refused by name."""

from typing import Any

import pytest

from kinevec.config import Config, from_dict
from kinevec.errors import ConfigError


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


def test_numbers_beyond_all_floats_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"train.lr is too large: a number of 400 digits"):
        from_dict(Config, {"train": {"lr": int("9" * 400)}})


def test_a_section_must_be_a_section() -> None:
    with pytest.raises(ConfigError, match=r"'train' is a section; write \[train\]"):
        from_dict(Config, {"train": 3})


def test_whole_numbers_serve_as_floats_and_lists_as_tuples() -> None:
    config = from_dict(Config, {"train": {"lr": 1}, "views": {"area": [1, 1]}})
    assert type(config.train.lr) is float
    assert config.views.area == (1.0, 1.0)
    assert {type(x) for x in config.views.area} == {float}


NAN, INFINITE = float("nan"), float("inf")


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
