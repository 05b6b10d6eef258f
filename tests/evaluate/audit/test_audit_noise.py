"""Moving noise: grains follow the flow, and a single frame tells nothing."""

import numpy as np
import pytest

from kinevec.evaluate.audit import noise
from kinevec.evaluate.audit.noise import BLUR, CONTRAST, carry, moving_noise

HEIGHT, WIDTH = 9, 11


def flow(*vectors: tuple[float, float]) -> np.ndarray:
    """Uniform flow (T − 1, 2, H, W)."""
    return np.array(vectors, np.float32)[:, :, None, None] * np.ones((HEIGHT, WIDTH), np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_every_pixel_has_one_grain_and_no_grain_two_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grains = carry(rng.normal(0, 2, (6, 2, HEIGHT, WIDTH)).astype(np.float32))
    assert grains.shape == (7, HEIGHT, WIDTH)
    for frame in grains:
        assert len(np.unique(frame)) == HEIGHT * WIDTH
    np.testing.assert_array_equal(np.unique(grains), np.arange(grains.max() + 1))


def test_grains_move_right_and_down_with_the_flow() -> None:
    grains = carry(flow((2, 1), (-1, 0)))
    np.testing.assert_array_equal(grains[1, 1:, 2:], grains[0, :-1, :-2])
    np.testing.assert_array_equal(grains[2, :, :-1], grains[1, :, 1:])
    assert grains[1, 0].min() >= HEIGHT * WIDTH  # new ones come in where none arrives


def test_fractions_of_a_pixel_add_up() -> None:
    grains = carry(flow(*[(0.25, 0.0)] * 8))
    inner = slice(2, -2)
    np.testing.assert_array_equal(grains[1, :, inner], grains[0, :, inner])
    np.testing.assert_array_equal(grains[8, :, 4:], grains[0, :, 2:-2])


def test_nothing_that_stands_changes() -> None:
    np.testing.assert_array_equal(*np.unique(carry(flow((0, 0), (0, 0))), axis=0).repeat(2, 0))


def test_what_moves_covers_what_stands() -> None:
    field = flow((0, 0))
    field[0, 0, 4, 3] = 2  # one grain goes right onto a resting one
    grains = carry(field)
    assert grains[1, 4, 5] == grains[0, 4, 3]
    assert grains[1, 4, 3] >= HEIGHT * WIDTH
    changed = grains[1] != grains[0]
    assert changed.sum() == 2


def square(step: int) -> np.ndarray:
    """A bright textured square on grey that moves by `step` pixels a frame."""
    rng = np.random.default_rng(0)
    clip = np.full((6, 48, 48, 3), 90, np.uint8)
    texture = rng.integers(100, 255, (8, 8, 1)).repeat(2, 0).repeat(2, 1)
    for t in range(6):
        clip[t, 16:32, 10 + step * t : 26 + step * t] = texture
    return clip


def test_a_frame_of_noise_is_the_blurred_values_of_its_grains(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = np.random.default_rng(3).normal(0, 1, (5, 2, 48, 48)).astype(np.float32)
    monkeypatch.setattr(noise, "_flow", lambda clip, method: fields)
    frames = moving_noise(square(1), np.random.default_rng(4))
    grains = carry(fields)
    values = np.random.default_rng(4).standard_normal(grains.max() + 1)
    x = np.arange(-4, 5)
    kernel = np.exp(-(x**2) / (2 * BLUR**2))
    kernel /= kernel.sum()
    for t in (0, 3):
        for row, column in ((20, 20), (30, 9)):
            near = values[grains[t, row - 4 : row + 5, column - 4 : column + 5]]
            expected = 127.5 + CONTRAST * (kernel @ near @ kernel) / (kernel**2).sum()
            assert abs(frames[t, row, column].astype(float) - expected.clip(0, 255)).max() <= 0.51


def test_the_noise_of_a_video_that_stands_stands() -> None:
    frames = moving_noise(square(0), np.random.default_rng(0))
    for frame in frames[1:]:
        np.testing.assert_array_equal(frame, frames[0])
    assert abs(frames.std() - CONTRAST) < 8


def test_noise_moves_where_the_video_does() -> None:
    frames = moving_noise(square(2), np.random.default_rng(0)).astype(float)[..., 0]
    inside = frames[3, 18:30, 20:28]
    moved = frames[4, 18:30, 22:30]
    stays = frames[4, 18:30, 20:28]
    assert np.corrcoef(inside.ravel(), moved.ravel())[0, 1] > 0.8
    assert abs(np.corrcoef(inside.ravel(), stays.ravel())[0, 1]) < 0.4
    np.testing.assert_array_equal(frames[3, :5], frames[0, :5])  # beyond the reach of change and blur


def test_the_first_frame_does_not_depend_on_the_video_at_all() -> None:
    one, other = (moving_noise(square(step), np.random.default_rng(7)) for step in (0, 2))
    np.testing.assert_array_equal(one[0], other[0])


@pytest.mark.parametrize("side", [16, 24])
def test_small_clips_are_enlarged_for_their_flow(side: int) -> None:
    ramp = np.random.default_rng(0).integers(0, 255, (side // 4, side // 4 + 2, 1)).repeat(4, 0).repeat(4, 1)
    clip = np.stack([ramp[:, t : t + side] for t in (3, 2, 1)]).repeat(3, -1).astype(np.uint8)
    found = noise._flow(clip, "dis")
    assert found.shape == (2, 2, side, side)
    assert np.median(found[:, 0]) == pytest.approx(1, abs=0.3)
    assert np.median(found[:, 1]) == pytest.approx(0, abs=0.3)
