"""A run's configuration out of a preset or a TOML file, with changes, and back into TOML."""

import logging
import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w

from kinevec.config.refusal import nearest
from kinevec.config.run import Config
from kinevec.config.training import Train
from kinevec.config.tree import from_dict, to_dict
from kinevec.errors import ConfigError

log = logging.getLogger(__name__)


def presets() -> dict[str, str]:
    """Names of the presets → the first comment line of each, which says what it is."""
    files = sorted(resources.files("kinevec.presets").iterdir(), key=lambda file: file.name)
    return {
        file.name.removesuffix(".toml"): file.read_text("utf-8").splitlines()[0].lstrip("# ")
        for file in files
        if file.name.endswith(".toml")
    }


def load(source: str | Path, changes: Iterable[str] = ()) -> Config:
    """Reads a preset or a TOML file and applies changes such as `"train.epochs=3"`.

    Where `train.epochs` is changed, or set in a file, alone and is not above the warm-up's epochs, half of the run is
    warm-up.

    Raises:
        ConfigError: no such preset or file, not TOML, an unknown key, or a value that makes no sense.
    """
    tree = _read_tree(source)
    named = {_apply(tree, change) for change in changes}
    if "train.warmup_epochs" not in named and ("train.epochs" in named or not _has_warmup(tree)):
        _shorten_warmup(tree)
    return from_dict(Config, tree)


def to_toml(config: Config) -> str:
    """The configuration as TOML text; floats are written so that reading gives them back exactly."""
    return tomli_w.dumps(to_dict(config))


def _read_tree(source: str | Path) -> dict[str, Any]:
    name = str(source)
    known = presets()
    if name in known:
        text = resources.files("kinevec.presets").joinpath(f"{name}.toml").read_text("utf-8")
    elif name.endswith(".toml"):
        try:
            text = Path(source).read_text("utf-8")
        except OSError as error:
            raise ConfigError(f"{name}: cannot read this configuration: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{name}: not UTF-8 text (byte {error.start})") from error
    else:
        raise ConfigError(
            f"unknown preset '{name}'{nearest(name, known)}; "
            f"presets are {', '.join(known)}; a file must end in .toml"
        )
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: not valid TOML: {error}") from error


def _has_warmup(tree: Mapping[str, Any]) -> bool:
    train = tree.get("train")
    return isinstance(train, Mapping) and "warmup_epochs" in train


def _shorten_warmup(tree: dict[str, Any]) -> None:
    """Lowers a warm-up that nobody chose for so short a run to half of it."""
    train = tree.get("train")
    if not isinstance(train, dict) or "epochs" not in train:
        return
    epochs, warmup = train["epochs"], train.get("warmup_epochs", Train.warmup_epochs)
    numbers = isinstance(epochs, int) and isinstance(warmup, int | float)
    if numbers and 1 <= epochs <= warmup:  # anything odd is refused later
        train["warmup_epochs"] = epochs / 2
        log.info(
            "train.warmup_epochs is %g instead of %g, half of train.epochs=%d", epochs / 2, warmup, epochs
        )


def read_value(text: str) -> Any:
    """A value on the command line: as in TOML, but a bare word is a string, and .5 and 5. are numbers."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        word = text.strip()
        return float(word) if re.fullmatch(r"[+-]?(\d+\.|\.\d+)([eE][+-]?\d+)?", word) else word


def _apply(tree: dict[str, Any], change: str) -> str:
    """Makes a change; returns the key that it names."""
    key, equals, text = change.partition("=")
    section, dot, name = key.strip().partition(".")
    if not equals or not dot:
        raise ConfigError(f"cannot read the change '{change}'; write section.key=value, as in train.epochs=3")
    value = read_value(text)
    branch = tree.setdefault(section, {})
    if not isinstance(branch, dict):
        raise ConfigError(f"unknown key '{key.strip()}'")
    branch[name] = value
    return f"{section}.{name}"
