"""What an index holds at one moment, as arrays: the clips that count, their vectors, and the vectors' means."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinevec.errors import DataError
from kinevec.search.store import Store
from kinevec.search.vectors import Matrix, VectorFile

FULL, STATIC = "full", "static"
_COLUMNS = [("clip", "i8"), ("video", "i8"), ("row", "i8"), ("start", "f8"), ("stop", "f8")]
_TRIES = 3


def vector_file(folder: Path, kind: str, generation: int, width: int) -> VectorFile:
    """The file of one kind of vectors; packing begins another generation."""
    return VectorFile(folder / f"{kind}-{generation}.f32", width)


@dataclass(frozen=True)
class State:
    """One moment of an index with N clips.

    Attributes:
        version: of the database at this moment.
        clips: (N,) numbers of the clips, ascending.
        videos: (N,) the video of each.
        rows: (N,) its row in the files of vectors.
        starts, stops: (N,) seconds from the video's first frame.
        full: (R, C) the encoder's vectors, mapped; R ≥ N, since rows of removed clips stay until they are packed.
        static: (R, C) likewise of the clips made static; None where the index does not hold them.
        means: kind of vector → (C,) float64 mean over the N clips.
    """

    version: int
    clips: NDArray[np.int64]
    videos: NDArray[np.int64]
    rows: NDArray[np.int64]
    starts: NDArray[np.float64]
    stops: NDArray[np.float64]
    full: Matrix
    static: Matrix | None
    means: dict[str, NDArray[np.float64]]

    @classmethod
    def read(cls, folder: Path, store: Store, channels: int, *, appearance: bool) -> "State":
        """The present state.

        Raises:
            DataError: database and vectors do not fit together.
        """
        for left in reversed(range(_TRIES)):
            with store.transaction(write=False, clips=False):
                version, generation, rows = store.version, store.meta("generation"), store.meta("rows")
                table = store.columns("SELECT id, video, row, start, stop FROM clips ORDER BY id", _COLUMNS)
                means = {
                    kind: np.frombuffer(store.meta(f"sum {kind}")) / max(len(table), 1)
                    for kind in ((FULL, STATIC) if appearance else (FULL,))
                }
            try:
                files = {kind: vector_file(folder, kind, generation, channels).rows(rows) for kind in means}
                break
            except (DataError, OSError):  # another process may have packed them just now
                if not left or store.version == version:
                    raise
        clips, videos, row_of, starts, stops = (np.ascontiguousarray(table[name]) for name, _ in _COLUMNS)
        return cls(version, clips, videos, row_of, starts, stops, files[FULL], files.get(STATIC), means)

    def __len__(self) -> int:
        return len(self.clips)

    @cached_property
    def dense(self) -> bool:
        """Whether row i is clip i: nothing was ever removed."""
        return len(self) == len(self.full) and bool((self.rows == np.arange(len(self))).all())

    def places(self, clips: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where clips with these numbers stand in the arrays; those that are gone are left out."""
        found = np.searchsorted(self.clips, clips)
        found = np.minimum(found, max(len(self) - 1, 0))
        return found[self.clips[found] == clips] if len(self) else found[:0]
