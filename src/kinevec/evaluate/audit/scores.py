"""Which labels retrieval and the linear probe give to test videos, with one side changed or both."""

from collections import Counter
from collections.abc import Container, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kinevec.evaluate.audit.settings import BACKGROUND, ORIGINAL, Side
from kinevec.evaluate.classify import linear_probe
from kinevec.evaluate.features import Features
from kinevec.evaluate.retrieval import neighbours, prepared
from kinevec.evaluate.significance import ROUNDING

R1, LINEAR = "R@1", "linear"
METRICS = (R1, LINEAR)
WAYS = ("forward", "reversed")
Floats = NDArray[np.float64]
Labels = NDArray[np.str_]  # (Q,), of the Q test videos
Given = dict[str, dict[Side, dict[str, Labels]]]  # condition → side → metric → labels that were given


def given(features: Mapping[str, Features], swapped: set[str]) -> Given:
    """The labels that the test videos get: that of the nearest training video, and that of a linear probe.

    With both sides changed, the training videos are changed as the test videos are, and the probe is trained on
    them; else they are as they are. Of the swapped background only videos that were swapped take part: the other
    test videos get "".

    Args:
        features: condition → features of all V videos, the original among them.
        swapped: names of the videos that have another background.
    """
    train = {condition: found.split("train") for condition, found in features.items()}
    test = {condition: found.split("test") for condition, found in features.items()}
    if BACKGROUND in train:
        train[BACKGROUND] = train[BACKGROUND].only(lambda record: record.name in swapped)
    # One probe, fitted once, names the test videos of all conditions.
    every = np.concatenate([found.videos for found in test.values()])
    named = _probed(train[ORIGINAL], every, test[ORIGINAL].labels * len(test))
    result: Given = {}
    for condition, labels in zip(test, np.split(named, len(test)), strict=True):
        queries, gallery = test[condition], train[condition]
        asked = swapped if condition == BACKGROUND else None
        result[condition] = {"queries": {R1: nearest(queries, train[ORIGINAL], asked), LINEAR: labels}}
        if condition == ORIGINAL:
            result[condition]["both"] = result[condition]["queries"]
        elif len(gallery.collection):
            probed = _probed(gallery, queries.videos, queries.labels)
            result[condition]["both"] = {R1: nearest(queries, gallery, asked), LINEAR: probed}
    return result


def direction(forward: Features, backward: Features) -> Floats:
    """(Q,) of the two versions of each test video, forward and reversed, the share that a linear probe tells right.

    The probe is trained on both versions of the training videos to say which is which. Features that are the same
    in both give exactly one half.
    """
    train, test = ([f.split(name) for f in (forward, backward)] for name in ("train", "test"))
    known = [way for way, found in zip(WAYS, train, strict=True) for _ in found.labels]
    truth = [way for way, found in zip(WAYS, test, strict=True) for _ in found.labels]
    names = [name for found in train for name in found.collection.names()]  # both versions in one fold
    videos = [np.concatenate([found.videos for found in side])[:, None] for side in (train, test)]
    probe = linear_probe(videos[0], known, videos[1], truth, groups=names)
    right = np.array(probe.predicted) == np.array(truth)
    return np.asarray(right.reshape(2, -1).mean(0), np.float64)


def similarity(changed: Features, original: Features, counted: NDArray[np.bool_]) -> float:
    """Mean cosine between a test video's feature when changed and as it is, both centred by the original train mean.

    Args:
        counted: (Q,) which test videos were changed, one at least.
    """
    middle = original.split("train").videos.mean(0)
    one, other = (prepared(found.split("test").videos[counted], middle) for found in (changed, original))
    return float((one * other).sum(1).mean())


def chance(train: Sequence[str], wanted: Sequence[str]) -> dict[str, Floats]:
    """Metric → (Q,) how likely a guess gives each video the label that is wanted.

    For R@1 a random training video; for the probe a random class, or the most frequent one where always naming
    that is right more often.
    """
    counts = Counter(train)
    nearest = np.array([counts[label] / len(train) for label in wanted])
    most = max(counts, key=lambda label: (counts[label], label))
    random = np.array([(label in counts) / len(counts) for label in wanted])
    constant = np.array([float(label == most) for label in wanted])
    better = constant.mean() > random.mean() + ROUNDING  # in balanced classes it is as good, and only noisier
    return {R1: nearest, LINEAR: constant if better else random}


def nearest(queries: Features, gallery: Features, asked: Container[str] | None = None) -> Labels:
    """(Q,) label of the training video that is nearest to each query.

    Args:
        asked: names of the queries that take part, also in the mean that they are centred by; the others get "".
            None: all.
    """
    rows = np.array([asked is None or name in asked for name in queries.collection.names()], dtype=bool)
    result = np.full(len(rows), "", dtype=np.array(gallery.labels).dtype)
    if rows.any():
        order, _ = neighbours(queries.videos[rows], gallery.videos, 1)
        result[rows] = np.array(gallery.labels)[order[:, 0]]
    return result


def _probed(train: Features, videos: NDArray[np.float32], labels: Sequence[str]) -> Labels:
    """Of features (V, C): the probe reads the mean over a video's clips, since an audit fits some twenty probes."""
    groups = [record.group for record in train.collection.records]
    known, asked = train.videos[:, None], videos[:, None]
    return np.array(linear_probe(known, train.labels, asked, labels, groups=groups).predicted)
