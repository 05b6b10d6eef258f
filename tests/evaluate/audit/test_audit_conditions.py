"""Each change takes away what it says, leaves the rest, and repeats itself."""

import numpy as np
import pytest

from kinevec.config import Clip
from kinevec.data.sampling import even_clips
from kinevec.errors import ConfigError
from kinevec.evaluate.audit import AuditConfig
from kinevec.evaluate.audit.conditions import (
    at_speed,
    draw_order,
    draw_recolour,
    generator,
    recolour,
    speed_of,
    static,
)
from kinevec.evaluate.audit.scenes import _changed
from kinevec.evaluate.audit.settings import RECOLOURED, SHUFFLED


def clip(frames: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, 6, 6, 3)).astype(np.uint8)


@pytest.mark.parametrize("frames", [2, 7, 8])
def test_static_repeats_the_middle_frame(frames: int) -> None:
    original = clip(frames)
    changed = static(original)
    assert changed.shape == original.shape
    for frame in changed:
        np.testing.assert_array_equal(frame, original[frames // 2])


@pytest.mark.parametrize("frames", [3, 4, 8])
def test_an_order_is_neither_forward_nor_backward(frames: int) -> None:
    seen = set()
    for seed in range(200):
        order = draw_order(frames, np.random.default_rng(seed)).tolist()
        assert sorted(order) == list(range(frames))
        assert order not in (list(range(frames)), list(range(frames))[::-1])
        seen.add(tuple(order))
    assert len(seen) >= {3: 4, 4: 22, 8: 190}[frames]  # and all others are drawn


def test_two_frames_have_no_other_order() -> None:
    with pytest.raises(ValueError, match="2 frames"):
        draw_order(2, np.random.default_rng(0))


def test_randomness_follows_from_seed_and_name() -> None:
    draws = {
        key: generator(*key).integers(2**60)
        for key in [(0, "a.mp4"), (0, "b.mp4"), (1, "a.mp4"), (0, "\udcff")]
    }
    assert len(set(draws.values())) == 4
    assert generator(0, "a.mp4").integers(2**60) == draws[0, "a.mp4"]


def test_what_one_change_draws_leaves_the_others_as_they_are() -> None:
    """How many numbers the moving noise takes depends on what moves; order and colours must not."""
    still = np.repeat(np.random.default_rng(0).integers(0, 255, (1, 1, 40, 40, 3)), 8, 1).astype(np.uint8)
    moving = np.stack([[np.roll(still[0, 0], 2 * t, 1) for t in range(8)]])
    for t in range(8):
        still[0, t, :4, :4] = moving[0, t, :4, :4] = 30 * t  # tells which frame it is
    one, other = (_changed(clips, "dis", generator(0, "a.mp4")) for clips in (still, moving))
    corner = np.s_[0, :, :4, :4]
    for condition in (SHUFFLED, RECOLOURED):
        np.testing.assert_array_equal(one[condition][corner], other[condition][corner])


def test_a_recolouring_is_affine_and_the_same_for_every_frame() -> None:
    clips = np.random.default_rng(1).integers(60, 190, (2, 3, 4, 5, 3)).astype(np.uint8)
    color = draw_recolour(np.random.default_rng(2))
    expected = clips / 255 @ color.matrix[:, :3].T + color.matrix[:, 3]
    np.testing.assert_allclose(
        recolour(clips, color), 255 * expected.clip(0, 1), atol=1
    )  # OpenCV's fixed point


def test_recolourings_differ_and_keep_a_picture_visible() -> None:
    ramp = np.linspace(0, 255, 256).astype(np.uint8)[None, None, None, :, None].repeat(3, -1)
    results = [
        recolour(ramp, draw_recolour(np.random.default_rng(seed)))[0, 0, 0].astype(int) for seed in range(30)
    ]
    for one in results:
        light = one.mean(1)
        assert (np.diff(light) >= 0).all()
        assert light[-1] - light[0] > 60
    greys = np.array([one[128] for one in results])
    assert greys.std(0).min() > 15


CLIP = Clip(frames=5, stride=4, size=16)  # spans 17 frames


@pytest.mark.parametrize(
    ("frames", "wanted", "speed"),
    [
        (100, 0.5, 0.5),
        (100, 2.0, 2.0),
        (33, 2.0, 2.0),
        (32, 2.0, 31 / 16),
        (17, 2.0, 1.0),
        (9, 2.0, 1.0),
        (9, 0.5, 0.5),
    ],
)
def test_a_clip_is_as_fast_as_fits(frames: int, wanted: float, speed: float) -> None:
    assert speed_of(frames, CLIP, wanted) == speed


@pytest.mark.parametrize("frames", [17, 18, 25, 33, 60])
@pytest.mark.parametrize("wanted", [0.5, 1.0, 2.0])
def test_another_speed_shows_the_same_moment_within_the_video(frames: int, wanted: float) -> None:
    speed = speed_of(frames, CLIP, wanted)
    for numbers in even_clips(frames, CLIP, 4):
        found = at_speed(numbers, frames, CLIP, speed)
        assert len(found) == 5
        assert 0 <= min(found) <= max(found) < frames
        np.testing.assert_allclose(np.diff(found), 4 * speed, atol=1)
        shift = np.mean(found) - np.mean(numbers)
        if abs(shift) > 0.75:  # moved, since it would have run over an end
            assert found[0] == 0 or found[-1] == frames - 1


def test_at_its_own_speed_a_clip_is_itself() -> None:
    for frames in (9, 17, 40):
        for numbers in even_clips(frames, CLIP, 3):
            assert at_speed(numbers, frames, CLIP, 1.0) == numbers


def test_half_speed_in_numbers() -> None:
    assert at_speed([10, 14, 18, 22, 26], 40, CLIP, 0.5) == [14, 16, 18, 20, 22]
    assert at_speed([10, 14, 18, 22, 26], 40, CLIP, 2.0) == [2, 10, 18, 26, 34]
    assert at_speed([10, 14, 18, 22, 26], 35, CLIP, 2.0) == [2, 10, 18, 26, 34]
    assert at_speed([18, 22, 26, 30, 34], 35, CLIP, 2.0) == [2, 10, 18, 26, 34]
    assert at_speed([0, 4, 8, 3, 7], 9, CLIP, 0.5) == [4, 6, 8, 1, 3]  # a looped video


def test_settings_refuse_nonsense() -> None:
    for changes in ({"clips": 0}, {"seed": -1}, {"resamples": 99}, {"examples": -1}, {"flow": "guess"}):
        with pytest.raises(ConfigError):
            AuditConfig(**changes)  # type: ignore[arg-type]
