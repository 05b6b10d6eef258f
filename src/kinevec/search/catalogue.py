"""What is in an index, in pages: clips with all that is known of them, what can be filtered by, and the map."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinevec.search.filters import Filter
from kinevec.search.index import Index
from kinevec.search.store import LABELS

# Videos first: with this order SQLite walks two of its indices and never sorts.
_BY_NAME = f"videos v CROSS JOIN clips c ON c.video = v.id {LABELS}"
_POINTS = [("clip", "i8"), ("video", "i8"), ("x", "f4"), ("y", "f4"), ("cluster", "i4")]


@dataclass(frozen=True)
class Entry:
    """A clip of an index.

    Attributes:
        clip, video: their numbers.
        name: of the video.
        label: given to the clip, else the video's.
        given: whether it was given to the clip.
        split: of the video.
        start, stop: seconds.
        cluster, x, y: where `kinevec cluster` put it; None before that.
    """

    clip: int
    video: int
    name: str
    label: str | None
    given: bool
    split: str | None
    start: float
    stop: float
    cluster: int | None
    x: float | None
    y: float | None


_ENTRY = (
    "SELECT c.id, v.id, v.name, coalesce(l.label, v.label), l.label IS NOT NULL, v.split, c.start, c.stop, "
    f"c.cluster, c.x, c.y FROM {_BY_NAME}"
)


def clips(index: Index, only: Filter | None = None, *, offset: int = 0, limit: int = 50) -> list[Entry]:
    """A page of the clips that satisfy a filter, by the name of their video and by time."""
    where, parameters = (only or Filter()).where()
    question = f"{_ENTRY} WHERE {where} ORDER BY v.name, v.id, c.start LIMIT ? OFFSET ?"
    return [_entry(row) for row in index.store.query(question, [*parameters, limit, offset])]


def entry(index: Index, clip: int) -> Entry | None:
    """All that is known of a clip; None where the index has none of this number."""
    found = index.store.query(f"{_ENTRY} WHERE c.id = ?", (clip,))
    return _entry(found[0]) if found else None


def count(index: Index, only: Filter | None = None) -> int:
    """How many clips satisfy a filter."""
    if not only:
        return len(index)
    where, parameters = only.where()
    return int(index.store.query(f"SELECT count(*) FROM {_BY_NAME} WHERE {where}", parameters)[0][0])


def facets(index: Index) -> dict[str, dict[str, int]]:
    """What can be filtered by: "folder", "label", "split", "cluster" → value → how many clips have it.

    A folder counts all below it; a clip without label, split or cluster counts under "".
    """
    parts = {
        "label": "coalesce(l.label, v.label, '')",
        "split": "coalesce(v.split, '')",
        "cluster": "coalesce(c.cluster, '')",
        "name": "v.name",
    }
    counts = {
        name: dict(index.store.query(f"SELECT {sql}, count(*) FROM {_BY_NAME} GROUP BY 1 ORDER BY 1"))
        for name, sql in parts.items()
    }
    folders: dict[str, int] = {}
    for name, clips in counts.pop("name").items():
        pieces = str(name).split("/")[:-1]
        for depth in range(1, len(pieces) + 1):
            folder = "/".join(pieces[:depth])
            folders[folder] = folders.get(folder, 0) + clips
    found = {name: {str(key): n for key, n in values.items()} for name, values in counts.items()}
    return {"folder": dict(sorted(folders.items())), **found}


def points(index: Index, only: Filter | None = None) -> NDArray[Any]:
    """The map: a structured array with "clip", "video", "x", "y" and "cluster" of every clip that has a place in it.

    x and y lie in -1 to 1; cluster is -1 where a clip is in none. Clips that were added after the map was made have no place.
    """
    where, parameters = (only or Filter()).where()
    question = f"SELECT c.id, c.video, c.x, c.y, coalesce(c.cluster, -1) FROM {_BY_NAME} WHERE {where} AND c.x IS NOT NULL ORDER BY c.id"
    return index.store.columns(question, _POINTS, parameters)


def place(
    index: Index, clips: NDArray[np.int64], cluster: NDArray[np.int64], plane: NDArray[np.float32] | None
) -> None:
    """Notes the groups of clips and their places in the map; what was noted before is forgotten.

    Args:
        clips: (N,) their numbers.
        cluster: (N,).
        plane: (N, 2) x and y; None leaves the map as it is.
    """
    with index.writer() as writer, writer.store.transaction(clips=False) as database:
        cleared = "cluster = NULL" + ("" if plane is None else ", x = NULL, y = NULL")
        database.execute(f"UPDATE clips SET {cleared}")
        if plane is None:
            rows: Any = zip(cluster.tolist(), clips.tolist(), strict=True)
            database.executemany("UPDATE clips SET cluster = ? WHERE id = ?", rows)
        else:
            rows = zip(cluster.tolist(), *plane.T.astype(float).tolist(), clips.tolist(), strict=True)
            database.executemany("UPDATE clips SET cluster = ?, x = ?, y = ? WHERE id = ?", rows)


def _entry(row: tuple[Any, ...]) -> Entry:
    clip, video, name, label, given, *rest = row
    return Entry(clip, video, name, label, bool(given), *rest)
