"""Closed-form intervals of shares, for sets too small or too one-sided to be resampled.

A bootstrap of four hits out of four knows of no miss and gives [100, 100] %. These intervals ask instead which true
shares would make what was found unlikely, and stay honest down to a single video.
"""

import math
from statistics import NormalDist

import numpy as np

from kinevec.evaluate.outcomes import Floats

FEW_VIDEOS = 30  # below so many a bootstrap interval is too narrow
FEW_CASES = 5  # of hits, or of misses: the usual bound below which shares are far from normal

ROUNDING = 1e-6

Ends = tuple[float, float]


def too_few(hits: Floats, weight: Floats) -> bool:
    """Whether a share is to have a score interval: few videos, few hits or misses, or nearly all videos alike.

    Where something was repeated, all videos may be half right, which is a share in the middle and knows as little
    of what other videos would give.

    Args:
        hits: (V,) in [0, 1].
        weight: (V,) of sum 1.
    """
    share, count = _share(hits, weight), effective_count(weight)
    _, place = np.unique(np.round(hits, 6), return_inverse=True)
    other = 1 - float(np.bincount(place, weight).max())  # than the most frequent value
    return count < FEW_VIDEOS - ROUNDING or count * min(share, 1 - share, other) < FEW_CASES - ROUNDING


def effective_count(weight: Floats) -> float:
    """How many videos of equal weight say as much: 1 / Σ w² (Kish 1965); all of them where weights are equal."""
    return float(1 / np.square(weight).sum())


def wilson(share: float, count: float, level: float) -> Ends:
    """Wilson's score interval of a share of `count` independent videos (Wilson 1927).

    The true shares p with |share − p| ≤ z · sqrt(p (1 − p) / count):
    (share + z²/2n ± z · sqrt(share (1 − share) / n + z²/4n²)) / (1 + z²/n).
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = share + z**2 / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    whole = 1 + z**2 / count
    # The ends hold the share by definition; rounding must not cut it off where it is 0 or 1.
    return min(share, max(0.0, (middle - half) / whole)), max(share, min(1.0, (middle + half) / whole))


def wilson_of(hits: Floats, weight: Floats, level: float) -> Ends:
    """`wilson` of weighted hits; shares of repetitions count as if each video were drawn once, which is wide."""
    return wilson(_share(hits, weight), effective_count(weight), level)


def difference(first: Floats, second: Floats, weight: Floats, level: float) -> Ends:
    """Interval of a difference of two shares of the same videos (Newcombe 1998, paired data, method 10).

    The distances from each share to its own Wilson limits are added as squares, less what the two have in
    common, φ: d − sqrt(a² − 2φab + b²), d + sqrt(…).

    Args:
        first, second: (V,) hits in [0, 1] on the same videos.
        weight: (V,) of sum 1.
    """
    p, q = _share(first, weight), _share(second, weight)
    (low_p, high_p), (low_q, high_q) = (wilson_of(hits, weight, level) for hits in (first, second))
    phi = correlation(first, second, weight)
    down = _apart(p - low_p, high_q - q, phi)
    up = _apart(high_p - p, q - low_q, phi)
    return p - q - down, p - q + up


def ratio(
    above: Floats, below: Floats, chance: float, weight: Floats, level: float
) -> tuple[float, float] | None:
    """Interval of (share of `above` − chance) / (share of `below` − chance), of the same videos.

    The limits R at which the interval of numerator − R · denominator, made as `difference` is, ends at 0 (Donner
    and Zou 2012, MOVER-R). A limit below 0 is given as 0.

    Args:
        above, below: (V,) hits in [0, 1].
        chance: subtracted from both; taken as known.
        weight: (V,) of sum 1.

    Returns:
        None where the denominator is not above 0 with its whole interval: any ratio would be possible.
    """
    a, b = _share(above, weight) - chance, _share(below, weight) - chance
    (low_a, high_a), (low_b, high_b) = (
        tuple(end - chance for end in wilson_of(hits, weight, level)) for hits in (above, below)
    )
    if low_b <= 0:
        return None
    phi = correlation(above, below, weight)
    low = high = 0.0
    if low_a > 0:
        both = a * b - phi * (a - low_a) * (high_b - b)
        product = low_a * (2 * a - low_a)
        inside = max(both**2 - product * high_b * (2 * b - high_b), 0.0)
        low = product / (both + math.sqrt(inside))  # the smaller root, in the form that never divides by 0
    if high_a > 0:
        both = a * b - phi * (high_a - a) * (b - low_b)
        product = low_b * (2 * b - low_b)
        inside = max(both**2 - product * high_a * (2 * a - high_a), 0.0)
        high = (both + math.sqrt(inside)) / product
    return low, high


def correlation(first: Floats, second: Floats, weight: Floats) -> float:
    """φ of two series of hits; if positive, its covariance is made smaller by 1 / 2n (Newcombe's correction).

    0 where either is all hits or all misses, of which nothing is known.
    """
    p, q = _share(first, weight), _share(second, weight)
    scale = math.sqrt(p * (1 - p) * q * (1 - q))
    if scale < 1e-12:
        return 0.0
    together = float(weight @ (first * second)) - p * q
    if together > 0:
        together = max(together - 1 / (2 * effective_count(weight)), 0.0)
    return together / scale


def _share(hits: Floats, weight: Floats) -> float:
    return min(max(float(weight @ hits), 0.0), 1.0)  # rounding may lead a hair beyond


def _apart(a: float, b: float, phi: float) -> float:
    return math.sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0))
