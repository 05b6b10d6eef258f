"""Ratios above chance, their intervals, and when they have none."""

import numpy as np
import pytest

from kinevec.evaluate.audit.figures import Estimate, bootstrap, lost, share, survives
from kinevec.evaluate.audit.scores import LINEAR, R1, chance


def hits(right: int, count: int) -> np.ndarray:
    return np.arange(count) < right


def test_survival_is_the_share_above_chance() -> None:
    draws = bootstrap(100, 400, 0)
    guess = np.full(100, 0.2)
    found = survives(hits(40, 100).astype(float), hits(60, 100).astype(float), guess, draws)
    assert found.value == found.raw == pytest.approx(50)
    assert found.low is not None
    assert found.high is not None
    assert 25 < found.low < 42 < 58 < found.high < 75


def test_the_interval_is_that_of_resampled_pairs() -> None:
    """Against loops: the same videos are drawn for both scores."""
    rng = np.random.default_rng(1)
    original = (rng.random(40) < 0.8).astype(float)
    changed = original * (rng.random(40) < 0.6)
    guess = rng.uniform(0.1, 0.3, 40)
    draws = bootstrap(40, 300, 5)
    ratios = []
    for row in draws:
        above = sum(original[i] - guess[i] for i in row)
        ratios.append(100 * sum(changed[i] - guess[i] for i in row) / above)
    found = survives(changed, original, guess, draws)
    assert found.low == pytest.approx(np.clip(np.percentile(ratios, 2.5), 0, 100))
    assert found.high == pytest.approx(np.clip(np.percentile(ratios, 97.5), 0, 100))
    assert found.raw == pytest.approx(100 * (changed - guess).sum() / (original - guess).sum())


def test_survival_is_clipped_and_keeps_the_raw_value() -> None:
    draws, guess = bootstrap(50, 200, 0), np.full(50, 0.5)
    below = survives(np.zeros(50), np.ones(50), guess, draws)
    assert (below.value, below.low, below.high, below.raw) == (0, 0, 0, -100)
    above = survives(np.ones(50), hits(40, 50).astype(float), guess, draws)
    assert (above.value, above.high) == (100, 100)
    assert above.raw == pytest.approx(100 * 0.5 / 0.3)


def test_four_videos_are_never_certain() -> None:
    """All right before and after: what survives may still be a third."""
    found = survives(np.ones(4), np.ones(4), np.full(4, 0.25), bootstrap(4, 400, 0))
    assert (found.value, found.high) == (100, 100)
    assert found.low == pytest.approx(34.68, abs=0.01)
    gone = survives(np.zeros(100), np.ones(100), np.full(100, 0.02), bootstrap(100, 400, 0))
    assert (gone.value, gone.low) == (0, 0)
    assert gone.high == pytest.approx(1.8, abs=0.1)  # Wilson's 3.7 less chance, of 98
    alone = share(np.ones(4), 500, 0)
    assert (alone.value, alone.low, alone.high) == pytest.approx((100, 51.01, 100), abs=0.01)


@pytest.mark.parametrize(("right", "defined"), [(20, False), (25, False), (45, True), (0, False)])
def test_near_chance_there_is_no_ratio_but_a_reason(right: int, defined: bool) -> None:
    found = survives(
        hits(right, 100).astype(float),
        hits(right, 100).astype(float),
        np.full(100, 0.2),
        bootstrap(100, 400, 0),
    )
    assert (found.value is not None) == defined
    if not defined:
        assert found.undefined == f"the original scores {right:.1f} %, not clearly above chance (20.0 %)"
        assert lost(found) == found


def test_what_is_lost_is_the_rest() -> None:
    assert lost(Estimate(30.0, 20.0, 45.0, raw=30.0)) == Estimate(70.0, 55.0, 80.0, raw=70.0)


def test_a_share_has_an_interval() -> None:
    found = share(hits(30, 60).astype(float), 500, 0)
    assert found.value == 50
    assert found.low is not None
    assert found.high is not None
    assert 34 < found.low < 42 < 58 < found.high < 66
    assert share(np.zeros(0), 500, 0).value is None


def test_chance_counts_the_gallery() -> None:
    guess = chance(["a"] * 6 + ["b"] * 2, ["a", "b", "c"])
    np.testing.assert_allclose(guess[R1], [6 / 8, 2 / 8, 0])
    np.testing.assert_allclose(guess[LINEAR], [1 / 2, 1 / 2, 0])  # always naming "a" is right as rarely
    guess = chance(["a"] * 6 + ["b"] * 2, ["a", "a", "b"])
    np.testing.assert_allclose(guess[LINEAR], [1, 1, 0])
    assert guess[LINEAR].mean() == pytest.approx(2 / 3)


def test_draws_repeat_with_the_seed() -> None:
    np.testing.assert_array_equal(bootstrap(9, 5, 1), bootstrap(9, 5, 1))
    assert bootstrap(9, 500, 1).max() == 8
    assert not np.array_equal(bootstrap(9, 5, 1), bootstrap(9, 5, 2))
