"""Which test videos a protocol gets right: what scores, intervals and comparisons are made of."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from kinevec.errors import DataError

Floats = NDArray[np.float64]

TOP1, TOP5, PER_CLASS = "top-1", "top-5", "per class"
TRAINED = "trained"  # name of the encoder that was asked for, where it has no other
BEFORE = "untrained"  # name of an encoder as it was before training
SHOT = "-shot"  # ends the names of few-shot protocols, such as "5-shot"


@dataclass(frozen=True)
class Outcomes:
    """What was found of each of V test videos.

    Attributes:
        videos: (V,) their names.
        labels: (V,) their labels.
        hits: score, such as "R@5" or "linear top-1" → (V,), 1 for a hit and 0 for a miss; where something was
            repeated (seeds, draws, runs), the share of hits.
        predicted: protocol, such as "linear" → for each repetition (V,) predicted labels.
        spread: score → standard deviation (n − 1) over the repetitions, in percentage points; only of scores
            that were repeated.
        facts: protocol → how it was carried out, and what it chose.
    """

    videos: tuple[str, ...]
    labels: tuple[str, ...]
    hits: Mapping[str, Floats]
    predicted: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    spread: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """All scores in order; "… per class" follows the other scores of its protocol."""
        names: list[str] = []
        for name in self.hits:
            names.append(name)
            if name.endswith(TOP5):
                names.append(f"{name.removesuffix(TOP5)}{PER_CLASS}")
        return names

    @property
    def scores(self) -> dict[str, float]:
        """Score → percent."""
        return {name: 100 * float(self.weights(name) @ self.of(name)) for name in self.names}

    def of(self, name: str) -> Floats:
        """(V,) hits behind a score; behind the mean over classes stand those of top-1."""
        return self.hits[hits_behind(name)]

    def only(self, videos: Container[str]) -> "Outcomes":
        """Of some of the videos. The spread stays that over all: it takes every repetition to find it."""
        kept = [place for place, video in enumerate(self.videos) if video in videos]
        if len(kept) == len(self.videos):
            return self
        return replace(
            self,
            videos=tuple(self.videos[i] for i in kept),
            labels=tuple(self.labels[i] for i in kept),
            hits={name: hits[kept] for name, hits in self.hits.items()},
            predicted={
                name: [[row[i] for i in kept] for row in rows] for name, rows in self.predicted.items()
            },
        )

    def weights(self, name: str) -> Floats:
        """(V,) weight of each video in a score, of sum 1."""
        return weights(self.labels, per_class=name.endswith(PER_CLASS))


def hits_behind(name: str) -> str:
    """The score whose hits a score is made of: "linear top-1" for "linear per class", else itself."""
    return f"{name.removesuffix(PER_CLASS)}{TOP1}" if name.endswith(PER_CLASS) else name


def weights(labels: Sequence[str], *, per_class: bool) -> Floats:
    """(V,) weight of each video in a mean: equal, or such that each class has equal weight; of sum 1."""
    _, place, counts = np.unique(np.array(labels), return_inverse=True, return_counts=True)
    if per_class:
        return np.asarray(1.0 / (len(counts) * counts[place]))
    return np.full(len(labels), 1.0 / len(labels))


def classified(
    protocol: str,
    scores: Floats,
    classes: Sequence[str],
    videos: Sequence[str],
    labels: Sequence[str],
    facts: object = None,
) -> Outcomes:
    """Outcomes of a classifier.

    Args:
        protocol: first word of its scores.
        scores: (V, K), the higher the more likely; of equal ones the first class goes first.
        classes: (K,) their labels. A label of a video that is not among them is a miss.
        videos, labels: (V,) of the test videos.
        facts: how the protocol was carried out.
    """
    if scores.shape != (len(videos), len(classes)) or len(labels) != len(videos):
        raise ValueError(
            f"scores {scores.shape} of {len(videos)} videos, {len(labels)} labels, {len(classes)} classes"
        )
    order = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    ranked = np.array(classes)[order]
    right = ranked == np.array(labels)[:, None]
    hits = {f"{protocol} {TOP1}": right[:, 0].astype(float), f"{protocol} {TOP5}": right.any(1).astype(float)}
    known = {protocol: facts} if facts is not None else {}
    return Outcomes(tuple(videos), tuple(labels), hits, {protocol: [ranked[:, 0].tolist()]}, facts=known)


def of_the_same(parts: Sequence[Outcomes]) -> list[Outcomes]:
    """Outcomes of the videos that all have: a file may be read once and not the next time.

    Raises:
        DataError: they have none in common.
    """
    common = set.intersection(*(set(part.videos) for part in parts))
    if not common:
        raise DataError("no test video could be read every time that it was needed")
    return [part.only(common) for part in parts]


def joined(parts: Sequence[Outcomes]) -> Outcomes:
    """Outcomes of several protocols for the same videos as one."""
    _check_same(parts)
    first = parts[0]
    return replace(
        first,
        hits={name: value for part in parts for name, value in part.hits.items()},
        predicted={name: value for part in parts for name, value in part.predicted.items()},
        spread={name: value for part in parts for name, value in part.spread.items()},
        facts={name: value for part in parts for name, value in part.facts.items()},
    )


def repeated(parts: Sequence[Outcomes]) -> Outcomes:
    """Outcomes of several repetitions of the same as one: mean hits of each video, and the spread of the scores.

    Of a single one, itself. Facts that differ come as lists, one entry for each repetition, under "by_repetition".
    """
    if len(parts) == 1:
        return parts[0]
    _check_same(parts)
    first = parts[0]
    scores = [part.scores for part in parts]
    return replace(
        first,
        hits={name: np.mean([part.hits[name] for part in parts], axis=0) for name in first.hits},
        predicted={name: [row for part in parts for row in part.predicted[name]] for name in first.predicted},
        spread={name: float(np.std([found[name] for found in scores], ddof=1)) for name in first.names},
        facts={name: _together([part.facts[name] for part in parts]) for name in first.facts},
    )


def _together(facts: Sequence[object]) -> object:
    """What repetitions say of themselves: once what all say alike, and a list of each of the rest."""
    if all(one == facts[0] for one in facts):
        return facts[0]
    rows = [one for one in facts if isinstance(one, Mapping)]
    if len(rows) < len(facts):
        return list(facts)
    alike: dict[str, object] = {}
    differing: dict[str, list[object]] = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(key) for row in rows]
        if all(value == values[0] for value in values):
            alike[key] = values[0]
        elif all(isinstance(value, Mapping) for value in values):
            alike[key] = _together(values)
        else:
            differing[key] = values
    return {**alike, "by_repetition": differing} if differing else alike


def _check_same(parts: Sequence[Outcomes]) -> None:
    if any((part.videos, part.labels) != (parts[0].videos, parts[0].labels) for part in parts):
        raise ValueError("outcomes of different test videos do not belong together")
