"""Files of results/science, which grow piece by piece: what one records of other machines is kept.

Every entry says which commit and machine it is of. What is found anew takes the place of what is recorded of the same
thing; what was found otherwise (other videos, another configuration) is not put beside it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kinevec.config import INCIDENTAL
from kinevec.data.whole import write_text
from kinevec.errors import OutputError

RESULTS = Path(__file__).resolve().parents[2] / "results" / "science"
FREE = INCIDENTAL | {"train.seed"}  # of a configuration: may differ between entries of one row

Found = dict[str, Any]


def recorded(name: str) -> Found:
    """What the file NAME of the results says; empty where there is none."""
    path = _path(name)
    found: Found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def written(name: str, content: Found) -> Path:
    """Writes the file NAME of the results; returns where it is."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_text(_path(name), json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return _path(name)


def beside(before: Iterable[Found], new: Iterable[Found], key: Iterable[str]) -> list[Found]:
    """Entries sorted by what `key` says of them; one of `new` stands in the place of one recorded before."""
    names = tuple(key)
    found = {tuple(_sortable(one.get(name)) for name in names): one for one in [*before, *new]}
    return [found[place] for place in sorted(found)]


def agreed(name: str, before: Mapping[str, Any], new: Mapping[str, Any]) -> Found:
    """What all entries of the file NAME have in common, such as set → how it was made, of those recorded and new.

    Only keys that both know are compared, since a configuration gets new ones; those in `FREE` may differ.

    Raises:
        OutputError: both say something else of the same.
    """
    lines = [
        f"{key}: {line}" for key in before.keys() & new.keys() for line in _changes(before[key], new[key])
    ]
    if lines:
        raise OutputError(
            f"{_path(name)}: was found otherwise ({'; '.join(sorted(lines))}); move it away first"
        )
    return {**before, **new}


def _changes(old: Any, new: Any, place: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() & new.keys():
            yield from _changes(old[key], new[key], f"{place}.{key}" if place else key)
    elif old != new and place not in FREE:
        yield f"{place or 'it'} is {new}, was {old}"


def _sortable(value: object) -> tuple[bool, Any]:
    return (True, value) if isinstance(value, int) else (False, str(value))


def _path(name: str) -> Path:
    return RESULTS / f"{name}.json"
