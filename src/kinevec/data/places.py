"""Where results may be written to, checked before the work; imports nothing heavy."""

import os
from pathlib import Path

from kinevec.data.whole import writing
from kinevec.errors import OutputError


def check_folder(folder: Path) -> None:
    """Refuses a folder that cannot be written to or made, and makes nothing.

    Raises:
        OutputError: it is a file, lies below one, or may not be written to.
    """
    with writing(folder):
        there = folder.absolute()
        while not os.path.lexists(there):
            there = there.parent
        if not there.is_dir():
            what = "is a file" if there == folder.absolute() else f"{there} is a file"
            raise OutputError(f"{folder}: {what}, but a folder is wanted; choose another name")
        if not os.access(there, os.W_OK | os.X_OK):
            raise OutputError(f"{folder}: cannot be written: {there} may not be changed by you")


def check_file(path: Path) -> None:
    """Refuses a file that cannot be written, and makes nothing.

    Raises:
        OutputError: it is a folder or a device, or its folder cannot be written to.
    """
    with writing(path):
        refuse_no_file(path)
    check_folder(path.parent)


def refuse_no_file(path: Path) -> None:
    """Refuses a folder, device or pipe where a file is to be written.

    Raises:
        OutputError: it is one.
    """
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "a device or pipe"
        raise OutputError(f"{path}: is {what}, but a file is wanted; choose another name")
