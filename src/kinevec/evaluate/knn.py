"""Classification without training on frozen features: weighted nearest neighbours, and nearest class means."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinevec.evaluate.features import Features
from kinevec.evaluate.outcomes import SHOT, Outcomes, classified, repeated
from kinevec.evaluate.retrieval import prepared

K = 20
TEMPERATURE = 0.07


def knn(train: Features, test: Features, *, k: int = K, temperature: float = TEMPERATURE) -> Outcomes:
    """Classifies test videos by their k most similar training videos.

    The votes of Wu et al. 2018 (Unsupervised Feature Learning via Non-Parametric Instance Discrimination, §3.4): each
    neighbour votes for its label with weight exp(cosine / temperature). Video features are the mean over
    clips, less the mean of the training videos (test videos are never looked at together), of unit length.
    Classes without a vote rank last, by their most similar video.

    Args:
        k: neighbours; all training videos where there are fewer.
    """
    scores, classes = knn_scores(train.videos, train.labels, test.videos, k=k, temperature=temperature)
    facts = {"k": min(k, len(train.labels)), "temperature": temperature, "centred_by": "train"}
    return classified("knn", scores, classes, list(test.collection.names()), test.labels, facts)


def knn_scores(
    train: NDArray[np.float32],
    labels: Sequence[str],
    test: NDArray[np.float32],
    *,
    k: int = K,
    temperature: float = TEMPERATURE,
) -> tuple[NDArray[np.float64], list[str]]:
    """(V, classes) votes of features (V, C), and the classes in order; see `knn`.

    Votes are divided by that of the nearest video. A class without votes has its highest cosine less 2, a
    negative number.
    """
    middle = train.mean(0)
    similarity = (prepared(test, middle) @ prepared(train, middle).T).astype(np.float64)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    votes = np.zeros_like(similarity)
    near = np.take_along_axis(similarity, nearest, 1)
    np.put_along_axis(votes, nearest, np.exp((near - near[:, :1]) / temperature), 1)
    classes = sorted(set(labels))
    scores = np.empty((len(test), len(classes)))
    for column, label in enumerate(classes):
        own = np.array(labels) == label
        total = votes[:, own].sum(1)
        scores[:, column] = np.where(total > 0, total, similarity[:, own].max(1) - 2)
    return scores, classes


def few_shot(
    train: Features, test: Features, *, shots: int, draws: int, seeds: Sequence[int] = (0,)
) -> Outcomes:
    """Classifies test videos by the nearest of the classes' means, from few labelled videos of each class.

    The classifier of prototypical networks (Snell et al. 2017) on frozen features, since it has nothing to tune and
    works from one video on. Features are made as for `knn`; the other training videos lend their mean
    alone. The draws depend on the labels in their order and the seed only: every encoder is judged on the same ones.

    Args:
        shots: labelled videos of each class; a class with fewer lends all it has.
        draws: independent choices of the labelled videos for each seed.
        seeds: of the draws.

    Returns:
        "1-shot top-1", …: mean hits over all draws, and the spread over them.
    """
    middle = train.videos.mean(0)
    known, asked = prepared(train.videos, middle), prepared(test.videos, middle)
    labels, classes = np.array(train.labels), sorted(set(train.labels))
    generators = [np.random.default_rng([seed, shots]) for seed in seeds]
    smallest = min(int((labels == label).sum()) for label in classes)
    facts = {"shots": shots, "draws": draws * len(seeds), "videos_of_the_smallest_class": smallest}
    parts = []
    for rng in (rng for rng in generators for _ in range(draws)):
        means = [known[rng.permutation(np.flatnonzero(labels == label))[:shots]].mean(0) for label in classes]
        centres = np.stack(means)
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
        scores = (asked @ centres.T).astype(np.float64)
        parts.append(
            classified(f"{shots}{SHOT}", scores, classes, list(test.collection.names()), test.labels, facts)
        )
    return repeated(parts)
