"""Affinity of frames and motion, against loops in float64 and cases whose answer is known."""

import numpy as np
import pytest

from kinevec.show.activation import Maps, Steps
from kinevec.show.affinity import Affinity, affinity


def of(rgb: Maps, motion: Maps, starts: tuple[int, ...] | None = None, each: int = 1) -> Affinity:
    """Of clips that begin at frames, of `each` steps of 4 frames; without starts, end to end."""
    begins = np.arange(0, len(rgb) * 4, 4 * each) if starts is None else np.array(starts)
    middle = np.add.outer(begins, 4 * np.arange(each) + 1.5).ravel()
    order = np.argsort(middle, kind="stable")
    clip = np.repeat(np.arange(len(begins)), each)[order]
    return affinity(Steps(rgb[order], motion[order], middle[order], clip, begins, 4.0))


def test_affinity_is_the_mean_cosine_of_centred_features() -> None:
    rng = np.random.default_rng(0)
    k, c, h, w = 3, 5, 2, 2
    rgb, motion = (rng.normal(1, 1, (k, c, h, w)).astype(np.float32) for _ in range(2))
    found = of(rgb, motion)
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
    found = of(places, places)
    assert found.same_place == pytest.approx(
        1 + 1 / 3
    )  # centred corners of a simplex: 1, and −1/3 between two
    assert found.same_time == pytest.approx(0)


def test_features_that_name_times_agree_by_time_and_not_by_place() -> None:
    times = np.broadcast_to(np.eye(3).reshape(3, 3, 1, 1), (3, 3, 2, 2)).astype(np.float32)
    found = of(times, times)
    assert found.same_time == pytest.approx(1.5)
    assert found.same_place == pytest.approx(0)


@pytest.mark.parametrize("starts", [(0, 12, 24), (0, 12, 19)])
def test_features_that_name_the_place_within_a_clip_alone_agree_by_no_time(starts: tuple[int, ...]) -> None:
    phases = np.tile(np.eye(3), (3, 1)).reshape(9, 3, 1, 1).repeat(2, -1).astype(np.float32)
    found = of(phases, phases, starts, each=3)
    assert found.same_time == pytest.approx(0, abs=1e-12)
    assert found.temporal.diagonal().mean() - found.temporal.mean() > 0.9  # as it would be over all pairs


def test_same_time_is_what_equal_steps_have_before_others_at_the_same_place_within_their_clips() -> None:
    rng = np.random.default_rng(1)
    starts, each = (0, 12, 15, 20), 3  # the last ones overlap: 3 frames apart is less than a step of 4
    rgb, motion = (rng.normal(0, 1, (12, 5, 2, 2)).astype(np.float32) for _ in range(2))
    found = of(rgb, motion, starts, each)
    a, b = (m.astype(float) - m.astype(float).mean((0, 2, 3), keepdims=True) for m in (rgb, motion))

    def cosine(s: int, t: int) -> float:
        cells = [(a[s, :, y, x], b[t, :, y, x]) for y in range(2) for x in range(2)]
        return float(np.mean([p @ q / np.sqrt((p @ p) * (q @ q)) for p, q in cells]))

    equal, other = [], []
    for s in range(12):
        for t in range(12):
            if s == t:
                equal.append(cosine(s, t))
            elif s % each == t % each and abs(starts[s // each] - starts[t // each]) >= 4:
                other.append(cosine(s, t))
    assert len(other) == 3 * 2 * 5
    assert found.same_time == pytest.approx(np.mean(equal) - np.mean(other))


def test_a_single_clip_has_no_other_time() -> None:
    steps = np.random.default_rng(0).normal(0, 1, (4, 3, 2, 2)).astype(np.float32)
    assert np.isnan(of(steps, steps, (0,), 4).same_time)
    assert np.isnan(of(steps, steps, (0, 3), 2).same_time)  # two, nearly the same
    assert np.isfinite(of(steps, steps, (0, 4), 2).same_time)


def test_pairs_at_the_same_place_within_their_clips_are_sorted_by_their_distance() -> None:
    steps = np.random.default_rng(0).normal(0, 1, (6, 3, 1, 1)).astype(np.float32)
    found = of(steps, steps, (0, 8, 13), 2)
    m = found.temporal  # in order of time: clip and step 00 01 10 11 20 21
    pairs = {d: sorted(part.tolist()) for d, part in found.by_distance().items()}
    assert pairs == {
        0: sorted(m.diagonal()),
        5: sorted([m[2, 4], m[4, 2], m[3, 5], m[5, 3]]),
        8: sorted([m[0, 2], m[2, 0], m[1, 3], m[3, 1]]),
        13: sorted([m[0, 4], m[4, 0], m[1, 5], m[5, 1]]),
    }


def test_a_single_cell_has_no_other_place() -> None:
    one = np.ones((2, 3, 1, 1), np.float32)
    assert np.isnan(of(one, one).same_place)


def test_features_of_other_steps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"rgb \(2, 3, 1, 1\) and motion \(1, 3, 1, 1\)"):
        affinity(
            Steps(
                np.ones((2, 3, 1, 1), np.float32),
                np.ones((1, 3, 1, 1), np.float32),
                np.arange(2.0),
                np.arange(2),
                np.arange(2),
                1.0,
            )
        )
