"""Crops and flips of flow: against a plain resampling, closed forms, and the flow of cropped frames."""

import numpy as np
import pytest
from numpy.typing import NDArray

from kinevec.motion.flow import optical_flow
from kinevec.views.geometry import Geometry, crop_resize, crop_resize_flow
from reference import flow as oracle
from reference.textures import Motion, moving_texture

FRAME = (80, 120)  # height and width of the frames


def noise(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def shares(geometry: Geometry, frame: tuple[int, int] = FRAME) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = geometry.box
    return x1 / frame[1], y1 / frame[0], x2 / frame[1], y2 / frame[0]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shape", [(80, 120), (40, 60), (32, 49), (160, 240)])
@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((0, 0, 120, 80), 16),  # down
        ((31, 7, 45, 23), 16),  # up
        ((3, 11, 118, 24), 16),  # down in x, up in y
        ((7, 2, 23, 18), 16),  # as it is
        ((119, 79, 120, 80), 4),  # the last pixel
        ((50, 0, 51, 1), 4),
    ],
)
def test_equals_the_oracle(
    shape: tuple[int, int], box: tuple[int, int, int, int], size: int, flip: bool
) -> None:
    flow = noise(2, 2, *shape)
    before = flow.copy()
    got = crop_resize_flow(flow, Geometry(box, flip), FRAME, size)
    expected = [oracle.cropped(field, shares(Geometry(box, False)), flip, size) for field in flow]
    assert got.shape == (2, 2, size, size)
    assert got.dtype == np.float32
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(got, expected, atol=2e-6 * scale)
    np.testing.assert_array_equal(flow, before)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("box", [(0, 0, 120, 80), (3, 11, 118, 24), (40, 30, 56, 46)])
def test_is_resampled_as_the_frames_are(box: tuple[int, int, int, int], flip: bool) -> None:
    """On the frames' own grid, u and v of a field are two channels of an image."""
    image = np.random.default_rng(0).integers(0, 256, (1, *FRAME, 3), dtype=np.uint8)
    flow = image[..., :2].transpose(0, 3, 1, 2).astype(np.float32)
    geometry = Geometry(box, flip)
    scale = np.array([16 / (box[2] - box[0]), 16 / (box[3] - box[1])]) * [-1 if flip else 1, 1]
    got = crop_resize_flow(flow, geometry, FRAME, 16) / scale[:, None, None]
    assert np.abs(got[0] - crop_resize(image, geometry, 16)[0, ..., :2].transpose(2, 0, 1)).max() <= 1.05


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shape", [(80, 120), (40, 60), (33, 50)])
def test_constant_flow_stays_constant_times_the_scale(shape: tuple[int, int], flip: bool) -> None:
    flow = np.empty((3, 2, *shape), np.float32)
    flow[:, 0], flow[:, 1] = 3.0, -2.0
    got = crop_resize_flow(flow, Geometry((20, 8, 100, 40), flip), FRAME, 16)
    u = 3.0 * 16 / (80 * shape[1] / 120) * (-1 if flip else 1)  # pixels of the clip in one of the flow
    v = -2.0 * 16 / (32 * shape[0] / 80)
    np.testing.assert_allclose(got[:, 0], u, rtol=1e-6)
    np.testing.assert_allclose(got[:, 1], v, rtol=1e-6)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shape", [(80, 120), (33, 50), (160, 250)])
@pytest.mark.parametrize("box", [(20, 8, 100, 40), (51, 33, 67, 41), (0, 0, 120, 80)])
def test_a_linear_field_is_linear_in_the_clip(
    box: tuple[int, int, int, int], shape: tuple[int, int], flip: bool
) -> None:
    """Where u = x and v = y, the vectors tell from which place they come: the right one, if enlarged.

    A triangle that scales down weighs the pixels on its two sides a little unevenly, as it does for frames.
    """
    height, width = shape
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    size = 16
    x1, y1, x2, y2 = box
    got = crop_resize_flow(np.stack([x, y])[None].astype(np.float32), Geometry(box, flip), FRAME, size)[
        0
    ].astype(np.float64)
    scale = np.array([(x2 - x1) * width / 120, (y2 - y1) * height / 80]) / size  # pixels of the flow in one
    place = got * scale[:, None, None] * np.array([-1 if flip else 1, 1])[:, None, None]
    centres = (np.arange(size) + 0.5) / size
    expected = np.stack(
        np.meshgrid(
            (x1 + (x2 - x1) * (1 - centres if flip else centres)) * width / 120,
            (y1 + (y2 - y1) * centres) * height / 80,
        )
    )
    # At the edge of the box the filter is cut off, and the motion is that of a place further in.
    rim = 1 + int(np.ceil((1 / scale).max()))
    inner = np.abs(place - expected)[:, rim : size - rim, rim : size - rim]
    for axis in range(2):
        assert inner[axis].max() < (1e-4 if scale[axis] <= 1 else 0.09)  # pixels of the flow


