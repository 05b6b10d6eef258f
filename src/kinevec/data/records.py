"""What the rest of the package knows about a video before it is opened."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NAMED = 5  # videos that a message names


@dataclass(frozen=True, slots=True)
class Record:
    """One video of a collection and what is known about it."""

    path: Path  # where the file is
    name: str  # its path relative to the collection's root, '/'-separated: unique, used as the key everywhere
    label: str | None = None
    group: str | None = None  # who or what it was filmed from; never split between train and held-out
    split: str | None = None  # "train", "val", "test" or None


def some(names: Sequence[str]) -> str:
    """The first few of some names, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")
