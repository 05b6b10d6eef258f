"""How features of frames and features of their motion agree, cell by cell and step by step (FIMA, figure 5)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinevec.show.activation import Maps, Steps

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Affinity:
    """Cosines between what an encoder says of frames and of their differences.

    Both kinds of features are centred by their own mean over all cells and steps, which all of them share and
    which says nothing about any place or time.

    Attributes:
        spatial: (h·w, h·w), cell i of the frames with cell j of the differences, mean over steps.
        temporal: (K, K), step s of the frames with step t of the differences, mean over equal cells.
        apart: (K, K), how many frames lie between two steps at the same place within their clips; −1 where they are
            at different ones, which differ for that alone; see `kinevec.show.activation.Steps.apart`.
        length: how many frames a step lasts.
    """

    spatial: Matrix
    temporal: Matrix
    apart: NDArray[np.int64]
    length: float

    @property
    def same_place(self) -> float:
        """How much more alike equal cells are than different ones; 0 where place makes no difference.

        Both are taken at the same step, so that the cutting into clips is in both alike. What a cell owes to the edge of
        the picture (an encoder pads it, too) counts as its place.
        """
        n = len(self.spatial)
        if n < 2:
            return float("nan")
        diagonal = self.spatial.trace()
        return float(diagonal / n - (self.spatial.sum() - diagonal) / (n * n - n))

    @property
    def same_time(self) -> float:
        """How much more alike equal steps are than others at the same place within their clips.

        0 where time makes no difference. Others begin at least a step's length away, as they may not where clips
        overlap at the end of a video. NaN where there are none, as of a single clip.
        """
        others = self.apart >= self.length
        if not others.any():
            return float("nan")
        return float(self.temporal.diagonal().mean() - self.temporal[others].mean())

    def by_distance(self) -> dict[int, Matrix]:
        """Frames apart → temporal cosines of all pairs of steps so far apart, at the same place within their clips."""
        return {int(d): self.temporal[self.apart == d] for d in np.unique(self.apart[self.apart >= 0])}


def affinity(steps: Steps) -> Affinity:
    """The affinities of features of frames and of their differences.

    Raises:
        ValueError: the two differ in shape.
    """
    if steps.rgb.shape != steps.motion.shape:
        raise ValueError(
            f"rgb {steps.rgb.shape} and motion {steps.motion.shape} are not features of the same steps"
        )
    a, b = _directions(steps.rgb), _directions(steps.motion)  # (K, h·w, C)
    spatial = np.einsum("kic,kjc->ij", a, b) / len(a)
    temporal = np.einsum("sic,tic->st", a, b) / a.shape[1]
    return Affinity(spatial, temporal, steps.apart, steps.length)


def _directions(maps: Maps) -> NDArray[np.float64]:
    k, c, h, w = maps.shape
    cells = maps.astype(np.float64).reshape(k, c, h * w).transpose(0, 2, 1)
    cells = cells - cells.mean((0, 1))
    length = np.linalg.norm(cells, axis=-1, keepdims=True)
    directions: NDArray[np.float64] = cells / np.maximum(length, 1e-12)
    return directions
