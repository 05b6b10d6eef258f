"""How many groups there are: the largest number at which those of half the videos are found again in the other half.

Prediction strength of Tibshirani and Walther (Cluster Validation by Prediction Strength, 2005). Silhouettes, which were
used before, are highest at 2 wherever one difference between clips is larger than all others.
"""

import math
import warnings

import numpy as np
from numpy.typing import NDArray

from kinevec.data.source import Progress

SAMPLE = 2_000  # clips that are looked at
KS = (2, 3, 4, 6, 8, 11, 16, 23, 32)  # numbers of groups that are tried
ENOUGH = 0.8  # strength from which groups count as found again, as in the paper
SPLITS = 3  # of the videos into halves
STARTS = 4  # of k-means on a half
LEAST = 3  # clips of a half for each group that is tried

Matrix = NDArray[np.float32]
Whole = NDArray[np.int64]


def strengths(
    vectors: Matrix, videos: Whole, rng: np.random.Generator, progress: Progress | None = None
) -> dict[int, float]:
    """Number of groups → its prediction strength in 0 to 1, the median over several splits.

    Clips of one video stay in one half, since they are alike whatever groups there are; so a group of few videos is
    not seen. Of a single video, clips are split.

    Args:
        vectors: (N, C) of unit length.
        videos: (N,) the video of each.
    """
    sample = np.sort(rng.permutation(len(vectors))[:SAMPLE])
    vectors, videos = vectors[sample], videos[sample]
    if len(np.unique(videos)) < 2:
        videos = np.arange(len(videos))
    splits = [_halves(videos, rng) for _ in range(SPLITS)]
    smallest = min(min(len(first), len(second)) for first, second in splits)
    ks = [k for k in KS if k == KS[0] or k * LEAST <= smallest]
    found = {}
    for done, k in enumerate(ks, 1):
        if k <= smallest:
            each = [_both_ways(vectors[first], vectors[second], k) for first, second in splits]
            found[k] = float(np.median(each))
        if progress:
            progress(done, len(ks))
    return found


def choose(found: dict[int, float]) -> int:
    """The largest number whose strength is at least `ENOUGH`; the strongest where none is; 2 where none was tried."""
    enough = [k for k, strength in found.items() if strength >= ENOUGH]
    return max(enough) if enough else max(found, key=lambda k: found[k], default=KS[0])


def in_words(found: dict[int, float]) -> str:
    """How the number was chosen, in one sentence with the strengths of all that were tried."""
    tried = ", ".join(f"{k}: {math.floor(100 * strength + 1e-9) / 100:.2f}" for k, strength in found.items())
    if not found:
        return "there are too few clips to try numbers of groups"
    if max(found.values()) >= ENOUGH:
        why = f"the largest number tried at which groups of half the videos are found again in the other half is {choose(found)}"
        return f"{why} (prediction strength of at least {ENOUGH}; {tried})"
    why = f"at no number tried are groups of half the videos found again in the other half, best at {choose(found)}"
    return f"{why} (prediction strength below {ENOUGH}; {tried}): clips blend into each other"


def strength(theirs: Whole, own: Whole) -> float:
    """The smallest share, over groups, of pairs of clips of one group that are together in another grouping too.

    Args:
        theirs, own: (N,) the group of each clip in both groupings. A group of `own` with one clip has no pair, and 0.
    """
    shares = []
    for group in np.unique(own):
        together = np.bincount(theirs[own == group])
        size = int(together.sum())
        shares.append((together * (together - 1)).sum() / (size * (size - 1)) if size > 1 else 0.0)
    return float(min(shares))


def _halves(videos: Whole, rng: np.random.Generator) -> tuple[Whole, Whole]:
    """Places of the clips of a random half of the videos, and of the others."""
    mixed = rng.permutation(np.unique(videos))
    first = np.isin(videos, mixed[: len(mixed) // 2])
    return np.flatnonzero(first), np.flatnonzero(~first)


def _both_ways(first: Matrix, second: Matrix, count: int) -> float:
    """Mean strength of the groups of each half in the other."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct clips than groups: said below
        means = [KMeans(count, n_init=STARTS, random_state=0).fit(half) for half in (first, second)]
    if min(len(np.unique(half.labels_)) for half in means) < count:
        return 0.0
    ways = ((means[0], means[1], second), (means[1], means[0], first))
    return float(np.mean([strength(theirs.predict(half), own.labels_) for theirs, own, half in ways]))
