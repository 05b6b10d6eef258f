"""Figures of health from their definitions, in loops over float64."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def spread(x: Array) -> float:
    total = 0.0
    for d in range(x.shape[1]):
        mean = sum(x[:, d]) / len(x)
        total += math.sqrt(sum((value - mean) ** 2 for value in x[:, d]) / len(x))
    return total / x.shape[1] * math.sqrt(x.shape[1])


def effective_rank(x: Array) -> float:
    """From the eigenvalues of the scatter matrix, whose roots are the singular values."""
    centred = x - x.mean(0)
    values = np.sqrt(np.clip(np.linalg.eigvalsh(centred.T @ centred), 0, None))
    share = [value / values.sum() for value in values if value > 1e-6 * math.sqrt(len(x))]
    total = sum(share)
    return math.exp(-sum(p / total * math.log(p / total) for p in share))


def alignment(q: Array, k: Array) -> float:
    return sum(sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) for x, y in zip(q, k, strict=True)) / len(
        q
    )


def uniformity(x: Array) -> float:
    terms = [math.exp(-2 * sum((x[i] - x[j]) ** 2)) for i in range(len(x)) for j in range(i)]
    return math.log(sum(terms) / len(terms))


def staleness(q: Array, old: Array, new: Array, tau: float) -> float:
    shares = []
    for query in q:
        weights = [sum(math.exp(float(query @ key) / tau) for key in keys.T) for keys in (old, new)]
        shares.append(weights[0] / sum(weights))
    return abs(1 - 2 * sum(shares) / len(shares))
