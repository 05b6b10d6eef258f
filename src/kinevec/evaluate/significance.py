"""How sure a score, or a difference of two, is: intervals and p-values over the test videos.

Both treat the test videos as a sample of all videos that might have been; the encoder, the training videos and
their order stay as they are. What another seed of pretraining would give is not in them: repeat the run for that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinevec.evaluate import score_interval
from kinevec.evaluate.outcomes import Floats, weights

LEVEL = 0.95
RESAMPLES = 2000
FLIPS = 10_000
EXACT = 14  # differing videos up to which all 2ⁿ signs are tried
ROUNDING = 1e-9  # by which shares that are equal may differ
AT_ONCE = 4_000_000  # numbers drawn in one go


@dataclass(frozen=True)
class Difference:
    """A score of A minus the same score of B over the same test videos.

    Attributes:
        first, second: the scores of A and of B, in percent.
        low, high: interval of their difference, in percentage points.
        p: two-sided, of the hypothesis that A and B are exchangeable on every video.
    """

    first: float
    second: float
    low: float
    high: float
    p: float

    @property
    def points(self) -> float:
        """The difference in percentage points."""
        return self.first - self.second

    @property
    def side(self) -> int:
        """1 or −1 where the whole interval lies above or below 0; else 0."""
        return int(self.low > ROUNDING) - int(self.high < -ROUNDING)


def interval(
    hits: Floats,
    labels: Sequence[str],
    *,
    per_class: bool = False,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Interval of a share of videos: percentile bootstrap (Efron and Tibshirani 1993, chapter 13), or Wilson's.

    Wilson's score interval, where there are fewer than 30 videos, fewer than 5 hits or misses, or fewer than 5 videos
    that are not all alike: resampling four hits would find 100 % with certainty. See `kinevec.evaluate.score_interval`. Else videos are drawn anew with replacement, as many as there are. In a mean over classes they keep their weights, so
    that with classes of equal size the interval is that of the mean over videos. (Drawing within each class
    instead gives intervals that are too narrow where classes have few test videos.)

    Args:
        hits: (V,) in [0, 1].
        labels: (V,).
        per_class: the mean over classes of the classes' means.
        level: share of the resampled means inside.

    Returns:
        Its ends, in the unit of `hits`.
    """
    weight, values = weights(labels, per_class=per_class), np.asarray(hits, np.float64)
    if score_interval.too_few(values, weight):
        return score_interval.wilson_of(values, weight, level)
    return _bootstrap(values, weight, level, resamples, seed)


def paired(
    first: Floats, second: Floats, labels: Sequence[str], *, per_class: bool = False, seed: int = 0
) -> Difference:
    """Compares two scores over the same videos: interval by resampling videos, p-value by flipping signs.

    Where either score, or the share of the videos that differ, rests on too few for that (see `interval`), the
    interval is Newcombe's for paired shares.

    Args:
        first, second: (V,) hits of A and B on the same videos in the same order.
        labels: (V,).
    """
    if not len(first) == len(second) == len(labels):
        raise ValueError(f"{len(first)} and {len(second)} hits of {len(labels)} videos")
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    difference = one - other
    weight = weights(labels, per_class=per_class)
    if any(score_interval.too_few(part, weight) for part in (one, other, np.abs(difference))):
        low, high = score_interval.difference(one, other, weight, LEVEL)
    else:
        low, high = _bootstrap(difference, weight, LEVEL, RESAMPLES, seed)
    p = sign_flip(difference * weight, np.random.default_rng(seed))
    return Difference(100 * float(weight @ first), 100 * float(weight @ second), 100 * low, 100 * high, p)


def sign_flip(contributions: Floats, rng: np.random.Generator, flips: int = FLIPS) -> float:
    """Two-sided p-value of a sum under random signs of its terms (Fisher's randomisation test for pairs).

    The share of all signs whose sum is at least as far from 0 as the one that was found. Exact up to `EXACT` terms
    that are not 0; beyond, `flips` random signs beside the true ones (Phipson and Smyth 2010), so that p is
    never 0. For hits and misses of equal weight this is McNemar's exact test.

    Args:
        contributions: (V,).
    """
    terms = contributions[contributions != 0]
    found = abs(terms.sum())
    least = found - 1e-9 * np.abs(terms).sum()  # sums that are equal but for rounding count
    if len(terms) <= EXACT:
        bits = np.arange(2 ** len(terms))[:, None] >> np.arange(len(terms)) & 1
        return float((np.abs((1 - 2 * bits) @ terms) >= least).mean())
    as_far = 0
    for count in _portions(flips, len(terms)):
        signs = 1 - 2 * rng.integers(0, 2, (count, len(terms)), dtype=np.int8)
        as_far += int((np.abs(signs @ terms) >= least).sum())
    return (as_far + 1) / (flips + 1)


def _bootstrap(
    values: Floats, weight: Floats, level: float, resamples: int, seed: int
) -> tuple[float, float]:
    means = _resampled(values, weight, resamples, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _resampled(values: Floats, weight: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """(resamples,) weighted means over as many videos as there are, drawn with replacement."""
    drawn = []
    for count in _portions(resamples, len(values)):
        places = rng.integers(0, len(values), (count, len(values)))
        drawn.append((weight * values)[places].sum(1) / weight[places].sum(1))
    return np.concatenate(drawn)


def _portions(rows: int, columns: int) -> list[int]:
    """So many rows, in portions that fit into memory."""
    most = max(1, AT_ONCE // max(columns, 1))
    return [min(most, rows - start) for start in range(0, rows, most)]
