"""From what a page sends to what is asked for. Whatever comes in: a value of the right kind, or an `InputError`."""

import math
from collections.abc import Mapping
from typing import Any

from kinevec.errors import InputError
from kinevec.search.filters import Filter

LETTERS = 500  # of a text
MOST_AT_ONCE = 100  # clips of a page
MOST_LABELLED = 100_000  # clips of one labelling
DEEPEST = 100_000  # rows that can be skipped
_LARGEST = 2**53  # that JavaScript holds exactly


def text(given: Mapping[str, Any], name: str) -> str:
    """A text; "" where there is none."""
    value = given.get(name) or ""
    if not isinstance(value, str) or len(value) > LETTERS:
        raise InputError(f"{name} is to be a text of at most {LETTERS} letters")
    return value


def whole(
    given: Mapping[str, Any], name: str, low: int = 0, high: int = _LARGEST, default: int | None = None
) -> int:
    """A whole number from `low` to `high`."""
    value = given.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(f"{name} is to be a whole number from {low} to {high}")
    return value


def seconds(given: Mapping[str, Any], name: str) -> float:
    """A moment of a video."""
    value = given.get(name)
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not (math.isfinite(value) and value >= 0)
    ):
        raise InputError(f"{name} is to be seconds, 0 or more")
    return float(value)


def part(given: Mapping[str, Any]) -> tuple[float, float]:
    """`start` and `stop` of a part of a video."""
    start, stop = seconds(given, "start"), seconds(given, "stop")
    if not start < stop:
        raise InputError(f"the part from {start:g} to {stop:g} s is empty")
    return start, stop


def numbers(given: Mapping[str, Any], name: str, most: int) -> list[int]:
    """Numbers of clips, at most so many."""
    value = given.get(name)
    if not isinstance(value, list) or not all(type(one) is int and 0 <= one <= _LARGEST for one in value):
        raise InputError(f"{name} is to be a list of numbers of clips")
    if len(value) > most:
        raise InputError(f"{len(value):,} clips are too many at once; at most {most:,}")
    return value


def page(given: Mapping[str, Any]) -> tuple[int, int]:
    """`offset` and `limit`: which rows."""
    return whole(given, "offset", 0, DEEPEST, 0), whole(given, "limit", 1, MOST_AT_ONCE, 24)


def only(given: Mapping[str, Any]) -> Filter:
    """The filter in `only`: folder, text, label, split and cluster; what is null or missing asks for nothing."""
    found = given.get("only") or {}
    if not isinstance(found, dict):
        raise InputError("only is to be an object")
    return Filter(
        folder=text(found, "folder"),
        labels=() if found.get("label") is None else (text(found, "label"),),
        splits=() if found.get("split") is None else (text(found, "split"),),
        text=text(found, "text"),
        cluster=None if found.get("cluster") is None else whole(found, "cluster"),
    )
