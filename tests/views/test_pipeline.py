"""Views are repeatable, remember their box, and do not depend on where their colour is changed."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kinevec.config import Views
from kinevec.views.color import color_uint8
from kinevec.views.geometry import Geometry, crop_resize
from kinevec.views.pipeline import (
    View,
    centre_view,
    finish_batch,
    finish_difference,
    paint_flow,
    random_view,
)
from reference import motion as painting
from reference import views as reference

FRAMES: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (3, 30, 44, 3), dtype=np.uint8)
PLAIN = Views(jitter=0, grayscale=0, blur=0)
ALWAYS = Views(jitter=1, blur=1)
# In uint8, of 255: see test_color.py.
ROUNDING = 0.5 + (3 * 255 + 1) / 2048 + 0.5


def draw(seed: int, views: Views = ALWAYS, *, color_here: bool = True) -> View:
    return random_view(FRAMES, 24, views, np.random.default_rng(seed), color_here=color_here)


def pixel_box(view: View) -> Geometry:
    """The crop, read from the normalised box."""
    x1, y1, x2, y2 = np.round(np.array(view.box) * [44, 30, 44, 30]).astype(int).tolist()
    return Geometry((min(x1, x2), y1, max(x1, x2), y2), flip=x1 > x2)


def test_a_view_comes_from_the_generator_alone() -> None:
    one, again, other = draw(1), draw(1), draw(2)
    np.testing.assert_array_equal(one.frames, again.frames)
    np.testing.assert_array_equal(one.color.matrix, again.color.matrix)
    assert one.box == again.box
    assert one.color.sigma == again.color.sigma
    assert one.box != other.box
    assert not np.array_equal(one.color.matrix, other.color.matrix)


@pytest.mark.parametrize("seed", range(6))
def test_the_box_is_where_the_view_was_cut(seed: int) -> None:
    view = draw(seed, PLAIN)
    assert view.frames.shape == (3, 24, 24, 3)
    np.testing.assert_array_equal(view.frames, crop_resize(FRAMES, pixel_box(view), 24))


def test_both_flips_are_seen() -> None:
    assert {pixel_box(draw(seed)).flip for seed in range(12)} == {False, True}


@pytest.mark.parametrize("seed", range(6))
def test_colour_is_the_same_draw_wherever_it_is_applied(seed: int) -> None:
    here, later = draw(seed, color_here=True), draw(seed, color_here=False)
    assert here.box == later.box
    np.testing.assert_array_equal(here.color.matrix, later.color.matrix)
    np.testing.assert_array_equal(later.frames, crop_resize(FRAMES, pixel_box(later), 24))
    np.testing.assert_array_equal(here.frames, color_uint8(later.frames, later.color))
    for view in (here, later):  # without colour in both, and cut in the same way
        np.testing.assert_array_equal(view.plain, later.frames)
        assert view.geometry == pixel_box(view)


def test_worker_and_device_give_the_same_input_to_the_encoder() -> None:
    here = [draw(seed, color_here=True) for seed in range(8)]
    later = [draw(seed, color_here=False) for seed in range(8)]
    worker = finish_batch(torch.from_numpy(np.stack([view.frames for view in here])), ALWAYS)
    device = finish_batch(
        torch.from_numpy(np.stack([view.frames for view in later])),
        ALWAYS,
        torch.tensor(np.stack([view.color.matrix for view in later]), dtype=torch.float32),
        torch.tensor([view.color.sigma for view in later]),
    )
    std = torch.tensor(ALWAYS.std)[:, None, None, None]
    assert float((255 * std * (worker - device)).abs().max()) <= ROUNDING + 0.01


def test_settings_reach_the_draw() -> None:
    square = FRAMES[:, :, :30]
    whole = Views(area=(1, 1), aspect=(1, 1), flip=0, jitter=0, grayscale=0, blur=0)
    rng = np.random.default_rng(3)
    view = random_view(square, 30, whole, rng, color_here=True)
    np.testing.assert_array_equal(view.frames, square)
    mirrored = Views(area=(1, 1), aspect=(1, 1), flip=1, jitter=0, grayscale=0, blur=0)
    view = random_view(square, 30, mirrored, rng, color_here=True)
    np.testing.assert_array_equal(view.frames, square[:, :, ::-1])
    assert view.box == (1, 0, 0, 1)
    tall = Views(area=(0.5, 0.5), aspect=(0.5, 0.5), flip=0)  # of 30 × 30: 15 wide, 30 high
    x1, y1, x2, y2 = random_view(square, 30, tall, rng, color_here=True).box
    assert (x2 - x1, y1, y2) == (pytest.approx(0.5), 0, 1)


def test_centre_view_is_the_scaled_central_square() -> None:
    got = centre_view(FRAMES, 16)
    expected = np.stack([reference.resized(frame[:, 7:37], 16) for frame in FRAMES])
    assert got.shape == (3, 16, 16, 3)
    assert np.abs(got - expected).max() <= 1.05


def test_finish_batch_normalises_every_channel_by_its_own_numbers() -> None:
    views = Views(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    clips = torch.randint(
        0, 256, (2, 3, 5, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    before = clips.clone()
    got = finish_batch(clips, views)
    assert got.shape == (2, 3, 3, 5, 4)
    assert got.dtype == torch.float32
    assert got.is_contiguous(memory_format=torch.channels_last_3d)
    for n, t, y, x, c in np.ndindex(2, 3, 5, 4, 3):
        expected = (int(clips[n, t, y, x, c]) / 255 - views.mean[c]) / views.std[c]
        assert float(got[n, c, t, y, x]) == pytest.approx(expected, abs=1e-5)
    assert torch.equal(clips, before)


def test_finish_batch_with_colour_is_channels_last_too() -> None:
    clips = torch.zeros(2, 3, 24, 24, 3, dtype=torch.uint8)
    matrix = torch.eye(3, 4).repeat(2, 1, 1)
    matrix[1, :, 3] = 0.5
    got = finish_batch(clips, Views(mean=(0, 0, 0), std=(1, 1, 1)), matrix, torch.ones(2))
    assert got.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(got[0], torch.zeros(3, 3, 24, 24))
    torch.testing.assert_close(got[1], torch.full((3, 3, 24, 24), 0.5))


def test_differences_are_taken_before_colours_are_changed() -> None:
    """Colour changes are affine with an offset, and act on 0.5 for no motion, as FIMA has it."""
    clips = torch.randint(
        0, 256, (2, 3, 24, 24, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    matrix = torch.eye(3, 4).repeat(2, 1, 1)
    matrix[1] = torch.tensor([[0.5, 0.2, 0.0, 0.1], [0.0, 0.7, 0.1, 0.0], [0.3, 0.0, 0.4, 0.2]])
    plain = Views(mean=(0, 0, 0), std=(1, 1, 1))
    expected = painting.frame_difference(clips.double().numpy().transpose(0, 4, 1, 2, 3) / 255)
    np.testing.assert_allclose(finish_difference(clips, plain).numpy(), expected, atol=1e-6)
    turned = np.stack(
        [
            reference.affine(one.transpose(1, 2, 3, 0), m.double().numpy()).transpose(3, 0, 1, 2)
            for one, m in zip(expected, matrix, strict=True)
        ]
    )
    got = finish_difference(clips, plain, matrix)
    assert got.is_contiguous(memory_format=torch.channels_last_3d)
    np.testing.assert_allclose(got.numpy(), turned, atol=1e-6)
    assert not np.allclose(finish_difference(clips, plain, matrix, torch.full((2,), 2.0)), got, atol=0.01)


def test_flow_is_painted_and_normalised_and_never_coloured() -> None:
    views = Views(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    flow = torch.randn(2, 2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    images = np.stack([painting.flow_image(one.permute(1, 2, 3, 0).double().numpy()) for one in flow]) / 255
    got = paint_flow(flow, views)
    assert got.dtype == torch.float32
    assert got.is_contiguous(memory_format=torch.channels_last_3d)
    expected = ((images - views.mean) / views.std).transpose(0, 4, 1, 2, 3)
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-4)
