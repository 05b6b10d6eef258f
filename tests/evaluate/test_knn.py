"""Votes of neighbours and nearest means against plain loops."""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kinevec.data.records import Record
from kinevec.data.source import Collection
from kinevec.evaluate.features import Features
from kinevec.evaluate.knn import few_shot, knn, knn_scores
from reference import judging as reference
from reference.evaluate import unit


def features(videos: NDArray[np.floating], labels: str, clips: int = 1) -> Features:
    """Video features (V, C) spread over clips that differ, with one letter a label."""
    records = tuple(Record(Path("x"), f"{i:03}", label) for i, label in enumerate(labels))
    shift = np.linspace(-1, 1, clips) if clips > 1 else np.zeros(1)
    values = videos[:, None, :] + shift[None, :, None]
    return Features(values.astype(np.float32), Collection(records, (None,) * len(records), ()))  # type: ignore[arg-type]


def blobs(labels: str, spread: float, seed: int, dim: int = 5) -> NDArray[np.float64]:
    centres = np.random.default_rng(77).normal(size=(26, dim)) + 3
    rng = np.random.default_rng(seed)
    return np.stack([centres[ord(label) - ord("a")] + spread * rng.normal(size=dim) for label in labels])


@pytest.mark.parametrize("k", [1, 3, 7, 40])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_votes_are_those_of_loops(k: int, temperature: float) -> None:
    labels = "aabbbcccddefg" * 2
    train, test = (blobs(text, 1.0, seed) for seed, text in enumerate((labels, "abcdefgabcd")))
    scores, classes = knn_scores(
        train.astype(np.float32), list(labels), test.astype(np.float32), k=k, temperature=temperature
    )
    expected = reference.knn_ranking(train, list(labels), test, k, temperature)
    order = np.argsort(-scores, axis=1, kind="stable")
    assert [[classes[i] for i in row] for row in order] == expected


def test_near_neighbours_outvote_many_far_ones_at_a_low_temperature() -> None:
    train = np.array([[1, 0], [0.5, 1], [0.5, -1], [-2, 0.0]], np.float32)
    train -= train.mean(0)
    labels, test = ["near", "far", "far", "other"], train[:1]
    for temperature, first in ((0.05, "near"), (5.0, "far")):
        scores, classes = knn_scores(train, labels, test, k=3, temperature=temperature)
        assert classes[int(scores.argmax())] == first


def test_a_test_video_is_judged_alone() -> None:
    """Nothing is taken from the other test videos, such as their mean."""
    labels = "abcabcabc"
    train, test = blobs(labels, 1.0, 0).astype(np.float32), blobs("abcabc", 1.0, 1).astype(np.float32)
    together, _ = knn_scores(train, list(labels), test, k=3)
    for i in range(len(test)):
        alone, _ = knn_scores(train, list(labels), test[i : i + 1], k=3)
        np.testing.assert_allclose(alone[0], together[i], rtol=1e-5)


def test_knn_of_features_uses_the_mean_over_clips() -> None:
    labels = "abcabcabc"
    train, test = blobs(labels, 0.4, 0), blobs("abcabz", 0.4, 1)
    one = knn(features(train, labels), features(test, "abcabz"), k=3)
    several = knn(features(train, labels, clips=3), features(test, "abcabz", clips=3), k=3)
    assert one.hits["knn top-1"].tolist() == several.hits["knn top-1"].tolist() == [1] * 5 + [0]
    assert one.facts["knn"] == {"k": 3, "temperature": 0.07, "centred_by": "train"}
    assert knn(features(train, labels), features(test, "abcabz"), k=50).facts["knn"]["k"] == 9  # type: ignore[index]
    assert one.videos == tuple(f"{i:03}" for i in range(6))


def test_all_shots_of_all_classes_are_the_nearest_class_mean() -> None:
    labels, asked = "aaabbbccc", "abcabcab"
    train, test = blobs(labels, 1.5, 0), blobs(asked, 1.5, 1)
    found = few_shot(features(train, labels), features(test, asked), shots=3, draws=4)
    middle = train.mean(0)
    known, queries = unit(train - middle), unit(test - middle)
    means = unit(np.stack([known[i : i + 3].mean(0) for i in (0, 3, 6)]))
    expected = [
        "abc"[int((means @ query).argmax())] == label for query, label in zip(queries, asked, strict=True)
    ]
    assert found.hits["3-shot top-1"].tolist() == expected
    assert 0 < sum(expected) < 8
    assert found.spread["3-shot top-1"] == 0  # every draw is the same
    named = found.predicted["3-shot"]
    assert len(named) == 4
    assert [guess == label for guess, label in zip(named[0], asked, strict=True)] == expected


def test_a_class_that_is_spread_out_is_as_near_as_its_direction() -> None:
    """Its mean is short; without unit length every query would go to classes that are close together."""
    directions = np.radians([70.0, -70, 100, 100])
    train = np.stack([np.cos(directions), np.sin(directions)], 1)
    train = np.concatenate([train, np.repeat([-train.sum(0) / 2], 2, 0)])  # whose mean is 0
    asked = np.array([[math.cos(math.radians(30)), math.sin(math.radians(30))]])
    found = few_shot(features(train, "aabbcc"), features(asked, "a"), shots=2, draws=1)
    assert found.predicted["2-shot"] == [["a"]]  # 30° away; of b, 70°


def test_more_shots_are_better_and_draws_differ() -> None:
    labels = "abcdefgh" * 12
    train, test = features(blobs(labels, 1.6, 0), labels), features(blobs(labels, 1.6, 1), labels)
    one, ten = (few_shot(train, test, shots=n, draws=8) for n in (1, 10))
    assert ten.scores["10-shot top-1"] > one.scores["1-shot top-1"] + 5
    assert one.spread["1-shot top-1"] > 0
    again = few_shot(train, test, shots=1, draws=8)
    np.testing.assert_array_equal(again.hits["1-shot top-1"], one.hits["1-shot top-1"])
    other = few_shot(train, test, shots=1, draws=8, seeds=(1,))
    both = few_shot(train, test, shots=1, draws=8, seeds=(0, 1))
    assert other.scores != one.scores
    assert both.scores["1-shot top-1"] == pytest.approx(
        (one.scores["1-shot top-1"] + other.scores["1-shot top-1"]) / 2
    )


def test_so_many_videos_of_each_class_are_drawn_and_no_more() -> None:
    """Each class lies in two opposite places: the one that is near a test video is drawn half of the time."""

    def at(*degrees: float) -> NDArray[np.float64]:
        return np.stack([(np.cos(np.radians(d)), np.sin(np.radians(d))) for d in degrees])

    found = few_shot(features(at(0, 180, 90, 270), "aabb"), features(at(10, 100), "ab"), shots=1, draws=400)
    assert found.hits["1-shot top-1"] == pytest.approx([0.5, 0.5], abs=0.1)  # four standard deviations


def test_a_class_with_few_videos_lends_all_it_has() -> None:
    found = few_shot(
        features(blobs("aaaab", 0.1, 0), "aaaab"), features(blobs("ab", 0.1, 1), "ab"), shots=3, draws=2
    )
    assert found.hits["3-shot top-1"].tolist() == [1, 1]
    assert found.facts["3-shot"] == {"shots": 3, "draws": 2, "videos_of_the_smallest_class": 1}
