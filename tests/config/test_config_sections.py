"""Sections are frozen, refuse what makes no sense with a message that helps, and mean what they say."""

import ast
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kinevec import config as room
from kinevec.config import Clip, Config, Fima, Flow, Sampling, Terms, Train, Views
from kinevec.errors import ConfigError

SECTIONS = {field.name: field.default_factory for field in dataclasses.fields(Config)}


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


NAN = float("nan")

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


@pytest.mark.parametrize(("method", "weights"), [("raft", ""), ("dis", "raft.pth")])
def test_raft_and_no_other_method_has_weights(method: str, weights: str) -> None:
    with pytest.raises(ConfigError, match=f"flow.method is {method} and flow.weights is '{weights}'; raft "):
        Flow(method=method, weights=weights)
    assert Flow(method="raft", weights="raft.pth").weights == "raft.pth"


def test_window_is_what_a_clip_stands_for() -> None:
    assert [Clip(frames=f, stride=s).window for f, s in [(8, 1), (16, 2), (2, 5)]] == [8, 32, 10]


def test_sampling_and_flow_say_nothing_unless_asked() -> None:
    assert Sampling() == Sampling(near=False, moving=False)
    assert (Flow().method, Flow().gap, Flow().store) == ("dis", 8, "auto")


def test_epochs_must_be_one_at_least() -> None:
    assert Train(epochs=1, warmup_epochs=0).epochs == 1
    with pytest.raises(ConfigError, match=r"train\.epochs is 0"):
        Train(epochs=0, warmup_epochs=0)


def test_every_value_is_read_as_one_of_its_section() -> None:
    """Somewhere outside the configuration, as in `config.train.lr`: an option that nothing reads is a bug."""
    here = Path(room.__file__).parent
    read = set()
    for path in here.parent.rglob("*.py"):
        if here not in path.parents:
            found = ast.walk(ast.parse(path.read_text("utf-8")))
            read |= {
                tuple(ast.unparse(node).split(".")[-2:]) for node in found if isinstance(node, ast.Attribute)
            }
    options = {
        (name, field.name) for name, section in SECTIONS.items() for field in dataclasses.fields(section)
    }
    assert not options - read
