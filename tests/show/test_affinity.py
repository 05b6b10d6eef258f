"""Affinity of frames and motion, against loops in float64 and cases whose answer is known."""

import numpy as np
import pytest

from kinevec.show.affinity import Affinity, affinity


def test_affinity_is_the_mean_cosine_of_centred_features() -> None:
    rng = np.random.default_rng(0)
    k, c, h, w = 3, 5, 2, 2
    rgb, motion = (rng.normal(1, 1, (k, c, h, w)).astype(np.float32) for _ in range(2))
    found = affinity(rgb, motion)
    mean = [
        sum(m[s, :, y, x] for s in range(k) for y in range(h) for x in range(w)) / 12.0
        for m in (rgb.astype(float), motion.astype(float))
    ]

    def cosine(s: int, i: int, t: int, j: int) -> float:
        a = rgb[s, :, i // w, i % w].astype(float) - mean[0]
        b = motion[t, :, j // w, j % w].astype(float) - mean[1]
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))

    for i in range(4):
        for j in range(4):
            assert found.spatial[i, j] == pytest.approx(sum(cosine(s, i, s, j) for s in range(k)) / k)
    for s in range(k):
        for t in range(k):
            assert found.temporal[s, t] == pytest.approx(sum(cosine(s, i, t, i) for i in range(4)) / 4)


def test_features_that_name_places_agree_by_place_and_not_by_time() -> None:
    places = np.broadcast_to(np.eye(4).reshape(1, 4, 2, 2), (3, 4, 2, 2)).astype(np.float32)
    found = affinity(places, places)
    assert found.same_place == pytest.approx(
        1 + 1 / 3
    )  # centred corners of a simplex: 1, and −1/3 between two
    assert found.same_time == pytest.approx(0)


def test_features_that_name_times_agree_by_time_and_not_by_place() -> None:
    times = np.broadcast_to(np.eye(3).reshape(3, 3, 1, 1), (3, 3, 2, 2)).astype(np.float32)
    found = affinity(times, times)
    assert found.same_time == pytest.approx(1.5)
    assert found.same_place == pytest.approx(0)


def test_pairs_are_sorted_by_their_distance() -> None:
    matrix = np.arange(9.0).reshape(3, 3)
    pairs = Affinity(matrix, matrix).by_distance()
    assert [sorted(part.tolist()) for part in pairs] == [[0, 4, 8], [1, 3, 5, 7], [2, 6]]


def test_a_single_cell_has_no_other_place() -> None:
    one = np.ones((2, 3, 1, 1), np.float32)
    assert np.isnan(affinity(one, one).same_place)


def test_features_of_other_steps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"rgb \(2, 3, 1, 1\) and motion \(1, 3, 1, 1\)"):
        affinity(np.ones((2, 3, 1, 1), np.float32), np.ones((1, 3, 1, 1), np.float32))
