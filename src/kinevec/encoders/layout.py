"""Where an encoder can lie: names of files, forms of places. Imports nothing heavy, so that a check costs nothing."""

import json
import re
from pathlib import Path

from kinevec.errors import InputError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
FORMAT = "kinevec-encoder"
UNTRAINED = "untrained:"
HUB = "hub:"
PART, OLD = "part", "old"  # ends of the folders that an export has beside its own while it works

_PART = r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9_])?"
ID = re.compile(rf"({_PART}/{_PART})(?:@([\w./-]+))?")  # of a model of the hub, and its revision


def check_place(place: str | Path) -> None:
    """Refuses a place of an encoder at which nothing lies; what lies there is not looked at.

    Raises:
        InputError: there is no such folder or file, and it is no name of another kind.
    """
    name, path = str(place), Path(place)
    if name.startswith((UNTRAINED, HUB)) or path.is_dir() or path.is_file():
        return
    if not is_id(name) and kept_aside(path) is None:
        raise InputError(f"{place}: no such run, folder or file")


def is_id(name: str) -> bool:
    """Whether a name can be a model of the hub: `org/name` or `org/name@revision`.

    Not where a folder `org` is here: then it is a path with a typing error, which nobody else needs to know.
    """
    return ID.fullmatch(name) is not None and not Path(name.partition("/")[0]).is_dir()


def is_exported(folder: Path) -> bool:
    """Whether a folder holds an exported model, of whatever version."""
    try:
        content = json.loads((folder / CONFIG).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def aside(folder: Path, process: int, end: str) -> Path:
    """The folder beside an exported model that a process writes to (`PART`), or keeps the model before in (`OLD`)."""
    return folder.with_name(f".{folder.name}.{process}.{end}")


def left_aside(folder: Path) -> dict[Path, tuple[int, str]]:
    """The folders of that kind which are there → their process and end."""
    pattern = re.compile(rf"\.{re.escape(folder.name)}\.(\d+)\.({PART}|{OLD})")
    try:
        found = {path: pattern.fullmatch(path.name) for path in sorted(folder.parent.iterdir())}
    except OSError:
        return {}
    return {path: (int(match[1]), match[2]) for path, match in found.items() if match and path.is_dir()}


def kept_aside(folder: Path) -> Path | None:
    """The model that an export had moved aside when it was killed; None where there is none, or `folder` is there."""
    if folder.exists():
        return None
    return next((path for path, (_, end) in left_aside(folder).items() if end == OLD), None)
