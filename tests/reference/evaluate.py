"""Retrieval, scores of a linear classifier, and its objective, in float64 loops (docs/evaluation.md)."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def unit(rows: Array) -> Array:
    """Rows divided by their length."""
    return np.stack([row / math.sqrt(math.fsum(x * x for x in row)) for row in rows])


def ranking(query: Array, gallery: Array) -> list[list[int]]:
    """Gallery places for every query, the most similar first, ties in the gallery's order.

    Each side is centred by its own mean; a single query, which has none to speak of, by the gallery's.
    """
    middle = sum(gallery) / len(gallery)
    query = unit(query - (sum(query) / len(query) if len(query) > 1 else middle))
    gallery = unit(gallery - middle)
    ranks = []
    for q in query:
        similarity = [math.fsum(a * b for a, b in zip(q, g, strict=True)) for g in gallery]
        ranks.append(sorted(range(len(gallery)), key=lambda i: (-round(similarity[i], 12), i)))
    return ranks


def recall(ranks: Sequence[Sequence[int]], wanted: Sequence[str], labels: Sequence[str], k: int) -> float:
    """Percent of queries with the wanted label among the k nearest."""
    hits = sum(any(labels[i] == label for i in rank[:k]) for rank, label in zip(ranks, wanted, strict=True))
    return 100 * hits / len(ranks)


def logits(weights: Array, clips: Array) -> Array:
    """(V, M, classes): W·x + b of every clip of (V, M, C); the last row of `weights` (C + 1, classes) is b."""
    return clips @ weights[:-1] + weights[-1]


def video_scores(weights: Array, clips: Array) -> Array:
    """(V, classes): softmax of W·x + b for every clip of (V, M, C), averaged over a video's clips.

    Clips are brought to unit length first; the last row of `weights` (C + 1, classes) is b.
    """
    scores = np.zeros((len(clips), weights.shape[1]))
    for v, video in enumerate(clips):
        for clip in unit(video):
            powers = [math.exp(float(clip @ w[:-1] + w[-1])) for w in weights.T]
            scores[v] += np.array(powers) / sum(powers) / len(video)
    return scores


def objective_gradient(weights: Array, x: Array, y: Sequence[int], penalty: float) -> Array:
    """Gradient by (C + 1, classes) weights of mean cross-entropy over all clips + penalty · s² · ‖W‖².

    s² is the mean squared distance of the clips from their mean; the last row of the weights, b, has no penalty.
    """
    gradient = np.zeros_like(weights)
    clips = [(clip, label) for video, label in zip(x, y, strict=True) for clip in video]
    for clip, label in clips:
        powers = np.exp(clip @ weights[:-1] + weights[-1])
        difference = powers / powers.sum()
        difference[label] -= 1
        gradient += np.outer(np.append(clip, 1.0), difference) / len(clips)
    mean = sum(clip for clip, _ in clips) / len(clips)
    spread = math.fsum(math.dist(clip, mean) ** 2 for clip, _ in clips) / len(clips)
    gradient[:-1] += 2 * penalty * spread * weights[:-1]
    return gradient
