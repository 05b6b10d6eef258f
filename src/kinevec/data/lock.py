"""A folder that one process at a time may change."""

import fcntl
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from kinevec.data.whole import writing
from kinevec.errors import OutputError

log = logging.getLogger(__name__)

LOCK = ".lock"


@contextmanager
def alone(folder: Path, doing: str) -> Iterator[None]:
    """Makes a folder and keeps other processes from changing it meanwhile; one that is empty in the end goes again.

    The system lets go of the lock however this process ends. What a killed process leaves is a file `.lock` that
    holds nobody up, and goes with the next one that takes the lock.

    Args:
        doing: what the others are told that is going on here, such as "training a run here".

    Raises:
        OutputError: another process is at it, or the folder cannot be written.
    """
    with writing(folder):
        file = _locked(folder, doing)
    try:
        yield
    finally:
        with suppress(OSError), file:  # on a full disk closing fails too
            (folder / LOCK).unlink()  # while it is held: who has it open already finds that it is gone
        with suppress(OSError):
            folder.rmdir()  # only where it is empty, because the work failed before it began


@contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Waits until no other process is in here with this folder; whatever is at work in it (`alone`) does not matter.

    Raises:
        OutputError: the folder is not there, or may not be read.
    """
    with writing(folder):
        place = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(place, fcntl.LOCK_EX)
        except OSError as error:
            _warn(folder, error)
        yield
    finally:
        os.close(place)


def refuse_busy(folder: Path, doing: str) -> None:
    """Says at once what `alone` would say later, without making anything.

    Raises:
        OutputError: another process is at it.
    """
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError), (folder / LOCK).open() as file:
        _take(file, folder, doing, fcntl.LOCK_SH)


def _locked(folder: Path, doing: str) -> IO[str]:
    """The lock file, open and locked, with the number of this process in it."""
    path = folder / LOCK
    folder.mkdir(parents=True, exist_ok=True)
    file = path.open("a+")  # keeps what another process has written into it
    try:
        _take(file, folder, doing, fcntl.LOCK_EX)
    except OutputError:
        file.close()
        raise
    if not _is_there(file, path):  # the one before us ended between our opening and our locking
        file.close()
        return _locked(folder, doing)
    with suppress(OSError):  # on a full disk the lock holds without a name
        file.truncate(0)
        file.write(f"{os.getpid()} on {platform.node()}")
        file.flush()
    return file


def _take(file: IO[str], folder: Path, doing: str, kind: int) -> None:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        who = file.read(200).strip()
        raise OutputError(
            f"{folder}: another process is {doing}{f' (process {who})' if who else ''}; wait until it has ended, "
            "or choose another folder"
        ) from None
    except OSError as error:  # some shared file systems know no locks
        _warn(folder, error)


def _warn(folder: Path, error: OSError) -> None:
    log.warning("%s cannot be locked (%s): see that nothing else writes to it", folder, error.strerror)


def _is_there(file: IO[str], path: Path) -> bool:
    """Whether an open file still has its name."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False
