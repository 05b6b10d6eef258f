"""Votes of neighbours, nearest means and tests of differences, in float64 loops (docs/evaluation.md)."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reference.evaluate import unit

Array = NDArray[np.float64]


def knn_ranking(
    train: Array, labels: Sequence[str], test: Array, k: int, temperature: float
) -> list[list[str]]:
    """Classes of each test row, the likeliest first.

    Rows are centred by the mean of train and brought to unit length. The k nearest vote with exp(cosine /
    temperature); classes without a vote follow by their nearest row, classes that are equal by name.
    """
    middle = sum(train) / len(train)
    gallery, queries = unit(train - middle), unit(test - middle)
    result = []
    for query in queries:
        cosine = [math.fsum(a * b for a, b in zip(query, row, strict=True)) for row in gallery]
        order = sorted(range(len(gallery)), key=lambda i: (-cosine[i], i))
        votes: dict[str, float] = {}
        for i in order[:k]:
            votes[labels[i]] = votes.get(labels[i], 0.0) + math.exp(cosine[i] / temperature)
        best = {
            label: max(c for c, own in zip(cosine, labels, strict=True) if own == label) for label in labels
        }
        result.append(sorted(best, key=lambda label: (-votes.get(label, 0.0), -best[label], label)))
    return result


def sign_flip(terms: Sequence[float]) -> float:
    """Share of all signs of the terms whose sum is at least as far from 0 as that of the terms themselves."""
    found = abs(math.fsum(terms))
    signs = list(itertools.product((1, -1), repeat=len(terms)))
    far = sum(
        abs(math.fsum(s * t for s, t in zip(row, terms, strict=True))) >= found - 1e-12 for row in signs
    )
    return far / len(signs)


def binomial_quantile(n: int, p: float, share: float) -> int:
    """The smallest k with P(X ≤ k) ≥ share for X binomial."""
    total = 0.0
    for k in range(n + 1):
        total += math.comb(n, k) * p**k * (1 - p) ** (n - k)
        if total >= share:
            return k
    return n
