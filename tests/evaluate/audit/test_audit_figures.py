"""Ratios above chance, their intervals, and when they have none."""

import math

import numpy as np
import pytest

from kinevec.evaluate.audit.figures import Estimate, bootstrap, lost, share, survives
from kinevec.evaluate.audit.scores import LINEAR, R1, chance

Z = 1.959963984540054  # of 95 %, from a table


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
    """Against loops: the same videos are drawn for both scores; chance, a number, is none of what is drawn."""
    rng = np.random.default_rng(1)
    original = (rng.random(40) < 0.8).astype(float)
    changed = original * (rng.random(40) < 0.6)
    guess = rng.uniform(0.1, 0.3, 40)
    draws = bootstrap(40, 300, 5)
    ratios = []
    for row in draws:
        above = sum(original[i] - sum(guess) / 40 for i in row)
        ratios.append(100 * sum(changed[i] - sum(guess) / 40 for i in row) / above)
    found = survives(changed, original, guess, draws)
    assert found.low == pytest.approx(np.clip(np.percentile(ratios, 2.5), 0, 100))
    assert found.high == pytest.approx(np.clip(np.percentile(ratios, 97.5), 0, 100))
    assert found.raw == pytest.approx(100 * (changed - guess).sum() / (original - guess).sum())


def test_survival_is_clipped_and_keeps_the_raw_value() -> None:
    draws, guess = bootstrap(50, 200, 0), np.full(50, 0.5)
    below = survives(np.zeros(50), np.ones(50), guess, draws)
    assert (below.value, below.low, below.raw) == (0, 0, -100)
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
    assert gone.high == pytest.approx(5.1, abs=0.1)  # as if at chance: Wilson's 7.0 less chance, of 98
    alone = share(np.ones(4), 500, 0)
    assert (alone.value, alone.low, alone.high) == pytest.approx((100, 51.01, 100), abs=0.01)


def by_loops(share: float, count: int) -> tuple[float, float]:
    """Wilson's interval: the shares that are no more than Z standard errors from what was found, by bisection."""

    def end(inside: float, outside: float) -> float:
        for _ in range(60):
            middle = (inside + outside) / 2
            near = abs(share - middle) <= Z * math.sqrt(middle * (1 - middle) / count)
            inside, outside = (middle, outside) if near else (inside, middle)
        return inside

    return end(share, 0), end(share, 1)


def test_a_score_below_chance_is_no_surer_than_one_at_chance() -> None:
    """80 resp. 10 of 100 right, a guess 25: nothing survives, and as much may as if 25 were right.

    There the closed form needs no correlation: high = h / sqrt(l (2b − l)) with the distance h of Wilson's upper
    limit of chance from it, the original b above chance, and its lower limit l.
    """
    changed, original = hits(10, 100).astype(float), hits(80, 100).astype(float)
    found = survives(changed, original, np.full(100, 0.25), bootstrap(100, 400, 0))
    least = by_loops(0.8, 100)[0] - 0.25
    above = by_loops(0.25, 100)[1] - 0.25
    assert (found.value, found.low) == (0, 0)
    assert found.raw == pytest.approx(-100 * 0.15 / 0.55)
    assert found.high == pytest.approx(100 * above / math.sqrt(least * (2 * 0.55 - least)))
    assert found.high > 10


def test_where_few_videos_differ_nothing_lost_is_not_certain() -> None:
    """16 of 30 right and then 2 more: resampling finds no loss at all, [0, 0]; the interval in pairs leaves 14 %."""
    changed, original, guess = hits(18, 30).astype(float), hits(16, 30).astype(float), 2 / 30
    found = survives(changed, original, np.full(30, guess), bootstrap(30, 2000, 0))
    gone = lost(found)
    assert (gone.value, gone.low) == (0, 0)
    assert gone.raw == pytest.approx(-100 * 2 / 14)
    # As in pairs where every video is right as before: the R at which a − R a less its lower distance is 0.
    a, (low, high) = 16 / 30 - guess, by_loops(16 / 30, 30)
    down, up = 16 / 30 - low, high - 16 / 30
    p = 16 / 30
    phi = (p * (1 - p) - 1 / 60) / (p * (1 - p))
    assert gone.high is not None
    r = 1 - gone.high / 100
    assert a - r * a == pytest.approx(math.sqrt(down**2 - 2 * phi * down * r * up + (r * up) ** 2), abs=1e-9)
    assert 13 < gone.high < 15


