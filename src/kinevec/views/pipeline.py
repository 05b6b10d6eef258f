"""From the frames of a clip to a view, in two halves: on the host in uint8, on the device in floats."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinevec.config import Views
from kinevec.views.color import Color, color_batch, color_uint8, draw_color, normalise
from kinevec.views.geometry import centre_square, crop_resize, draw_geometry


@dataclass(frozen=True)
class View:
    """A view of one clip as it leaves a worker.

    Attributes:
        frames: uint8 (T, S, S, 3).
        box: (x1, y1, x2, y2) as shares of the source frame, x swapped where flipped.
        color: the drawn colour change.
    """

    frames: NDArray[np.uint8]
    box: tuple[float, float, float, float]
    color: Color


def random_view(
    frames: NDArray[np.uint8], size: int, views: Views, rng: np.random.Generator, *, color_here: bool
) -> View:
    """Draws and makes a view of a clip.

    Args:
        frames: uint8 (T, H, W, 3).
        size: side of the view in pixels.
        color_here: apply the colour change now, in uint8; else it is only drawn, for `finish_batch`.
    """
    _, height, width, _ = frames.shape
    geometry = draw_geometry(height, width, views.area, views.aspect, views.flip, rng)
    color = draw_color(views, rng)
    view = crop_resize(frames, geometry, size)
    if color_here:
        view = color_uint8(view, color)
    return View(view, geometry.normalised(height, width), color)


def centre_view(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The central square of a clip at `size`, nothing random: uint8 (T, H, W, 3) → (T, size, size, 3)."""
    _, height, width, _ = frames.shape
    return crop_resize(frames, centre_square(height, width), size)


def finish_batch(
    clips: Tensor, views: Views, matrix: Tensor | None = None, sigma: Tensor | None = None
) -> Tensor:
    """Turns uint8 clips into the encoder's input on the device they lie on.

    Args:
        clips: uint8 (N, T, H, W, 3).
        matrix: (N, 3, 4) and
        sigma: (N,), colour changes still to be applied; None where the workers did it.

    Returns:
        float32 (N, 3, T, H, W), normalised, channels last in memory.
    """
    floats = clips.permute(0, 4, 1, 2, 3).to(torch.float32).div_(255)
    if matrix is not None and sigma is not None:
        floats = color_batch(floats, matrix, sigma)
    return normalise(floats, views).contiguous(memory_format=torch.channels_last_3d)
