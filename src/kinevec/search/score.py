"""How alike clips are. Vectors are compared by cosine after the mean over all clips is taken off (docs/evaluation.md).

With f the encoder's vector of a clip, a that of the clip made static, and r = f - a what motion adds:

- `both`: cos(f, f'), the plain encoder. It sees motion and what is in the picture.
- `appearance`: cos(a, a').
- `motion`: cos(r, r') - ¼ cos(a, a'): moves alike, and better so if it looks different.

Means are over the clips that the index holds at the moment, so they move as videos are added or removed, and so do
scores, by little once there are some hundred clips. A clip that is alone, or equal to the mean, scores 0.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from kinevec.errors import InputError
from kinevec.search.state import FULL, STATIC, State
from kinevec.search.vectors import Matrix

Mode = Literal["motion", "appearance", "both"]
MODES: tuple[Mode, ...] = get_args(Mode)
RESIDUAL = "residual"
LOOKS = 0.25  # weight of looking alike in `motion`; anything from 0.2 to 0.4 does as well
PARTS: dict[Mode, dict[str, float]] = {
    "both": {FULL: 1.0},
    "appearance": {STATIC: 1.0},
    "motion": {RESIDUAL: 1.0, STATIC: -LOOKS},
}
ROUNDING = 3e-6  # of a vector's length: closer to the mean than that, what is left is rounding of float32
BLOCK = 16_384  # rows that are worked on at once
FEW = 8  # of fewer than 1/8 of all clips, only theirs are read

Places = NDArray[np.int64]
Raw = Mapping[str, NDArray[np.floating]]  # kind → vector (C,) or vectors (N, C), as the encoder gives them


class Scorer:
    """Scores the clips of one state of an index.

    Exact scores are matrix products with the mapped vectors as they are: the mean is taken off afterwards,
    (x - μ)·q = x·q - μ·q, so that nothing has to be written anew when it moves.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self._norms: dict[str, Matrix] = {}

    def check(self, mode: Mode) -> None:
        """Refuses a mode that needs vectors which the index does not hold.

        Raises:
            InputError: says how to get them.
        """
        if mode not in PARTS:
            raise InputError(f"mode is {mode!r}; it must be one of {', '.join(MODES)}")
        if mode != "both" and self.state.static is None:
            raise InputError(
                f"mode {mode} needs appearance vectors, which this index does not hold: embed the videos into a "
                "new folder with --appearance, or search with mode both"
            )

    def scores(self, mode: Mode, raw: Raw, places: Places | None = None) -> Matrix:
        """Scores (N,) of all clips, or of those at some places, against the query `raw`, with kinds of (C,)."""
        count = len(self.state) if places is None else len(places)
        total = np.zeros(count, np.float32)
        for part, weight in PARTS[mode].items():
            query = self.unit_query(part, raw)
            mean = self._mean(part)
            dots = self._dots(part, query.astype(np.float32), places) - np.float32(mean @ query)
            norms = self.norms(part)
            total += np.float32(weight) * dots / (norms if places is None else norms[places])
        return total

    def unit_query(self, part: str, raw: Raw) -> NDArray[np.float64]:
        """A query (C,) centred and of unit length."""
        vector = np.asarray(raw[FULL if part == RESIDUAL else part], np.float64)
        if part == RESIDUAL:
            vector = vector - raw[STATIC]
        centred = vector - self._mean(part)
        length, whole = (float(np.linalg.norm(one)) for one in (centred, raw[self._whole(part)]))
        unit: NDArray[np.float64] = centred / (length if length > ROUNDING * whole else math.inf)
        return unit

    def part(self, part: str, places: Places) -> Matrix:
        """One part of the vectors of clips at some places, centred and of unit length: (N, C)."""
        return (self._read(part, places) - self._mean(part).astype(np.float32)) / self.norms(part)[
            places, None
        ]

    def units(self, mode: Mode, places: Places) -> Matrix:
        """All parts that a mode compares, side by side: (N, parts·C)."""
        return np.concatenate([self.part(part, places) for part in PARTS[mode]], axis=1)

    def query(self, mode: Mode, raw: Raw) -> Matrix:
        """The vector (parts·C,) whose product with `units` is the score."""
        parts = [weight * self.unit_query(part, raw) for part, weight in PARTS[mode].items()]
        return np.concatenate(parts).astype(np.float32)

    def raw(self, place: int) -> dict[str, NDArray[np.floating]]:
        """The vectors of a clip as the encoder gave them."""
        row = self.state.rows[place]
        static = {} if self.state.static is None else {STATIC: self.state.static[row]}
        return {FULL: self.state.full[row], **static}

    def norms(self, part: str) -> Matrix:
        """(N,) lengths of the centred vectors; infinite, so that all scores are 0, where a vector is the mean."""
        if part not in self._norms:
            mean = self._mean(part).astype(np.float32)
            found = np.empty(len(self.state), np.float32)
            for places in _blocks(len(self.state)):
                lengths = np.linalg.norm(self._read(part, places) - mean, axis=1)
                whole = np.linalg.norm(self._read(self._whole(part), places), axis=1)
                found[places] = np.where(lengths > ROUNDING * whole, lengths, np.inf)
            self._norms[part] = found
        return self._norms[part]

    def _whole(self, part: str) -> str:
        """The vectors whose length says how far rounding reaches in a part."""
        return FULL if part == RESIDUAL else part

    def _mean(self, part: str) -> NDArray[np.float64]:
        means = self.state.means
        return means[FULL] - means[STATIC] if part == RESIDUAL else means[part]

    def _read(self, part: str, places: Places) -> Matrix:
        rows = self.state.rows[places]
        if part == RESIDUAL:
            return self.state.full[rows] - self._static[rows]
        return (self.state.full if part == FULL else self._static)[rows]

    def _dots(self, part: str, query: Matrix, places: Places | None) -> Matrix:
        state = self.state
        if places is not None and len(places) * FEW < len(state):
            return self._read(part, places) @ query
        dots = (self._static if part == STATIC else state.full) @ query
        if part == RESIDUAL:
            dots = dots - self._static @ query
        if not state.dense:
            dots = dots[state.rows]
        return dots if places is None else dots[places]

    @property
    def _static(self) -> Matrix:
        if self.state.static is None:
            raise ValueError("the index holds no vectors of static clips; see check()")
        return self.state.static


def _blocks(count: int) -> Iterator[Places]:
    for at in range(0, count, BLOCK):
        yield np.arange(at, min(at + BLOCK, count))
