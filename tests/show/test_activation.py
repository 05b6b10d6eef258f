"""Activation maps: which clips cover a stretch, where their time steps lie, and how they are laid over frames."""

import numpy as np
import pytest

from kinevec.config import Clip
from kinevec.data.sampling import clip_numbers
from kinevec.show.activation import clip_starts, heat, overlay, step_frames


@pytest.mark.parametrize("frames", [3, 15, 16, 17, 40, 101])
@pytest.mark.parametrize(("first", "last"), [(0, 2), (0, 14), (2, 100), (31, 39), (90, 100)])
def test_clips_cover_every_frame_of_the_stretch(frames: int, first: int, last: int) -> None:
    last = min(last, frames - 1)
    first = min(first, last)
    clip = Clip(frames=8, stride=2, size=16)
    starts = clip_starts(first, last, frames, clip)
    assert starts == sorted(set(starts))
    covered = {number + s for start in starts for number in clip_numbers(start, 10**6, clip) for s in (0, 1)}
    assert covered >= set(range(first, min(last, starts[-1] + clip.window - 1) + 1))
    assert starts[-1] + clip.window > last - 1  # the last frame may lie one stride behind the last clip's
    assert all(start + clip.span <= frames for start in starts) or (starts == [0] and frames < clip.span)


def test_clips_follow_each_other_end_to_end() -> None:
    assert clip_starts(3, 60, 1000, Clip(frames=8, stride=2, size=16)) == [3, 19, 35, 51]


def test_steps_lie_in_the_middle_of_their_frames() -> None:
    clip = Clip(frames=8, stride=3, size=16)
    numbers = np.array(clip_numbers(5, 1000, clip))
    for steps in (1, 2, 4, 8):
        expected = numbers.reshape(steps, -1).mean(1)
        np.testing.assert_allclose(step_frames(5, clip, steps), expected)


def test_heat_is_linear_between_steps_and_flat_outside() -> None:
    maps = np.zeros((3, 2, 1, 1), np.float32)
    maps[:, :, 0, 0] = [[0, 2], [4, 6], [1, 3]]  # means 1, 5, 2
    found = heat(maps, np.array([10.0, 14.0, 20.0]), [0, 10, 11, 14, 17, 20, 30], 2)
    expected = np.array([0, 0, 0.25, 1, 0.625, 0.25, 0.25])
    np.testing.assert_allclose(found, np.broadcast_to(expected[:, None, None], (7, 2, 2)), atol=1e-6)


def test_heat_is_linear_between_the_centres_of_cells() -> None:
    maps = np.array([0.0, 1.0], np.float32).reshape(1, 1, 1, 2)
    found = heat(maps, np.array([0.0]), [0], 8)
    np.testing.assert_allclose(found[0, 0], np.clip((np.arange(8) + 0.5) / 4 - 0.5, 0, 1), atol=1e-6)


def test_heat_of_equal_activation_is_nothing() -> None:
    assert not heat(np.full((2, 3, 2, 2), 7, np.float32), np.array([0.0, 1.0]), [0, 1], 4).any()


def test_overlay_is_blue_where_cold_red_where_hot_and_keeps_the_frame_below() -> None:
    frames = np.full((1, 1, 2, 3), 100, np.uint8)
    warmth = np.array([[[0.0, 1.0]]], np.float32)
    cold, hot = overlay(frames, warmth, strength=1.0)[0, 0]
    assert cold[2] > cold[0]
    assert hot[0] > hot[2]
    np.testing.assert_array_equal(overlay(frames, warmth, strength=0.0), frames)
