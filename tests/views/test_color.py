"""Colour changes and blur against plain formulas; the two ways of applying them against each other."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kinevec.config import Views
from kinevec.views.color import (
    IDENTITY,
    Color,
    blur_batch,
    brightness,
    chain,
    color_batch,
    color_uint8,
    contrast,
    draw_color,
    gaussian_kernel,
    hue,
    kernel_size,
    normalise,
    saturation,
)
from reference import views as reference

Array = NDArray[np.float64]

# In uint8, of 255: the result is rounded (1/2), after coefficients and offset were rounded to 1/1024.
MATRIX_ROUNDING = 0.5 + (3 * 255 + 1) / 2048
BLUR_ROUNDING = 0.5
FLOAT_ERROR = 2e-3  # of 255, of float32 arithmetic
HUE_CONSTANTS = 2e-5  # how well the published constants of YIQ and YUV fit each other


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def apply(matrix: Array, rgb: Array) -> Array:
    return matrix[:, :3] @ rgb + matrix[:, 3]


def on_device(frames: NDArray[np.uint8], colors: list[Color]) -> Array:
    """`color_batch` on uint8 clips (N, T, H, W, 3); the result in the same layout, 0–255."""
    clips = torch.from_numpy(frames).permute(0, 4, 1, 2, 3).float() / 255
    matrix = torch.tensor(np.stack([color.matrix for color in colors]), dtype=torch.float32)
    sigma = torch.tensor([color.sigma for color in colors], dtype=torch.float32)
    return 255 * color_batch(clips, matrix, sigma).permute(0, 2, 3, 4, 1).double().numpy()


@pytest.mark.parametrize(
    ("matrix_of", "formula", "tolerance"),
    [
        (brightness, reference.brightness, 1e-12),
        (contrast, reference.contrast, 1e-12),
        (saturation, reference.saturation, 1e-12),
        (hue, reference.hue, HUE_CONSTANTS),
    ],
)
@pytest.mark.parametrize("amount", [0.0, 0.1, 0.4, 1.0, 1.7, -0.3])
def test_each_change_is_its_formula(
    matrix_of: Callable[[float], Array],
    formula: Callable[[Array, float], Array],
    tolerance: float,
    amount: float,
) -> None:
    for rgb in np.random.default_rng(1).random((20, 3)):
        np.testing.assert_allclose(apply(matrix_of(amount), rgb), formula(rgb, amount), atol=tolerance)


def test_fixed_points_of_the_changes() -> None:
    grey, rgb = np.full(3, 0.3), np.array([0.8, 0.1, 0.4])
    np.testing.assert_allclose(apply(contrast(1.8), np.full(3, 0.5)), 0.5)
    np.testing.assert_allclose(apply(saturation(0.2), grey), grey)
    np.testing.assert_allclose(apply(hue(0.2), grey), grey, atol=1e-7)
    assert reference.luma(apply(hue(0.2), rgb)) == pytest.approx(reference.luma(rgb))
    assert reference.luma(apply(saturation(0.2), rgb)) == pytest.approx(reference.luma(rgb))
    for matrix in (brightness(1), contrast(1), saturation(1), hue(0), hue(1)):
        np.testing.assert_allclose(matrix, IDENTITY, atol=1e-12)


def test_a_third_of_a_turn_three_times_is_no_change() -> None:
    third = hue(1 / 3)
    assert np.abs(third - IDENTITY).max() > 0.5
    np.testing.assert_allclose(chain(chain(third, third), third), IDENTITY, atol=1e-12)


def test_grayscale_makes_all_channels_equal_to_luma() -> None:
    rgb = np.array([0.8, 0.1, 0.4])
    np.testing.assert_allclose(apply(saturation(0.0), rgb), np.full(3, reference.luma(rgb)))


def test_chain_is_the_first_change_then_the_second() -> None:
    rng = np.random.default_rng(2)
    first, then, rgb = rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), rng.random(3)
    np.testing.assert_allclose(apply(chain(first, then), rgb), apply(then, apply(first, rgb)))


@pytest.mark.parametrize(
    ("size", "width"), [(16, 1), (20, 3), (39, 3), (40, 5), (64, 7), (112, 11), (128, 13), (224, 23)]
)
def test_kernel_is_about_a_tenth_of_the_clip_and_odd(size: int, width: int) -> None:
    assert kernel_size(size) == width


def test_gaussian_kernel() -> None:
    kernel = gaussian_kernel(1.5, 7)
    assert kernel.sum() == pytest.approx(1)
    np.testing.assert_allclose(kernel, kernel[::-1])
    for x in range(1, 4):
        assert kernel[3 + x] / kernel[3] == pytest.approx(np.exp(-x * x / 4.5))


def test_blur_is_the_plain_convolution_with_each_clips_own_sigma() -> None:
    clips = np.random.default_rng(3).random((2, 3, 2, 46, 25))  # a window of 5; higher than wide
    sigma = [0.7, 1.9]
    got = blur_batch(torch.tensor(clips, dtype=torch.float32), torch.tensor(sigma)).numpy()
    for n, c, t in np.ndindex(2, 3, 2):
        if n == c or t == 0:  # the loops are slow
            expected = reference.blurred(clips[n, c, t], sigma[n], 5)
            np.testing.assert_allclose(got[n, c, t], expected, atol=1e-6)


def test_blur_of_uint8_is_the_plain_convolution() -> None:
    frames = noise(2, 46, 25, 3)
    got = color_uint8(frames, Color(IDENTITY, 1.3))
    for t, c in [(0, 0), (0, 2), (1, 1)]:
        expected = reference.blurred(frames[t, :, :, c].astype(float), 1.3, 5)
        assert np.abs(got[t, :, :, c] - expected).max() <= BLUR_ROUNDING + FLOAT_ERROR


def test_matrix_is_applied_to_every_pixel_and_cut_to_the_range() -> None:
    frames = noise(1, 2, 9, 7, 3)
    matrix = np.array([[1.4, -0.3, 0.2, 0.1], [0.1, 0.9, 0.5, -0.4], [-0.8, 0.3, 1.1, 0.0]])
    expected = 255 * reference.affine(frames / 255, matrix)
    assert (expected == 0).any()
    assert (expected == 255).any()
    assert np.abs(on_device(frames, [Color(matrix, 0.0)]) - expected).max() <= FLOAT_ERROR
    got = color_uint8(frames[0], Color(matrix, 0.0))
    assert got.dtype == np.uint8
    assert np.abs(got - expected[0]).max() <= MATRIX_ROUNDING + FLOAT_ERROR


def test_both_ways_agree_for_random_draws() -> None:
    rng = np.random.default_rng(4)
    frames = noise(40, 2, 24, 24, 3, seed=4)
    colors = [draw_color(Views(), rng) for _ in frames]
    assert {bool(color.sigma) for color in colors} == {False, True}
    device = on_device(frames, colors)
    for clip, color, expected in zip(frames, colors, device, strict=True):
        # Cutting to the range and blurring bring two clips no further apart.
        assert np.abs(color_uint8(clip, color) - expected).max() <= (
            MATRIX_ROUNDING + BLUR_ROUNDING + FLOAT_ERROR
        )


@pytest.mark.parametrize("size", [16, 24, 64, 112])
def test_blur_leaves_constant_clips_as_they_are(size: int) -> None:
    for sigma in np.linspace(0.1, 2, 7):
        for value in (0, 1, 100, 127, 128, 254, 255):
            frames = np.full((1, size, size, 3), value, np.uint8)
            np.testing.assert_array_equal(color_uint8(frames, Color(IDENTITY, float(sigma))), frames)
    clips = torch.full((2, 3, 1, size, size), 0.7)
    torch.testing.assert_close(blur_batch(clips, torch.tensor([0.1, 2.0])), clips)


def test_clips_without_change_stay_exactly_as_they_are_beside_others() -> None:
    clips = torch.rand(2, 3, 2, 24, 24, generator=torch.Generator().manual_seed(0))
    blurred = blur_batch(clips, torch.tensor([0.0, 1.5]))
    assert torch.equal(blurred[0], clips[0])
    assert not torch.allclose(blurred[1], clips[1], atol=0.05)
    matrix = torch.tensor(np.stack([IDENTITY, brightness(0.5)]))
    changed = color_batch(clips, matrix, torch.zeros(2))
    assert torch.equal(changed[0], clips[0])
    assert torch.equal(changed[1], clips[1] * 0.5)
    frames = noise(2, 24, 24, 3)
    np.testing.assert_array_equal(color_uint8(frames, Color(IDENTITY, 0.0)), frames)


@pytest.mark.parametrize("channels_last", [False, True])
def test_without_sigma_no_clip_is_blurred(channels_last: bool) -> None:
    frames = noise(2, 2, 24, 20, 3)
    matrices = np.stack([IDENTITY, chain(hue(0.2), brightness(1.2))])
    clips = torch.from_numpy(frames).permute(0, 4, 1, 2, 3).float() / 255
    clips = clips if channels_last else clips.contiguous()
    before = clips.clone()
    got = color_batch(clips, torch.tensor(matrices), None)
    assert got.is_contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(clips, before)
    for n, matrix in enumerate(matrices):
        expected = reference.affine(frames[n] / 255, matrix)
        np.testing.assert_allclose(got[n].permute(1, 2, 3, 0).numpy(), expected, atol=1e-6)
    assert torch.equal(got, color_batch(clips, torch.tensor(matrices), torch.zeros(2)))


def test_normalise_takes_every_channels_own_numbers() -> None:
    views = Views(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    for dtype in (torch.float32, torch.float64):
        clips = torch.rand(2, 3, 2, 4, 5, generator=torch.Generator().manual_seed(0), dtype=dtype)
        got = normalise(clips, views)
        assert got.dtype == dtype
        for c in range(3):
            expected = (clips[:, c].double().numpy() - views.mean[c]) / views.std[c]
            np.testing.assert_allclose(got[:, c].numpy(), expected, atol=1e-6)


def test_inputs_are_left_alone() -> None:
    frames, clips = noise(1, 24, 24, 3), torch.rand(1, 3, 1, 24, 24)
    before = frames.copy(), clips.clone()
    color_uint8(frames, Color(brightness(0.5), 1.0))
    color_batch(clips, torch.tensor(brightness(0.5))[None], torch.ones(1))
    np.testing.assert_array_equal(frames, before[0])
    assert torch.equal(clips, before[1])


def test_a_static_clip_stays_static() -> None:
    color = draw_color(Views(jitter=1, grayscale=0, blur=1), np.random.default_rng(5))
    assert color.sigma > 0
    assert not np.allclose(color.matrix, IDENTITY)
    frames = np.repeat(noise(1, 24, 24, 3), 3, axis=0)
    for result in (color_uint8(frames, color), on_device(frames[None], [color])[0]):
        assert (result == result[:1]).all()


class Fixed(np.random.Generator):
    """Draws the upper end of every range, yes to every question, and a given order."""

    def __init__(self, order: tuple[int, ...]) -> None:
        super().__init__(np.random.PCG64(0))
        self.order = order

    def random(self) -> float:
        return 0.0

    def uniform(self, low: float, high: float) -> float:
        return high

    def permutation(self, count: int) -> tuple[int, ...]:
        assert count == len(self.order)
        return self.order


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2), (2, 3, 1, 0)])
@pytest.mark.parametrize("grayscale", [0.0, 1.0])
def test_draw_chains_the_four_changes_in_the_drawn_order_and_grayscale_last(
    order: tuple[int, ...], grayscale: float
) -> None:
    views = Views(brightness=0.1, contrast=0.2, saturation=0.3, hue=0.15, grayscale=grayscale)
    changes = [
        lambda rgb: reference.brightness(rgb, 1.1),
        lambda rgb: reference.contrast(rgb, 1.2),
        lambda rgb: reference.saturation(rgb, 1.3),
        lambda rgb: reference.hue(rgb, 0.15),
    ]
    color = draw_color(views, Fixed(order))
    assert color.sigma == views.blur_sigma[1]
    for rgb in np.random.default_rng(6).random((5, 3)):
        expected = rgb
        for i in order:
            expected = changes[i](expected)
        if grayscale:
            expected = reference.saturation(expected, 0)
        np.testing.assert_allclose(apply(color.matrix, rgb), expected, atol=1e-4)


def draws(count: int = 3000, **settings: object) -> list[Color]:
    nothing = dict.fromkeys(
        ("jitter", "brightness", "contrast", "saturation", "hue", "grayscale", "blur"), 0.0
    )
    views = Views(**(nothing | settings))  # type: ignore[arg-type]
    rng = np.random.default_rng(7)
    return [draw_color(views, rng) for _ in range(count)]


def test_draws_have_the_configured_odds() -> None:
    rate = np.mean([not np.allclose(c.matrix, IDENTITY) for c in draws(jitter=0.3, brightness=0.4)])
    assert rate == pytest.approx(0.3, abs=0.03)
    assert np.mean([np.ptp(c.matrix[:, 0]) == 0 for c in draws(grayscale=0.2)]) == pytest.approx(
        0.2, abs=0.03
    )
    assert np.mean([c.sigma > 0 for c in draws(blur=0.7)]) == pytest.approx(0.7, abs=0.03)
    for color in draws(100):
        assert color.sigma == 0
        np.testing.assert_array_equal(color.matrix, IDENTITY)


def assert_uniform(values: list[float], low: float, high: float) -> None:
    """Ends, mean and spread of a uniform distribution."""
    reach = high - low
    assert low <= min(values) < low + 0.01 * reach
    assert high - 0.01 * reach < max(values) <= high
    assert np.mean(values) == pytest.approx((low + high) / 2, abs=0.03 * reach)
    assert np.std(values) == pytest.approx(reach / 12**0.5, abs=0.02 * reach)


def test_draws_are_uniform_within_their_ranges() -> None:
    assert_uniform([c.matrix[0, 0] for c in draws(jitter=1, brightness=0.4)], 0.6, 1.4)
    assert_uniform([1 - 2 * c.matrix[2, 3] for c in draws(jitter=1, contrast=0.3)], 0.7, 1.3)
    assert_uniform([c.matrix[0, 0] - c.matrix[1, 0] for c in draws(jitter=1, saturation=0.2)], 0.8, 1.2)
    assert_uniform([c.sigma for c in draws(blur=1)], 0.1, 2.0)
    # The hue turn by which the change of pure I (luma 0) can be read off.
    yiq = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    turned = [yiq @ c.matrix[:, :3] @ np.linalg.inv(yiq) for c in draws(jitter=1, hue=0.1)]
    assert_uniform(
        [float(np.arctan2(m[2, 1], m[1, 1]) / (2 * np.pi)) for m in turned], -0.1 - 1e-4, 0.1 + 1e-4
    )


def test_the_blur_is_as_strong_as_configured() -> None:
    rng, views = np.random.default_rng(0), Views(blur=1.0, blur_sigma=(3.0, 4.0))
    sigmas = [draw_color(views, rng).sigma for _ in range(200)]
    assert 3 <= min(sigmas) < 3.05
    assert 3.95 < max(sigmas) <= 4
