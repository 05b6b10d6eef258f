"""Intervals of shares in closed form: against their definitions, published numbers, and how often they are right."""

import math

import numpy as np
import pytest

from kinevec.evaluate.outcomes import weights
from kinevec.evaluate.score_interval import correlation, difference, effective_count, ratio, too_few, wilson
from kinevec.evaluate.significance import interval, paired

Z = 1.959963984540054  # of 95 %, from a table


def equal(count: int) -> np.ndarray:
    return np.full(count, 1 / count)


def hits(right: int, count: int) -> np.ndarray:
    return (np.arange(count) < right).astype(float)


def pairs(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Hits of two encoders from the four counts of a table."""
    one = [1] * (both + first) + [0] * (second + neither)
    other = [1] * both + [0] * first + [1] * second + [0] * neither
    return np.array(one, float), np.array(other, float)


@pytest.mark.parametrize(("right", "count"), [(3, 10), (1, 4), (19, 20), (500, 1000)])
def test_at_the_ends_what_was_found_is_just_as_far_as_z(right: int, count: int) -> None:
    share = right / count
    for end in wilson(share, count, 0.95):
        assert abs(share - end) == pytest.approx(Z * math.sqrt(end * (1 - end) / count))
    low, high = wilson(share, count, 0.95)
    assert low < share < high


@pytest.mark.parametrize("count", [1, 4, 25])
def test_all_hits_leave_room_for_a_miss(count: int) -> None:
    assert wilson(1, count, 0.95) == (pytest.approx(count / (count + Z**2)), 1)
    assert wilson(0, count, 0.95) == (0, pytest.approx(Z**2 / (count + Z**2)))


def test_four_of_four_are_not_certain() -> None:
    low, high = interval(np.ones(4), ["a"] * 4)
    assert (100 * low, high) == (pytest.approx(51.01, abs=0.01), 1)
    found = paired(np.ones(4), np.ones(4), ["a"] * 4)
    assert (found.points, found.low, found.high) == pytest.approx((0, -48.99, 48.99), abs=0.01)


def test_shares_that_are_all_alike_are_not_certain() -> None:
    """Two runs, one always right and one always wrong: another video may go either way."""
    assert too_few(np.full(40, 0.5), equal(40))
    few = np.where(np.arange(40) < 4, 1.0, 0.5)
    assert too_few(few, equal(40))
    assert not too_few(np.where(np.arange(40) < 5, 1.0, 0.5), equal(40))
    low, high = interval(np.full(40, 0.5), ["a"] * 40)
    assert (100 * low, 100 * high) == pytest.approx((35.2, 64.8), abs=0.1)


def test_where_few_videos_or_few_cases_are_resampling_gives_way() -> None:
    assert too_few(hits(14, 29), equal(29))
    assert not too_few(hits(15, 30), equal(30))
    assert too_few(hits(4, 500), equal(500))
    assert too_few(hits(496, 500), equal(500))
    assert not too_few(hits(5, 500), equal(500))
    assert not too_few(hits(495, 500), equal(500))


def test_unequal_weights_count_for_fewer_videos() -> None:
    assert effective_count(equal(7)) == pytest.approx(7)
    rare = weights(["a"] * 90 + ["b"] * 10, per_class=True)
    assert effective_count(rare) == pytest.approx(1 / (90 * (1 / 180) ** 2 + 10 * (1 / 20) ** 2))
    assert interval(np.ones(100), ["a"] * 90 + ["b"] * 10, per_class=True)[0] == pytest.approx(
        36 / (36 + Z**2)
    )


def test_the_difference_is_that_of_a_published_table() -> None:
    """Airway hyper-responsiveness before and after a transplant (Bentur et al. 2009): 1, 1, 7 and 12 children.

    Newcombe's interval as in Fagerland, Lydersen and Laake 2014: −0.507 to −0.026.
    """
    first, second = pairs(1, 1, 7, 12)
    assert difference(first, second, equal(21), 0.95) == pytest.approx((-0.507, -0.026), abs=0.0006)
    back = difference(second, first, equal(21), 0.95)
    assert back == pytest.approx((0.026, 0.507), abs=0.0006)


@pytest.mark.parametrize("table", [(30, 10, 5, 25), (4, 3, 2, 1), (3, 0, 0, 3), (0, 6, 5, 2)])
def test_phi_is_that_of_the_table(table: tuple[int, int, int, int]) -> None:
    a, b, c, d = table
    product, n = a * d - b * c, sum(table)
    if product > 0:
        product = max(product - n / 2, 0)
    expected = product / math.sqrt((a + b) * (c + d) * (a + c) * (b + d))
    assert correlation(*pairs(*table), equal(n)) == pytest.approx(expected)
    assert correlation(hits(n, n), hits(2, n), equal(n)) == 0


@pytest.mark.parametrize("table", [(30, 2, 10, 8), (12, 1, 6, 1), (4, 0, 2, 1), (20, 0, 0, 2)])
def test_at_the_limits_of_a_ratio_the_interval_of_the_difference_ends_at_zero(
    table: tuple[int, int, int, int],
) -> None:
    above, below = pairs(*table)
    n, chance = len(above), 0.1
    a, b = above.mean() - chance, below.mean() - chance
    (low_a, high_a), (low_b, high_b) = (
        [e - chance for e in wilson(h.mean(), n, 0.95)] for h in (above, below)
    )
    phi = correlation(above, below, equal(n))

    def ends(r: float) -> tuple[float, float]:
        down, up = (
            math.sqrt(x * x - 2 * phi * x * y * r + (y * r) ** 2)
            for x, y in ((a - low_a, high_b - b), (high_a - a, b - low_b))
        )
        return a - r * b - down, a - r * b + up

    found = ratio(above, below, chance, equal(n), 0.95)
    assert found is not None
    low, high = found
    assert low < a / b < high
    assert ends(low)[0] == pytest.approx(0, abs=1e-9)
    assert ends(high)[1] == pytest.approx(0, abs=1e-9)


def test_a_ratio_to_what_may_be_chance_has_no_limits() -> None:
    assert ratio(hits(1, 4), hits(2, 4), 0.25, equal(4), 0.95) is None
    found = ratio(np.zeros(8), np.ones(8), 0.25, equal(8), 0.95)
    assert found is not None
    assert found[0] == 0
    assert 0 < found[1] < 0.2


@pytest.mark.parametrize(("count", "truth"), [(4, 0.9), (10, 0.8), (20, 0.97)])
def test_small_sets_are_covered_where_resampling_would_not(count: int, truth: float) -> None:
    inside = sum(
        math.comb(count, right) * truth**right * (1 - truth) ** (count - right)
        for right in range(count + 1)
        if (ends := interval(hits(right, count), ["a"] * count))[0] <= truth <= ends[1]
    )
    assert inside > 0.94
