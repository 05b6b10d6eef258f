"""Configuration dataclasses as plain dictionaries and back; a key or type that does not fit is refused."""

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from kinevec.config.refusal import nearest
from kinevec.errors import ConfigError

T = TypeVar("T")


def from_dict(kind: type[T], tree: Mapping[str, Any], prefix: str = "") -> T:
    """Builds a configuration dataclass from plain dictionaries; missing keys keep their defaults.

    Raises:
        ConfigError: an unknown key (names the nearest known one) or a value of the wrong type.
    """
    hints = typing.get_type_hints(kind)
    values = {}
    for key, value in tree.items():
        if key not in hints:
            raise ConfigError(f"unknown key '{prefix}{key}'{nearest(key, hints)}")
        values[key] = _typed(hints[key], value, f"{prefix}{key}")
    return kind(**values)


def to_dict(config: Any) -> dict[str, Any]:
    """Plain dictionaries, lists and values of a configuration dataclass."""
    tree: dict[str, Any] = dataclasses.asdict(config)
    return tree


def _typed(hint: Any, value: Any, key: str) -> Any:
    """The value as the type that a field asks for; an int serves as a float, a list as a tuple."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"'{key}' is a section; write [{key}] and its keys below it")
        return from_dict(hint, value, f"{key}.")
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{key} is {value!r}; it must be one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple) or len(value) != len(arguments):
            raise ConfigError(f"{key} is {value!r}; it must be a list of {len(arguments)} numbers")
        return tuple(_typed(kind, item, key) for kind, item in zip(arguments, value, strict=True))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError as error:
            raise ConfigError(f"{key} is too large: a number of {len(str(value))} digits") from error
    if hint is float and isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{key} is {value}; it must be a finite number")
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise ConfigError(f"{key} is {value!r}; it must be of type {hint.__name__}")
    return value
