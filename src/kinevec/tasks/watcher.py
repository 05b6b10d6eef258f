"""Who is told how long work goes, and the check of where its result is to go."""

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from kinevec.errors import OutputError
from kinevec.train.meter import Status


class Watcher(Protocol):
    """Is told how long work goes; the command line draws bars with it."""

    def counted(self, what: str, done: int, total: int) -> None:
        """`done` of `total` things are through the stage `what`."""

    def trained(self, status: Status) -> None:
        """Training has come so far."""


class Silent:
    """A watcher that does nothing."""

    def counted(self, what: str, done: int, total: int) -> None: ...

    def trained(self, status: Status) -> None: ...


def counter(watcher: Watcher, what: str) -> Callable[[int, int], None]:
    """A progress callback that tells the watcher about one stage."""
    return lambda done, total: watcher.counted(what, done, total)


def check_writable(target: Path) -> None:
    """Refuses a file that could not be written before the work is done, and leaves nothing there, also no folder."""
    missing = [folder for folder in target.parents if not folder.exists()]  # the innermost first
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror}") from error
    finally:
        for folder in missing:
            with suppress(OSError):  # was not made, or somebody else writes there already
                folder.rmdir()