def test_flips_undo_each_other() -> None:
    flow = noise(2, 2, 40, 60)
    whole = Geometry((0, 0, 120, 80), True)
    once = crop_resize_flow(flow[..., :40], Geometry((0, 0, 40, 40), True), (40, 40), 40)
    np.testing.assert_allclose(once[:, 0], -flow[:, 0, :, 39::-1], rtol=1e-6)
    np.testing.assert_allclose(once[:, 1], flow[:, 1, :, 39::-1], rtol=1e-6)
    mirrored = np.stack([-flow[:, 0], flow[:, 1]], 1)[..., ::-1].copy()
    np.testing.assert_allclose(
        crop_resize_flow(flow, whole, FRAME, 24),
        crop_resize_flow(mirrored, Geometry(whole.box, False), FRAME, 24),
        atol=1e-6,
    )


def error(flow: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Mean end-point error in pixels, away from the border, where textures come into view."""
    return float(np.hypot(*(flow - other)[:, :, 8:-8, 8:-8].transpose(1, 0, 2, 3)).mean())


@pytest.fixture(scope="module")
def texture() -> NDArray[np.uint8]:
    """Frames (2, 3, 96, 144) whose texture shifts, turns and grows."""
    return moving_texture(Motion(shift=(2.5, -1.5), turn=0.03, growth=1.02), 2, (96, 144), 1)[0]


def test_flow_of_flipped_frames_is_the_flipped_flow(texture: NDArray[np.uint8]) -> None:
    whole = Geometry((0, 0, 96, 96), True)
    square = np.ascontiguousarray(texture[..., :96])
    flow = crop_resize_flow(optical_flow(square, 1), whole, (96, 96), 96)
    assert error(optical_flow(np.ascontiguousarray(square[..., ::-1]), 1), flow) < 0.05


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("box", "size", "bound"),
    [((0, 0, 144, 96), 64, 0.1), ((20, 10, 116, 90), 64, 0.1), ((50, 20, 114, 84), 96, 0.25)],
)
def test_flow_of_cropped_and_resized_frames_is_the_cropped_and_resized_flow(
    texture: NDArray[np.uint8], box: tuple[int, int, int, int], size: int, bound: float, flip: bool
) -> None:
    """Up to the errors of computing flow twice, on other pixels."""
    geometry = Geometry(box, flip)
    flow = crop_resize_flow(optical_flow(texture, 1), geometry, (96, 144), size)
    clip = crop_resize(np.ascontiguousarray(texture.transpose(0, 2, 3, 1)), geometry, size)
    assert error(optical_flow(np.ascontiguousarray(clip.transpose(0, 3, 1, 2)), 1), flow) < bound


@pytest.mark.parametrize("flip", [False, True])
def test_flow_of_smaller_frames_serves_as_well(texture: NDArray[np.uint8], flip: bool) -> None:
    """Flow computed on half-size frames lands on the same places of the clip."""
    import cv2

    small = np.stack(
        [cv2.resize(f.transpose(1, 2, 0), (72, 48), interpolation=cv2.INTER_AREA) for f in texture]
    )
    geometry = Geometry((21, 11, 116, 90), flip)
    coarse = optical_flow(np.ascontiguousarray(small.transpose(0, 3, 1, 2)), 1)
    flow = crop_resize_flow(optical_flow(texture, 1), geometry, (96, 144), 64)
    assert error(crop_resize_flow(coarse, geometry, (96, 144), 64), flow) < 0.1
