"""Letters of names in pictures."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def boxes_for_letters() -> Iterator[None]:
    """Inside, Matplotlib draws letters that its font lacks as boxes and does not warn of them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def drawable(text: str) -> str:
    """Text that can be drawn and written: bytes of a name that are no UTF-8 are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def without_middle(name: str, letters: int) -> str:
    """The name in at most so many letters: both ends, by which names are told apart."""
    tail = (letters - 1) // 2
    return name if len(name) <= letters else f"{name[: letters - 1 - tail]}…{name[len(name) - tail :]}"
