"""Proposals for the best clips out of millions: usearch's HNSW graphs, one for each mode.

A graph only proposes; scores are always exact, with the mean of the moment. So a graph may be behind: it is built
with the mean of that day, proposes clips that are gone, which are dropped, and lacks the newest, which are all
compared. It is built anew when the index has grown two-fold, or a quarter of what it holds is gone.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinevec.data.source import Progress
from kinevec.data.whole import write_text, write_whole
from kinevec.search.index import Index
from kinevec.search.score import BLOCK, MODES, Mode, Places, Raw, Scorer
from kinevec.search.state import State

CONNECTIVITY = 32  # neighbours of a clip in the graph
EXPANSION_ADD = 128  # candidates looked at when a clip is added
PROPOSED = 32  # clips proposed for each one wanted, since many fold into one row
LEAST = 1_024  # proposals; recall of the best 10 falls off below (benchmarks/search.py)
GROWN = 2.0
GONE = 0.25


@dataclass(frozen=True)
class Graph:
    """A graph on the disk, opened.

    Attributes:
        graph: usearch index of unit vectors under clip numbers.
        last: highest clip number when it was written; newer clips are not in it.
        clips: number of clips in it when it was built.
        means: kind of vector → the mean that it was built with.
    """

    graph: Any
    last: int
    clips: int
    means: dict[str, NDArray[np.float64]]

    def frozen(self, state: State) -> Scorer:
        """Makes vectors as they were when the graph was built."""
        return Scorer(replace(state, means=self.means))


def sync(index: Index, progress: Progress | None = None) -> None:
    """Brings the graphs of all modes up to date.

    Args:
        progress: is told how many clips are through, of how many.

    Raises:
        OutputError: they cannot be written.
    """
    state = index.state()
    modes: tuple[Mode, ...] = MODES if index.settings.appearance else ("both",)
    work = [(mode, *_behind(index, state, mode)) for mode in modes]
    total, done = sum(len(places) for *_, places in work), 0
    for mode, graph, places in work:

        def tell(more: int) -> None:
            nonlocal done
            done += more
            if progress:
                progress(done, total)

        if len(places):
            _write(index, state, mode, graph, places, tell)


def candidates(
    index: Index, state: State, mode: Mode, raw: Raw, wanted: int, *, share: float
) -> Places | None:
    """Places of clips that a graph proposes, and of all that are newer than it; None: there is no graph.

    Args:
        wanted: rows that are to be shown.
        share: of the clips that may be among them; the rest of the proposals is for nothing.
    """
    found = index.cached(
        f"graph {mode}", _stamp(index.folder, mode), lambda: _open(index.folder, mode, view=True)
    )
    if found is None:
        return None
    graph: Graph = found
    count = min(len(graph.graph), int(max(LEAST, PROPOSED * wanted) / max(share, 1e-6)))
    matches = graph.graph.search(graph.frozen(state).query(mode, raw), count, threads=1)
    proposed = state.places(np.sort(matches.keys.astype(np.int64)))
    newer = np.arange(np.searchsorted(state.clips, graph.last, "right"), len(state))
    return np.concatenate([proposed, newer])


def _behind(index: Index, state: State, mode: Mode) -> tuple[Graph | None, Places]:
    """The graph to go on from, or None to begin anew, and the places of the clips to be added."""
    graph = _open(index.folder, mode, view=False)
    if graph is not None:
        inside = int(np.searchsorted(state.clips, graph.last, "right"))
        stale = len(graph.graph) - inside
        if len(state) <= GROWN * graph.clips and stale <= GONE * len(graph.graph):
            return graph, np.arange(inside, len(state))
    return None, np.arange(len(state))


def _write(
    index: Index, state: State, mode: Mode, graph: Graph | None, places: Places, tell: Callable[[int], None]
) -> None:
    scorer = graph.frozen(state) if graph else Scorer(state)
    built: Any = graph.graph if graph else None
    for at in range(0, len(places), BLOCK):
        part = places[at : at + BLOCK]
        units = scorer.units(mode, part)
        if built is None:
            built = _new(units.shape[1])
        built.add(state.clips[part].astype(np.uint64), units)
        tell(len(part))
    facts = {
        "last": int(state.clips[-1]),
        "clips": graph.clips if graph else len(state),
        "means": {kind: mean.tolist() for kind, mean in scorer.state.means.items()},
        "file": f"graph-{mode}-{state.version}.usearch",
    }
    write_whole(index.folder / str(facts["file"]), lambda aside: built.save(str(aside)))
    write_text(_facts(index.folder, mode), json.dumps(facts) + "\n")
    for old in index.folder.glob(f"graph-{mode}-*.usearch"):
        if old.name != facts["file"]:
            old.unlink()


def _new(width: int) -> Any:
    from usearch.index import Index as Hnsw

    return Hnsw(ndim=width, metric="ip", dtype="f16", connectivity=CONNECTIVITY, expansion_add=EXPANSION_ADD)


def _facts(folder: Path, mode: Mode) -> Path:
    return folder / f"graph-{mode}.json"


def _stamp(folder: Path, mode: Mode) -> object:
    path = _facts(folder, mode)
    return path.stat().st_mtime_ns if path.is_file() else None


def _open(folder: Path, mode: Mode, *, view: bool) -> Graph | None:
    """The graph of a mode; None where there is none, or it cannot be read: it can always be built anew."""
    from usearch.index import Index as Hnsw

    try:
        facts = json.loads(_facts(folder, mode).read_text("utf-8"))
        path = folder / Path(facts["file"]).name
        if not path.is_file():
            return None
        graph = Hnsw.restore(str(path), view=view)
        means = {kind: np.array(mean) for kind, mean in facts["means"].items()}
        return Graph(graph, int(facts["last"]), int(facts["clips"]), means) if graph is not None else None
    except (OSError, ValueError, KeyError, RuntimeError):
        return None
