"""Crops, flips and boxes against a plain resampling, painted positions, and what the draws must look like."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kinevec.config import Views
from kinevec.views.geometry import Geometry, centre_square, crop_resize, draw_geometry
from reference import views as reference

ASPECT = Views().aspect
# Two roundings to whole values (after resizing one axis, after the other) and the fixed-point weights between.
ROUNDING = 1.05


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((0, 0, 31, 23), 16),  # down, by other factors in x and y
        ((4, 3, 9, 8), 16),  # up
        ((2, 1, 30, 8), 16),  # down in x, up in y
        ((7, 2, 23, 18), 16),  # as it is
        ((7, 2, 23, 19), 16),  # as it is in x only
        ((7, 2, 24, 18), 16),  # as it is in y only
        ((3, 5, 4, 6), 5),  # one pixel
        ((30, 22, 31, 23), 5),  # the last pixel
        ((0, 0, 31, 23), 1),  # to one pixel
    ],
)
@pytest.mark.parametrize("flip", [False, True])
def test_crop_resize_is_antialiased_bilinear(box: tuple[int, int, int, int], size: int, flip: bool) -> None:
    frames = noise(2, 23, 31, 3)
    before = frames.copy()
    got = crop_resize(frames, Geometry(box, flip), size)
    x1, y1, x2, y2 = box
    expected = np.stack([reference.resized(frame[y1:y2, x1:x2], size) for frame in frames])
    if flip:
        expected = expected[:, :, ::-1]
    assert got.shape == (2, size, size, 3)
    assert got.dtype == np.uint8
    assert got.flags.c_contiguous
    assert np.abs(got - expected).max() <= ROUNDING
    np.testing.assert_array_equal(frames, before)


def test_a_crop_of_the_wanted_size_is_cut_out_exactly() -> None:
    frames = noise(3, 20, 30, 3)
    np.testing.assert_array_equal(
        crop_resize(frames, Geometry((5, 2, 21, 18), False), 16), frames[:, 2:18, 5:21]
    )
    np.testing.assert_array_equal(
        crop_resize(frames, Geometry((5, 2, 21, 18), True), 16), frames[:, 2:18, 20:4:-1]
    )


@pytest.mark.parametrize("box", [(0, 0, 31, 23), (4, 3, 9, 8), (7, 2, 23, 18), (1, 0, 30, 20)])
def test_crop_then_flip_is_flip_then_mirrored_crop(box: tuple[int, int, int, int]) -> None:
    frames = noise(2, 23, 31, 3, seed=1)
    x1, y1, x2, y2 = box
    flipped = np.ascontiguousarray(frames[:, :, ::-1])
    one = crop_resize(frames, Geometry(box, True), 16)
    other = crop_resize(flipped, Geometry((31 - x2, y1, 31 - x1, y2), False), 16)
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("box", "size"), [((12, 6, 108, 70), 16), ((20, 30, 28, 34), 16), ((5, 7, 21, 23), 16)]
)
def test_box_maps_pixels_back_to_where_they_come_from(
    box: tuple[int, int, int, int], size: int, flip: bool
) -> None:
    height, width = 80, 120
    painted = np.zeros(
        (1, height, width, 3), np.uint8
    )  # red is 2 x, green is 3 y, at the corner of the pixel
    painted[0, :, :, 0] = 2 * np.arange(width)
    painted[0, :, :, 1] = 3 * np.arange(height)[:, None]
    geometry = Geometry(box, flip)
    clip = crop_resize(painted, geometry, size)[0].astype(float)
    centres = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    x1, y1, x2, y2 = geometry.normalised(height, width)
    shares = torch.stack([x1 + x * (x2 - x1), y1 + y * (y2 - y1)], -1)
    pixels = shares.numpy() * [width, height] - 0.5
    # At the edge of the box the filter is cut off, and the colour is that of another place.
    rim = max(1, -(-size // min(box[2] - box[0], box[3] - box[1])))
    inner = slice(rim, size - rim)
    error = np.abs(clip[inner, inner, :2] - pixels[inner, inner] * [2, 3])
    assert error.max() <= ROUNDING


def test_normalised_box_swaps_x_where_flipped() -> None:
    assert Geometry((10, 20, 30, 60), False).normalised(80, 40) == (0.25, 0.25, 0.75, 0.75)
    assert Geometry((5, 20, 30, 60), True).normalised(80, 40) == (0.75, 0.25, 0.125, 0.75)


def distance_from_uniform(values: NDArray[np.float64]) -> float:
    """Kolmogorov and Smirnov's statistic of values in [0, 1], times √n: above 1.95 once in a thousand draws."""
    ordered = np.sort(values)
    steps = np.arange(len(ordered) + 1) / len(ordered)
    return float(max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()) * np.sqrt(len(ordered)))


