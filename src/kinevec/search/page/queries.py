"""Parts of videos as queries, embedded by a worker; paging and filtering do not embed them again."""

import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np

from kinevec.search.page.worker import Pool
from kinevec.search.query import Query

QUERY_SECONDS = 120.0  # to embed a part of a video
KEPT = 64


class Queries:
    """The queries that were asked last.

    Args:
        seeing: workers with the index's encoder.
    """

    def __init__(self, seeing: Pool) -> None:
        self.seeing = seeing
        self._known: OrderedDict[tuple[str, float, float], Query] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path, video: int | None, start: float, stop: float) -> Query:
        """A part of a video file.

        Args:
            video: its number in the index; None: it is not of the index.
            start, stop: seconds.

        Raises:
            DataError: it cannot be read, or not in time.
        """
        key = (version(path), start, stop)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        found = self.seeing.call("query", QUERY_SECONDS, path=str(path), start=start, stop=stop)
        raw = {kind: np.array(vector, np.float32) for kind, vector in found["raw"].items()}
        query = Query(raw, video, found["start"], found["stop"], found["clips"])
        with self._lock:
            self._known[key] = query
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        return query


def version(path: Path) -> str:
    """Tells one content of a file from another."""
    stat = path.stat()
    return f"{stat.st_mtime_ns} {stat.st_size} {path}"
