"""The learning rate at the steps where it is known."""

import pytest

from kinevec.train.schedule import learning_rate


def test_warm_up_is_linear_and_starts_to_move() -> None:
    assert [learning_rate(step, 100, 4, 2.0) for step in range(4)] == [0.5, 1.0, 1.5, 2.0]


def test_cosine_from_peak_to_zero() -> None:
    rates = [learning_rate(step, 104, 4, 2.0) for step in (4, 29, 54, 79, 104)]
    assert rates == pytest.approx([2.0, 1 + 2**-0.5, 1.0, 1 - 2**-0.5, 0.0])


def test_no_warm_up() -> None:
    assert learning_rate(0, 10, 0, 0.3) == pytest.approx(0.3)
