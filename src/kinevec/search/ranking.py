"""From scores to rows: the best clips first, those of one video that show the same thing as one row."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from kinevec.errors import InputError
from kinevec.search.approximate import candidates
from kinevec.search.filters import Filter
from kinevec.search.index import Index
from kinevec.search.query import Query
from kinevec.search.score import Mode, Places, Scorer
from kinevec.search.state import State
from kinevec.search.store import JOINED

EXACT_UP_TO = 1_000_000  # clips to choose from; of more, the approximate index proposes some
NEAR = 0.97  # cosine from which two clips of one video are one row
AT_FIRST = 4_096  # best clips that are sorted before all are


@dataclass(frozen=True)
class Hit:
    """A clip that was found.

    Attributes:
        clip, video: their numbers.
        name: of the video.
        label: given to the clip, else the video's.
        start, stop: seconds.
        score: see `kinevec.search.score`.
        folded: clips of the same video that overlap this one or are nearly the same, and stand behind it in the
            ranking as far as it was looked at.
    """

    clip: int
    video: int
    name: str
    label: str | None
    start: float
    stop: float
    score: float
    folded: int = 0


@dataclass(frozen=True)
class Results:
    """One page of hits, the best first, whether there are more, and why there are none where that was looked into."""

    hits: tuple[Hit, ...]
    more: bool
    why: str = ""


def search(
    index: Index,
    query: Query,
    *,
    mode: Mode = "both",
    only: Filter | None = None,
    offset: int = 0,
    limit: int = 20,
    group: bool = True,
    other_videos: bool = False,
    exact: bool | None = None,
) -> Results:
    """The clips most like a query. Clips that overlap the query itself are left out.

    Args:
        mode: what counts; see `kinevec.search.score`.
        only: which clips to choose from.
        offset, limit: which rows of the ranking.
        group: make one row of clips of the same video that overlap, or whose cosine is at least `NEAR`.
        other_videos: leave out the query's whole video.
        exact: compare with every clip; None: where there are at most `EXACT_UP_TO` to choose from.

    Raises:
        InputError: the mode needs vectors that the index does not hold.
    """
    if offset < 0 or limit < 1:
        raise InputError(f"offset is {offset} and limit {limit}; they must be at least 0 and 1")
    state, scorer = index.scored()
    scorer.check(mode)
    places = select(index, state, only)
    count = len(state) if places is None else len(places)
    if exact is None:
        exact = count <= EXACT_UP_TO
    if not exact:
        proposed = candidates(index, state, mode, query.raw, offset + limit, share=count / max(len(state), 1))
        if proposed is not None:
            places = proposed if places is None else np.intersect1d(places, proposed)
    scores = scorer.scores(mode, query.raw, places)
    places = np.arange(len(state)) if places is None else places
    keep = ~_own(state, query, places, whole=other_videos)
    places, scores = places[keep], scores[keep]
    rows = _grouped(scorer, mode, places, scores, offset + limit + 1) if group else None
    if rows is None:
        best = islice(_best_first(scores), offset + limit + 1)
        rows = [(int(places[i]), float(scores[i]), 0) for i in best]
    return Results(_hits(index, state, rows[offset : offset + limit]), len(rows) > offset + limit)


def select(index: Index, state: State, only: Filter | None) -> Places | None:
    """The places of the clips that satisfy a filter, ascending; None: all."""
    if not only:
        return None
    where, parameters = only.where()
    found = index.store.columns(
        f"SELECT c.id FROM {JOINED} WHERE {where} ORDER BY c.id", [("id", "i8")], parameters
    )
    return state.places(found["id"])


def _own(state: State, query: Query, places: Places, *, whole: bool) -> NDArray[np.bool_]:
    """Which clips show what the query shows."""
    if query.video is None:
        return np.zeros(len(places), dtype=bool)
    own = state.videos[places] == query.video
    overlap = (state.starts[places] < query.stop) & (state.stops[places] > query.start)
    mine: NDArray[np.bool_] = own & (overlap | whole)
    return mine


def _best_first(scores: NDArray[np.float32]) -> Iterator[int]:
    """Places of scores, the highest first, of equal ones the first first; sorts no more than is asked for."""
    if len(scores) > 2 * AT_FIRST:
        top = np.argpartition(-scores, AT_FIRST)[: AT_FIRST + 1]
        bar = scores[top].min()
        top = np.flatnonzero(scores > bar)
        yield from top[np.argsort(-scores[top], kind="stable")].tolist()
        rest = np.flatnonzero(scores <= bar)
        yield from rest[np.argsort(-scores[rest], kind="stable")].tolist()
        return
    yield from np.argsort(-scores, kind="stable").tolist()


def _grouped(
    scorer: Scorer, mode: Mode, places: Places, scores: NDArray[np.float32], wanted: int
) -> list[tuple[int, float, int]]:
    """(place, score, clips folded into it) of the first `wanted` groups."""
    state = scorer.state
    groups: list[list[float]] = []
    of_video: dict[
        int, list[tuple[int, int, NDArray[np.float32]]]
    ] = {}  # its groups: number, best place, unit vector
    for i in _best_first(scores):
        place = int(places[i])
        mine = of_video.setdefault(int(state.videos[place]), [])
        unit = scorer.units(mode, places[i : i + 1])[0]
        unit /= max(float(np.linalg.norm(unit)), 1e-12)
        for number, best, theirs in mine:
            overlap = state.starts[place] < state.stops[best] and state.stops[place] > state.starts[best]
            if overlap or float(unit @ theirs) >= NEAR:
                groups[number][2] += 1
                break
        else:
            if len(groups) == wanted:
                break
            mine.append((len(groups), place, unit))
            groups.append([place, float(scores[i]), 0])
    return [(int(place), score, int(folded)) for place, score, folded in groups]


def _hits(index: Index, state: State, rows: list[tuple[int, float, int]]) -> tuple[Hit, ...]:
    clips = [int(state.clips[place]) for place, _, _ in rows]
    marks = ", ".join("?" * len(clips))
    question = f"SELECT c.id, v.name, coalesce(l.label, v.label) FROM {JOINED} WHERE c.id IN ({marks})"
    known = {id: (name, label) for id, name, label in index.store.query(question, clips)}
    hits = []
    for (place, score, folded), clip in zip(rows, clips, strict=True):
        if clip in known:  # else it was removed meanwhile
            name, label = known[clip]
            times = float(state.starts[place]), float(state.stops[place])
            hits.append(Hit(clip, int(state.videos[place]), name, label, *times, score, folded))
    return tuple(hits)