def test_where_few_videos_differ_the_interval_is_that_of_pairs() -> None:
    """60 of 100 right, and 3 of them lost: inside the bounds nothing is widened, and the limits are not resampled."""
    changed, original = hits(57, 100).astype(float), hits(60, 100).astype(float)
    found = survives(changed, original, np.full(100, 0.1), bootstrap(100, 2000, 0))
    assert found.raw == pytest.approx(94)
    assert found.low is not None
    a, b, r = 0.47, 0.5, found.low / 100
    down, up = 0.57 - by_loops(0.57, 100)[0], by_loops(0.6, 100)[1] - 0.6
    phi = (0.57 * 0.4 - 1 / 200) / math.sqrt(0.57 * 0.43 * 0.6 * 0.4)
    assert a - r * b == pytest.approx(math.sqrt(down**2 - 2 * phi * down * r * up + (r * up) ** 2), abs=1e-9)
    assert found.high == 100 or (found.high is not None and found.high > 97)


def test_beyond_the_bounds_of_what_is_hardly_above_chance_all_is_possible() -> None:
    """Resampling finds the original above chance, Wilson's interval does not: then no ratio is ruled out."""
    changed, original = hits(45, 60).astype(float), hits(54, 60).astype(float)
    assert by_loops(0.9, 60)[0] < 0.805
    found = survives(changed, original, np.full(60, 0.805), bootstrap(60, 2000, 0))
    assert found.raw == pytest.approx(-100 * 0.055 / 0.095)
    assert (found.value, found.low, found.high) == (0, 0, 100)


@pytest.mark.parametrize("count", [30, 100, 400])
@pytest.mark.parametrize("right", [0.2, 0.5, 0.9])
def test_no_interval_is_a_point(count: int, right: float) -> None:
    original = hits(int(right * count), count).astype(float)
    for share_after in (0, 0.03, 0.25, right, 0.97, 1):
        changed = hits(int(share_after * count), count).astype(float)
        found = survives(changed, original, np.full(count, 0.05), bootstrap(count, 400, 0))
        if found.value is not None:
            assert found.low is not None
            assert found.high is not None
            assert found.low <= found.value <= found.high
            assert found.high - found.low > 100 / count


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


def test_a_score_that_resampling_may_find_below_chance_has_no_ratio() -> None:
    """25 of 100 where 20 are guessed, and 21 others once changed: so many differ that the limits are resampled."""
    original, changed = hits(25, 100).astype(float), np.roll(hits(21, 100), 50).astype(float)
    found = survives(changed, original, np.full(100, 0.2), bootstrap(100, 2000, 0))
    assert found.value is None
    assert found.undefined == "the original scores 25.0 %, not clearly above chance (20.0 %)"
    clear = survives(changed, hits(45, 100).astype(float), np.full(100, 0.2), bootstrap(100, 2000, 0))
    assert clear.raw == pytest.approx(4)


def test_what_is_lost_is_the_rest() -> None:
    assert lost(Estimate(30.0, 20.0, 45.0, raw=30.0)) == Estimate(70.0, 55.0, 80.0, raw=70.0)


def test_a_share_has_an_interval() -> None:
    found = share(hits(30, 60).astype(float), 500, 0)
    assert found.value == 50
    assert found.low is not None
    assert found.high is not None
    assert 34 < found.low < 42 < 58 < found.high < 66
    assert share(np.zeros(0), 500, 0).value is None


def test_the_interval_of_a_share_comes_from_the_seed() -> None:
    values = np.arange(60) / 60
    assert share(values, 500, 3) == share(values, 500, 3)
    assert share(values, 500, 3) != share(values, 500, 4)
    assert share(values, 500, 3) != share(values, 501, 3)


@pytest.mark.parametrize(("count", "right"), [(100, 17), (100, 18), (100, 4), (20, 6), (20, 7), (200, 29)])
def test_whether_there_is_a_ratio_is_said_by_the_interval_of_the_score_itself(count: int, right: int) -> None:
    """Whatever it is changed to: else two figures of one score would contradict each other."""
    original, guess, draws = hits(right, count).astype(float), np.full(count, 0.1), bootstrap(count, 2000, 0)
    low = share(original, 2000, 0).low
    assert low is not None
    for changed in (
        original,
        np.zeros(count),
        np.ones(count),
        np.roll(original, 3),
        np.roll(original, count // 2),
    ):
        found = survives(changed, original, guess, draws)
        assert (found.value is not None) == (low > 10 + 1e-6), (right, low)
        if found.low is not None and found.high is not None:
            assert 0 <= found.low <= found.high <= 100


@pytest.mark.parametrize("classes", range(2, 60))
def test_in_balanced_classes_every_video_has_the_same_chance(classes: int) -> None:
    """Rounding once made always naming one class the better guess, which is right on that class alone."""
    labels = [f"{i:02}" for i in range(classes)]
    for guess in chance(labels * 3, labels * 2).values():
        assert guess == pytest.approx(np.full(2 * classes, 1 / classes))


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
