"""What is searched for: a video file, a part of it, or a clip that the index holds."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinevec.errors import InputError
from kinevec.search.embed import embed_video
from kinevec.search.index import Index
from kinevec.search.score import Scorer
from kinevec.search.state import FULL, STATIC


@dataclass(frozen=True, eq=False)
class Query:
    """Vectors that clips are compared with.

    Attributes:
        raw: kind of vector → (C,), as the encoder gives it; of several clips their mean (docs/evaluation.md).
        video: number of the video of the index that it comes from; None: it is not of the index.
        start, stop: seconds in that video; clips that overlap them are no result.
        clips: number of clips that it is the mean of.
    """

    raw: dict[str, NDArray[np.floating]]
    video: int | None = None
    start: float = -math.inf
    stop: float = math.inf
    clips: int = 1


def query_file(
    index: Index,
    path: Path,
    start: float | None = None,
    stop: float | None = None,
    *,
    device: str = "auto",
) -> Query:
    """A video file, which need not be in the index, or the part of it from `start` to `stop` seconds.

    It is cut as the videos of the index are, embedded with the index's own encoder, and averaged. A part shorter
    than a clip is widened to one.

    Raises:
        VideoError: it cannot be read.
        InputError: the part is empty, or begins after the video's end.
    """
    within = None
    if start is not None or stop is not None:
        within = (start or 0.0, math.inf if stop is None else stop)
        if not 0 <= within[0] < within[1]:
            raise InputError(f"the part from {within[0]:g} to {within[1]:g} s of {path.name} is empty")
    found = embed_video(path, index.settings, index.encoder(device), within=within)
    if within and within[0] >= found.seconds:
        raise InputError(f"{path.name} has {found.seconds:.2f} s, but the part begins at {within[0]:g} s")
    raw: dict[str, NDArray[np.floating]] = {FULL: found.full.mean(0)}
    if found.static is not None:
        raw[STATIC] = found.static.mean(0)
    known = index.store.query("SELECT id FROM videos WHERE path = ?", (os.path.abspath(path),))
    own = int(known[0][0]) if known else None
    return Query(raw, own, float(found.starts[0]), float(found.ends[-1]), len(found))


def query_clip(index: Index, clip: int) -> Query:
    """A clip of the index.

    Raises:
        InputError: the index has no clip of this number.
    """
    state = index.state()
    places = state.places(np.array([clip]))
    if not len(places):
        raise InputError(f"{index.folder}: has no clip {clip}")
    place = int(places[0])
    raw = Scorer(state).raw(place)
    return Query(raw, int(state.videos[place]), float(state.starts[place]), float(state.stops[place]))


def query_video(index: Index, name: str) -> Query:
    """A whole video of the index: the mean of its clips, as `query_file` of its file; the file is not needed.

    Args:
        name: as for `find_clip`.

    Raises:
        InputError: there is no such video, or several.
    """
    video, _, _ = _find_video(index, name)
    state = index.state()
    places = np.flatnonzero(state.videos == video)
    scorer = Scorer(state)
    each = [scorer.raw(int(place)) for place in places]
    raw: dict[str, NDArray[np.floating]] = {
        kind: np.stack([one[kind] for one in each]).mean(0) for kind in each[0]
    }
    start, stop = state.starts[places].min(), state.stops[places].max()
    return Query(raw, video, float(start), float(stop), len(places))


def find_clip(index: Index, name: str, at: float) -> int:
    """The number of the clip of a video whose middle is nearest to a moment.

    Args:
        name: of the video in the index, or the end of it, from a '/' on.
        at: seconds.

    Raises:
        InputError: there is no such video, or several, or the moment is not in it.
    """
    video, full, seconds = _find_video(index, name)
    if not 0 <= at <= seconds:
        raise InputError(f"{full} goes from 0 to {seconds:.2f} s; {at:g} s is outside")
    order = "SELECT id FROM clips WHERE video = ? ORDER BY abs((start + stop) / 2 - ?), start LIMIT 1"
    return int(index.store.query(order, (video, at))[0][0])


def _find_video(index: Index, name: str) -> tuple[int, str, float]:
    """Number, full name and seconds of the video of this name."""
    wanted = "SELECT id, name, seconds FROM videos WHERE"
    found = index.store.query(f"{wanted} name = ? ORDER BY id", (name,))
    for column in ("name", "path"):  # of several folders in one index the path alone may tell
        if not found:
            found = index.store.query(
                f"{wanted} {column} = ? OR substr({column}, -?) = ? ORDER BY id",
                (name, len(name) + 1, f"/{name}"),
            )
    if len(found) > 1:
        raise InputError(f"{index.folder}: {name}: {len(found)} videos are named so: give more of the path")
    if not found:
        example = index.store.query("SELECT name FROM videos ORDER BY name LIMIT 1")
        like = f" Names are like '{example[0][0]}'." if example else ""
        raise InputError(f"{index.folder}: has no video '{name}' among {index.count('videos'):,}.{like}")
    return int(found[0][0]), str(found[0][1]), float(found[0][2])
