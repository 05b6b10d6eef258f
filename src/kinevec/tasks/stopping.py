"""Work that Ctrl-C ends with a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from kinevec.errors import Interrupted


@contextmanager
def stoppable(kept: str) -> Iterator[None]:
    """Makes an `Interrupted` of Ctrl-C, and on the command line of SIGTERM, that says what is kept.

    Args:
        kept: what there is of the work if it ends here, in words.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Interrupted(f"interrupted: {kept}") from stop
