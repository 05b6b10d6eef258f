"""Who is told how long work goes, and the check of where its result is to go."""

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from kinevec.data.places import refuse_no_file
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
    try:
        refuse_no_file(target)
        there = next(folder for folder in target.parents if _exists(folder))
        with tempfile.TemporaryFile(dir=there):
            longest = os.pathconf(there, "PC_NAME_MAX")
        if any(len(os.fsencode(name)) > longest for name in target.relative_to(there).parts):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror}") from error


def _exists(folder: Path) -> bool:
    """Whether something is there; a folder that may not be entered, or a name too long for one, is an error."""
    try:
        folder.stat()
    except FileNotFoundError:
        return False
    return True