def test_draws_are_uniform_in_area_and_place_and_log_uniform_in_aspect() -> None:
    rng = np.random.default_rng(0)
    side, area, aspect = 1000, (0.1, 0.6), (0.7, 1.5)  # every such crop fits
    draws = [draw_geometry(side, side, area, aspect, 0.3, rng) for _ in range(4000)]
    x1, y1, x2, y2 = np.array([draw.box for draw in draws], dtype=float).T
    width, height = x2 - x1, y2 - y1
    share = (width * height / side**2 - area[0]) / (area[1] - area[0])
    ratio = np.log(width / height / aspect[0]) / np.log(aspect[1] / aspect[0])
    for values in (share, ratio, x1 / (side - width), y1 / (side - height)):
        assert distance_from_uniform(np.clip(values, 0, 1)) < 1.95
    flipped = np.array([draw.flip for draw in draws])
    assert abs(flipped.mean() - 0.3) < 0.03
    independent = np.corrcoef([share, ratio, x1 / (side - width), y1 / (side - height), flipped])
    assert np.abs(independent - np.eye(5)).max() < 0.06


def test_draws_reach_every_edge() -> None:
    rng = np.random.default_rng(1)
    boxes = np.array([draw_geometry(8, 8, (0.4, 0.9), (0.8, 1.2), 0.5, rng).box for _ in range(500)])
    assert boxes.min(0)[:2].tolist() == [0, 0]
    assert boxes.max(0)[2:].tolist() == [8, 8]


@pytest.mark.parametrize(
    ("aspect", "boxes"),
    [(2.0, {(0, y, 8, y + 4) for y in range(5)}), (0.5, {(x, 0, x + 4, 8) for x in range(5)})],
)
def test_crops_as_long_as_the_frame_fit_and_slide_along_it(
    aspect: float, boxes: set[tuple[int, int, int, int]]
) -> None:
    rng = np.random.default_rng(6)
    assert {draw_geometry(8, 8, (0.5, 0.5), (aspect, aspect), 0, rng).box for _ in range(200)} == boxes


def test_draws_that_do_not_fit_are_tried_again() -> None:
    rng = np.random.default_rng(7)
    boxes = [draw_geometry(100, 100, (0.5, 0.99), ASPECT, 0, rng).box for _ in range(500)]
    assert boxes.count((0, 0, 100, 100)) < 5  # one in three does not fit at once


@pytest.mark.parametrize(("flip", "expected"), [(0.0, {False}), (1.0, {True})])
def test_flip_is_never_or_always_drawn(flip: float, expected: set[bool]) -> None:
    rng = np.random.default_rng(2)
    assert {draw_geometry(9, 9, (0.2, 1.0), ASPECT, flip, rng).flip for _ in range(200)} == expected


@pytest.mark.parametrize("aspect", [ASPECT, (1.0, 1.0), (0.1, 0.4), (3.0, 8.0)])
@pytest.mark.parametrize(("height", "width"), [(1, 200), (200, 1), (1, 1), (2, 3), (240, 320), (37, 29)])
def test_boxes_lie_within_any_frame_and_can_be_cut_out(
    height: int, width: int, aspect: tuple[float, float]
) -> None:
    rng = np.random.default_rng(3)
    frames = noise(2, height, width, 3)
    for draw in range(100):
        geometry = draw_geometry(height, width, (0.05, 1.0), aspect, 0.5, rng)
        x1, y1, x2, y2 = geometry.box
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
        if draw % 20 == 0:
            assert crop_resize(frames, geometry, 16).shape == (2, 16, 16, 3)


@pytest.mark.parametrize(
    ("height", "width", "aspect", "box"),
    [
        (10, 200, (3 / 4, 4 / 3), (93, 0, 106, 10)),  # 13 = 10 · 4/3 wide
        (200, 10, (3 / 4, 4 / 3), (0, 93, 10, 106)),  # 13 = 10 / (3/4) high
        (100, 100, (0.5, 0.6), (20, 0, 80, 100)),
        (100, 100, (1.8, 2.0), (0, 22, 100, 78)),  # 56 = 100 / 1.8 high
        (60, 90, (1.6, 1.7), (0, 2, 90, 58)),
    ],
)
def test_the_largest_allowed_central_crop_is_taken_where_none_fits(
    height: int, width: int, aspect: tuple[float, float], box: tuple[int, int, int, int]
) -> None:
    rng = np.random.default_rng(4)
    assert {draw_geometry(height, width, (0.99, 1.0), aspect, 0, rng).box for _ in range(20)} == {box}


@pytest.mark.parametrize(
    ("height", "width", "box"), [(4, 9, (2, 0, 6, 4)), (9, 4, (0, 2, 4, 6)), (5, 5, (0, 0, 5, 5))]
)
def test_centre_square(height: int, width: int, box: tuple[int, int, int, int]) -> None:
    assert centre_square(height, width) == Geometry(box, flip=False)


def test_all_frames_of_a_clip_are_treated_alike() -> None:
    frames = noise(3, 23, 31, 3, seed=5)
    geometry = Geometry((3, 2, 27, 20), True)
    together = crop_resize(frames, geometry, 8)
    for frame, got in zip(frames, together, strict=True):
        np.testing.assert_array_equal(crop_resize(frame[None], geometry, 8)[0], got)
