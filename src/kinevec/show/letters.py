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
