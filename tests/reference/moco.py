"""InfoNCE, the queue and the key side's momentum in float64 Python, from MoCo (arXiv:1911.05722)."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def info_nce(query: Array, key: Array, negatives: Array, temperature: float) -> float:
    """Mean over (N, D) queries of -log( e^(q·k/τ) / (e^(q·k/τ) + Σ_i e^(q·n_i/τ)) ); negatives (D, K)."""
    total = 0.0
    for q, k in zip(query, key, strict=True):
        positive = math.fsum(a * b for a, b in zip(q, k, strict=True)) / temperature
        others = [math.fsum(a * b for a, b in zip(q, n, strict=True)) / temperature for n in negatives.T]
        # log(1 + Σ e^(n - p)): exact also where e^(n / τ) would not fit into a float
        highest = max(0.0, *(n - positive for n in others))
        rest = math.fsum(math.exp(n - positive - highest) for n in others)
        total += highest + math.log(math.exp(-highest) + rest)
    return total / len(query)


def info_nce_gradient(query: Array, key: Array, negatives: Array, temperature: float) -> Array:
    """By the query, from central differences."""
    gradient = np.zeros_like(query)
    step = 1e-5
    for place in np.ndindex(query.shape):
        ahead, behind = query.copy(), query.copy()
        ahead[place] += step
        behind[place] -= step
        rise = info_nce(ahead, key, negatives, temperature) - info_nce(behind, key, negatives, temperature)
        gradient[place] = rise / (2 * step)
    return gradient


def last_keys(history: Sequence[Array], count: int) -> list[Array]:
    """The `count` keys that came last, the oldest first."""
    return list(history)[-count:]


def moved(key: Array, query: Array, momentum: float) -> Array:
    """θ_k ← m θ_k + (1 − m) θ_q."""
    return momentum * key + (1 - momentum) * query
