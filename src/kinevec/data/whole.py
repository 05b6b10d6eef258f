"""Files that are written whole or not at all."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from kinevec.errors import OutputError


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write` with a name beside `path` and moves the file into place once it is on the disk.

    Raises:
        OutputError: it cannot be written; what was there before is untouched.
    """
    aside = _aside(path)
    with writing(path):
        try:
            write(aside)
            _flush(aside)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)  # there only if something failed


def copy_all(sources: Sequence[Path], folder: Path) -> None:
    """Copies files into a folder, which is made: all of them, in their order, or none.

    All are on the disk before the first takes its name, which leaves but a moment in which some have theirs.

    Raises:
        OutputError: they cannot be written; what was there before is untouched.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    asides = [_aside(folder / source.name) for source in sources]
    try:
        make_folder(folder)
        with writing(folder):
            for source, aside in zip(sources, asides, strict=True):
                shutil.copyfile(source, aside)
                _flush(aside)
            for source, aside in zip(sources, asides, strict=True):
                aside.replace(folder / source.name)
    finally:
        for aside in asides:
            with suppress(OSError):
                aside.unlink(missing_ok=True)  # there only if something failed
        for place in made:
            with suppress(OSError):
                place.rmdir()  # only where it is empty


def _aside(path: Path) -> Path:
    """Where a file is written until it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _flush(path: Path) -> None:
    """Waits until a file is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Writes a text file as UTF-8, whole or not at all; what is no valid text in it comes out escaped.

    Raises:
        OutputError: it cannot be written.
    """

    def write(aside: Path) -> None:
        aside.write_text(text, "utf-8", errors="backslashreplace")

    write_whole(path, write)


def make_folder(folder: Path) -> None:
    """Makes a folder and those it lies in, where they are not there.

    Raises:
        OutputError: it cannot be made.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the system says of a place we cannot write becomes an `OutputError` that names it."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
