"""Clips in groups without labels, and in a plane, by what `kinevec.search.score` compares them by."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kinevec.data.source import Progress
from kinevec.errors import ConfigError, DataError
from kinevec.search.index import Index
from kinevec.search.number import choose, strengths
from kinevec.search.score import BLOCK, RESIDUAL, Mode, Scorer
from kinevec.search.state import FULL, STATIC

PART: dict[Mode, str] = {"both": FULL, "appearance": STATIC, "motion": RESIDUAL}
PlaneName = Literal["pca", "umap", "none"]
FEW = 20_000  # clips; of more, k-means looks at small batches
STARTS = 4  # of k-means; the best is kept

Matrix = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Clustering:
    """N clips in K groups; group 0 is the largest.

    Attributes:
        mode: by which they are alike.
        clips: (N,) numbers of the clips.
        groups: (N,) the group of each.
        nearness: (N,) cosine between each and the centre of its group.
        strengths: number of groups → prediction strength, of those that were tried (`kinevec.search.number`); None
            where the number was given.
        examples: for each group some clips nearest to its centre, each of another video where there are enough.
        plane: (N, 2) x and y in -1 to 1; None: no map was asked for.
    """

    mode: Mode
    clips: NDArray[np.int64]
    groups: NDArray[np.int64]
    nearness: Matrix
    strengths: dict[int, float] | None
    examples: tuple[tuple[int, ...], ...]
    plane: Matrix | None

    @property
    def count(self) -> int:
        """K."""
        return len(self.examples)


def cluster(
    index: Index,
    *,
    mode: Mode | None = None,
    count: int | None = None,
    plane: PlaneName = "pca",
    examples: int = 6,
    seed: int = 0,
    progress: Progress | None = None,
) -> Clustering:
    """Groups all clips by k-means on centred vectors of unit length.

    Args:
        mode: motion, appearance or both; None: motion where the index holds what it needs. Motion is here what motion
            adds to the vector alone (`residual`), without a penalty for looking alike.
        count: number of groups; None: the largest tried that `kinevec.search.number` finds again in other videos.
        plane: how to lay the map out.
        examples: clips to show of each group.

    Raises:
        DataError: there are fewer clips than groups, or fewer than three.
        ConfigError: umap-learn is not installed.
        InputError: the mode needs vectors that the index does not hold.
    """
    state, scorer = index.scored()
    mode = mode or ("motion" if index.settings.appearance else "both")
    scorer.check(mode)
    if len(state) < max(3, count or 0):
        raise DataError(f"{index.folder}: {len(state)} clips cannot make {count or 'several'} groups")
    vectors = unit_vectors(scorer, mode)
    tried = None if count else strengths(vectors, state.videos, np.random.default_rng(seed), progress)
    wanted = count or choose(tried or {})
    groups = _by_size(_k_means(vectors, wanted, seed))
    centres = np.stack([vectors[groups == k].mean(0) for k in range(groups.max() + 1)])
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    nearness = np.einsum("nc,nc->n", vectors, centres[groups])
    chosen = [
        state.clips[_spread(np.flatnonzero(groups == k), nearness, state.videos, examples)]
        for k in range(len(centres))
    ]
    return Clustering(
        mode,
        state.clips,
        groups,
        nearness,
        tried,
        tuple(tuple(clips.tolist()) for clips in chosen),
        None if plane == "none" else lay_out(vectors, plane, seed),
    )


def unit_vectors(scorer: Scorer, mode: Mode) -> Matrix:
    """(N, C) what a mode groups by, centred and of unit length."""
    count = len(scorer.state)
    blocks = [np.arange(at, min(at + BLOCK, count)) for at in range(0, count, BLOCK)]
    return np.concatenate([scorer.part(PART[mode], places) for places in blocks])


def lay_out(vectors: Matrix, method: PlaneName, seed: int = 0) -> Matrix:
    """Vectors (N, C) in a plane, (N, 2), x and y in -1 to 1.

    PCA shows the two directions in which they differ most; UMAP keeps neighbours together, and distances mean
    little.

    Raises:
        ConfigError: umap-learn is not installed.
    """
    plane = _umap(vectors, seed) if method == "umap" else _pca(vectors)
    plane = plane - (plane.max(0) + plane.min(0)) / 2
    scaled: Matrix = (plane / max(float(np.abs(plane).max()), 1e-12)).astype(np.float32)
    return scaled


def _pca(vectors: Matrix) -> NDArray[np.floating[Any]]:
    centred = vectors - vectors.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, : -min(3, vectors.shape[1] + 1) : -1]  # those of the two largest eigenvalues
    largest = np.abs(axes).argmax(0)
    # Else their direction is up to the library.
    axes = axes * np.sign(axes[largest, np.arange(axes.shape[1])])
    return np.asarray(centred @ axes)


def _umap(vectors: Matrix, seed: int) -> NDArray[np.floating[Any]]:
    try:
        from umap import UMAP
    except ImportError as error:
        raise ConfigError("a UMAP map needs umap-learn: pip install 'kinevec[map]' (or take pca)") from error
    neighbours = min(15, len(vectors) - 1)
    init = "random" if len(vectors) <= neighbours + 2 else "spectral"
    found = UMAP(n_neighbors=neighbours, metric="cosine", random_state=seed, n_jobs=1, init=init)
    return np.asarray(found.fit_transform(vectors))


def _k_means(vectors: Matrix, count: int, seed: int) -> NDArray[np.int64]:
    from sklearn.cluster import KMeans, MiniBatchKMeans

    kind = KMeans if len(vectors) <= FEW else MiniBatchKMeans
    return np.asarray(kind(count, n_init=STARTS, random_state=seed).fit_predict(vectors), np.int64)


def _by_size(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """The groups numbered anew, the largest first, without empty ones."""
    _, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    rank = np.argsort(np.argsort(-sizes, kind="stable"))
    numbered: NDArray[np.int64] = np.asarray(rank[inverse], np.int64)
    return numbered


def _spread(
    members: NDArray[np.int64], nearness: Matrix, videos: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """Some members nearest to the centre, of as many videos as possible."""
    order = members[np.argsort(-nearness[members], kind="stable")]
    _, first = np.unique(videos[order], return_index=True)
    ranked = np.concatenate([np.sort(first), np.setdiff1d(np.arange(len(order)), first)])
    chosen: NDArray[np.int64] = order[ranked[:count]]
    return chosen
