"""How features of frames and features of their motion agree, cell by cell and step by step (FIMA, figure 5)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinevec.show.activation import Maps

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Affinity:
    """Cosines between what an encoder says of frames and of their differences.

    Both kinds of features are centred by their own mean over all cells and steps, which all of them share and
    which says nothing about any place or time.

    Attributes:
        spatial: (h·w, h·w), cell i of the frames with cell j of the differences, mean over steps.
        temporal: (K, K), step s of the frames with step t of the differences, mean over equal cells.
    """

    spatial: Matrix
    temporal: Matrix

    @property
    def same_place(self) -> float:
        """How much more alike equal cells are than different ones; 0 where place makes no difference."""
        return _contrast(self.spatial)

    @property
    def same_time(self) -> float:
        """How much more alike equal steps are than different ones."""
        return _contrast(self.temporal)

    def by_distance(self) -> list[Matrix]:
        """Temporal cosines sorted by |s − t|: entry d holds all pairs of steps that are d apart."""
        distance = np.abs(np.subtract.outer(np.arange(len(self.temporal)), np.arange(len(self.temporal))))
        return [self.temporal[distance == d] for d in range(len(self.temporal))]


def affinity(rgb: Maps, motion: Maps) -> Affinity:
    """The affinities of features (K, C, h, w) of frames and of their differences.

    Raises:
        ValueError: the two differ in shape.
    """
    if rgb.shape != motion.shape:
        raise ValueError(f"rgb {rgb.shape} and motion {motion.shape} are not features of the same steps")
    a, b = _directions(rgb), _directions(motion)  # (K, h·w, C)
    spatial = np.einsum("kic,kjc->ij", a, b) / len(a)
    temporal = np.einsum("sic,tic->st", a, b) / a.shape[1]
    return Affinity(spatial, temporal)


def _directions(maps: Maps) -> NDArray[np.float64]:
    k, c, h, w = maps.shape
    cells = maps.astype(np.float64).reshape(k, c, h * w).transpose(0, 2, 1)
    cells = cells - cells.mean((0, 1))
    length = np.linalg.norm(cells, axis=-1, keepdims=True)
    directions: NDArray[np.float64] = cells / np.maximum(length, 1e-12)
    return directions


def _contrast(matrix: Matrix) -> float:
    """Mean of the diagonal less mean of the rest; NaN for a single entry."""
    n = len(matrix)
    if n < 2:
        return float("nan")
    diagonal = matrix.trace()
    return float(diagonal / n - (matrix.sum() - diagonal) / (n * n - n))
