"""What lies behind, who gives it to whom, and laying one over the other."""

from collections import Counter

import numpy as np
import pytest

from kinevec.evaluate.audit.background import behind, cycles, draw_donors, lay_over, usable


def test_covered_pixels_take_the_mean_of_the_frames_that_show_them() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (5, 20, 20, 3)).astype(np.uint8)
    opacity = np.zeros((5, 20, 20), np.float32)
    opacity[1, 8, 8] = 1
    opacity[2, 8, 12] = 0.5
    result = behind(frames, opacity)
    changed = (result != frames).any(-1)
    assert changed[1, 6:11, 6:11].mean() > 0.9  # a rim of two pixels counts as covered
    changed[1, 6:11, 6:11] = changed[2, 6:11, 10:15] = False
    assert not changed.any()
    seen = [0, 2, 3, 4]  # frames that show this pixel
    np.testing.assert_allclose(result[1, 7, 7], frames[seen, 7, 7].mean(0), atol=0.51)
    both = [0, 3, 4]  # covered in frame 1 and in frame 2
    np.testing.assert_allclose(result[1, 8, 10], frames[both, 8, 10].mean(0), atol=0.51)


def test_what_is_always_covered_is_filled_from_around() -> None:
    frames = np.zeros((3, 24, 24, 3), np.uint8)
    frames[:] = (40, 90, 160)
    opacity = np.zeros((3, 24, 24), np.float32)
    opacity[:, 8:14, 8:14] = 1
    frames[:, 8:14, 8:14] = 255
    result = behind(frames, opacity)
    assert np.abs(result.astype(int) - (40, 90, 160)).max() <= 2


def test_a_foreground_that_covers_everything_leaves_no_error() -> None:
    frames = np.full((2, 16, 16, 3), 9, np.uint8)
    assert behind(frames, np.ones((2, 16, 16), np.float32)).shape == frames.shape


def test_laying_over() -> None:
    rng = np.random.default_rng(0)
    front, ground = rng.integers(0, 255, (2, 2, 3, 4, 4, 3)).astype(np.uint8)
    opacity = rng.choice([0, 0.25, 1], (2, 3, 4, 4)).astype(np.float32)
    expected = opacity[..., None] * front.astype(float) + (1 - opacity[..., None]) * ground
    np.testing.assert_allclose(lay_over(front, opacity, ground), expected, atol=0.51)


@pytest.mark.parametrize(
    ("share", "good"), [(0.0, False), (0.001, False), (0.1, True), (0.5, True), (0.7, False)]
)
def test_a_foreground_must_be_there_and_leave_a_background(share: float, good: bool) -> None:
    opacity = np.zeros(10_000, np.float32)
    opacity[: round(share * 10_000)] = 1
    assert usable(opacity.reshape(1, 100, 100)) == good


@pytest.mark.parametrize("counts", [(1, 1), (5, 5), (10, 5, 5), (4, 4, 4, 4), (3, 1, 1, 1)])
def test_each_gives_its_background_once_to_another_label(counts: tuple[int, ...]) -> None:
    labels = [str(i) for i, count in enumerate(counts) for _ in range(count)]
    for seed in range(30):
        donor = draw_donors(labels, np.random.default_rng(seed))
        assert sorted(donor) == list(range(len(labels)))
        assert all(labels[i] != labels[j] for i, j in enumerate(donor))


def test_a_label_of_more_than_half_leaves_as_few_as_it_must() -> None:
    labels = ["a"] * 8 + ["b"] * 3
    for seed in range(20):
        donor = draw_donors(labels, np.random.default_rng(seed))
        assert sorted(donor) == list(range(11))
        assert sum(labels[i] == labels[j] for i, j in enumerate(donor)) == 5


def test_which_label_gives_to_which_is_random() -> None:
    labels = [label for label in "abcd" for _ in range(50)]
    donor = draw_donors(labels, np.random.default_rng(0))
    pairs = Counter((labels[i], labels[j]) for i, j in enumerate(donor))
    assert len(pairs) == 12
    assert min(pairs.values()) >= 7  # 16.7 in the mean


def test_rings_pass_backgrounds_on() -> None:
    donor = np.random.default_rng(1).permutation(17)
    rings = cycles(donor)
    assert sorted(i for ring in rings for i in ring) == list(range(17))
    for ring in rings:
        for before, here in zip([ring[-1], *ring], ring, strict=False):
            assert donor[here] == before
