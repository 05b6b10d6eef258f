"""Intervals and p-values against closed forms and enumeration."""

import math

import numpy as np
import pytest

from kinevec.evaluate import significance
from kinevec.evaluate.outcomes import weights
from kinevec.evaluate.significance import interval, paired, sign_flip
from reference import judging as reference


@pytest.mark.parametrize(("videos", "hits"), [(100, 30), (400, 380), (60, 5)])
def test_the_interval_of_hits_is_that_of_a_binomial(videos: int, hits: int) -> None:
    values = np.array([1.0] * hits + [0.0] * (videos - hits))
    low, high = interval(values, ["a"] * videos, resamples=20_000)
    share = hits / videos
    expected = [reference.binomial_quantile(videos, share, q) / videos for q in (0.025, 0.975)]
    assert [low, high] == pytest.approx(expected, abs=1.01 / videos)  # one video


def test_the_level_is_the_share_inside() -> None:
    values, labels = np.repeat([0.0, 1.0], 200), ["a"] * 400
    low, high = interval(values, labels, level=0.5, resamples=20_000)
    assert high - low == pytest.approx(2 * 0.6745 * math.sqrt(0.25 / 400), rel=0.1)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    inside = 0
    for seed in range(300):
        values = (rng.random(80) < 0.4).astype(float)
        low, high = interval(values, ["a"] * 80, resamples=300, seed=seed)
        inside += low <= 0.4 <= high
    assert 0.90 < inside / 300 < 0.99


def test_classes_count_equally_in_their_mean() -> None:
    labels = ["a"] * 90 + ["b"] * 10
    values = np.array([1.0] * 90 + [0.0] * 5 + [1.0] * 5)
    low, high = interval(values, labels, per_class=True, resamples=4000)
    assert low < 0.75 < high  # (1 + 0.5) / 2
    spread = (high - low) / 3.92
    assert 0.05 < spread < 0.12  # that of the ten videos of b, halved: 0.079; the ninety of a add nothing
    same = ["a", "b"] * 50
    equal = [interval(values, same, per_class=flag) for flag in (False, True)]
    assert equal[0] == pytest.approx(equal[1])


def test_the_interval_of_misses_mirrors_that_of_hits_whatever_the_weights() -> None:
    labels = ["a"] * 90 + ["b"] * 10
    values = np.array([1.0] * 90 + [0.0] * 5 + [1.0] * 5)
    low, high = interval(values, labels, per_class=True)
    assert interval(1 - values, labels, per_class=True) == pytest.approx((1 - high, 1 - low))
    assert high < 1  # b has misses in almost every draw


def test_the_seed_decides_and_portions_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    values, labels = np.arange(50) / 50, ["a"] * 50
    assert interval(values, labels, seed=1) == interval(values, labels, seed=1)
    assert interval(values, labels, seed=1) != interval(values, labels, seed=2)
    at_once = interval(values, labels)
    monkeypatch.setattr(significance, "AT_ONCE", 777)
    assert interval(values, labels) == at_once


@pytest.mark.parametrize(
    "terms",
    [
        [1.0, 1, 1, -1, 1],
        [0.5, -0.2, 0.1, 0.7, -0.7, 0.3],
        [0, 0, 1.0, 0],
        [1.0, -1],
        [0.1, 0.2, -0.3],  # 0 but for rounding
    ],
)
def test_few_differences_are_enumerated(terms: list[float]) -> None:
    assert sign_flip(np.array(terms), np.random.default_rng(0)) == pytest.approx(reference.sign_flip(terms))


def test_many_differences_are_drawn_and_agree_with_enumeration(monkeypatch: pytest.MonkeyPatch) -> None:
    terms = np.random.default_rng(3).normal(0.4, 1, 12)
    exact = reference.sign_flip(terms.tolist())
    monkeypatch.setattr(significance, "EXACT", 0)
    drawn = sign_flip(terms, np.random.default_rng(0))
    assert 0.02 < exact < 0.9
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / significance.FLIPS))
    assert drawn != exact


def test_p_is_never_zero() -> None:
    p = sign_flip(np.ones(60), np.random.default_rng(0), flips=99)
    assert p == pytest.approx(1 / 100)


def test_hits_and_misses_give_mcnemars_exact_test() -> None:
    first = np.array([1.0] * 9 + [0] * 2 + [1] * 30)
    second = np.array([0.0] * 9 + [1] * 2 + [1] * 30)
    p = 2 * sum(math.comb(11, k) for k in range(3)) / 2**11
    found = paired(first, second, ["a"] * 41)
    assert found.p == pytest.approx(p)
    assert found.points == pytest.approx(100 * 7 / 41)
    assert (found.first, found.second) == pytest.approx((100 * 39 / 41, 100 * 32 / 41))
    assert found.low < found.points < found.high
    back = paired(second, first, ["a"] * 41)
    assert (back.p, back.points) == pytest.approx((found.p, -found.points))
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low), abs=1.5)


def test_the_interval_of_a_difference_is_paired() -> None:
    """Videos that both get right, or both wrong, tell nothing of which is better."""
    rng = np.random.default_rng(0)
    second = (rng.random(400) < 0.5).astype(float)
    first = second.copy()
    first[:20] = 1 - first[:20]
    found = paired(first, second, ["a"] * 400)
    alone = interval(first, ["a"] * 400)
    assert found.high - found.low < 0.6 * 100 * (alone[1] - alone[0])


def test_two_videos_that_differ_do_not_rule_out_the_other_way_round() -> None:
    """Resampling two wins of A would never find B ahead, although p is one half."""
    first, second = np.repeat([1.0, 0.0], [30, 30]), np.repeat([1.0, 0.0], [28, 32])
    found = paired(first, second, ["a"] * 60)
    assert found.p == 0.5
    assert found.low < 0 < found.points < found.high


def test_rare_classes_weigh_more_in_the_difference_of_means_over_classes() -> None:
    labels = ["a"] * 8 + ["b"]
    first, second = np.zeros(9), np.zeros(9)
    first[-1], second[:3] = 1, 1
    found = paired(first, second, labels, per_class=True)
    assert found.points == pytest.approx(100 * (1 - 3 / 8) / 2)
    contributions = (first - second) * weights(labels, per_class=True)
    assert found.p == pytest.approx(reference.sign_flip(contributions[contributions != 0].tolist()))
    assert paired(first, second, labels).points == pytest.approx(100 * (1 - 3) / 9)


def test_the_same_twice_differs_in_nothing() -> None:
    found = paired(np.array([1.0, 0, 1]), np.array([1.0, 0, 1]), ["a", "b", "b"])
    assert (found.points, found.p) == (0, 1)
    assert found.low == pytest.approx(-found.high)  # three videos leave room either way


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="3 and 2 hits of 3 videos"):
        paired(np.ones(3), np.ones(2), ["a"] * 3)


def test_under_no_difference_p_is_uniform() -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(200):
        first, second = (rng.random((2, 60)) < 0.5).astype(float)
        found.append(paired(first, second, ["a"] * 60).p)
    assert np.mean(np.array(found) < 0.05) < 0.11
    assert 0.4 < np.mean(found) < 0.68
