"""Nearest neighbours across splits: test videos query the training split (docs/evaluation.md)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

KS = (1, 5, 10, 20, 50)


def prepared(features: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features (V, C) centred by a mean (C,) and scaled to unit length."""
    centred = features - mean
    unit: NDArray[np.float32] = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    return unit


def neighbours(
    query: NDArray[np.float32], gallery: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The most similar gallery videos of each query video; each side is centred by its own mean.

    Args:
        query: (Q, C) video features; a single one is centred by the gallery's mean.
        gallery: (G, C).
        count: at most G.

    Returns:
        Places in the gallery and cosine similarities, both (Q, count), the most similar first; equal
        similarities keep the order of the gallery.
    """
    middle = gallery.mean(0)
    own = query.mean(0) if len(query) > 1 else middle  # centred by itself, a single query would vanish
    similarity = prepared(query, own) @ prepared(gallery, middle).T
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :count]
    return order, np.take_along_axis(similarity, order, 1)


def retrieval(
    query: NDArray[np.float32],
    query_labels: Sequence[str],
    gallery: NDArray[np.float32],
    gallery_labels: Sequence[str],
    ks: Sequence[int] = KS,
) -> dict[str, float]:
    """R@k in percent: the share of queries of which any of the k nearest gallery videos has the label.

    A k beyond the gallery counts the whole gallery.

    Returns:
        `{"R@1": …, "R@5": …, …}`.
    """
    hits = retrieval_hits(query, query_labels, gallery, gallery_labels, ks)
    return {name: 100 * float(hit.mean()) for name, hit in hits.items()}


def retrieval_hits(
    query: NDArray[np.float32],
    query_labels: Sequence[str],
    gallery: NDArray[np.float32],
    gallery_labels: Sequence[str],
    ks: Sequence[int] = KS,
) -> dict[str, NDArray[np.bool_]]:
    """Which queries `retrieval` counts: (Q,) for each of "R@1", "R@5", …"""
    order, _ = neighbours(query, gallery, min(max(ks), len(gallery)))
    hits = np.array(gallery_labels)[order] == np.array(query_labels)[:, None]
    return {f"R@{k}": hits[:, :k].any(1) for k in ks}
