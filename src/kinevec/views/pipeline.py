"""From the frames of a clip to a view, in two halves: on the host in uint8, on the device in floats."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinevec.config import Views
from kinevec.motion.color import flow_image
from kinevec.motion.difference import frame_difference
from kinevec.views.color import Color, color_batch, color_uint8, draw_color, normalise
from kinevec.views.geometry import Geometry, centre_square, crop_resize, draw_geometry

FLOW_EVERY = 2  # frames: MSCL's flow branch looks at no other (see kinevec.models.flownet)


@dataclass(frozen=True)
class View:
    """A view of one clip as it leaves a worker.

    Attributes:
        frames: uint8 (T, S, S, 3), with the colour change where the worker applies it.
        plain: the same without the colour change.
        geometry: what was cut out, and whether it was mirrored.
        box: (x1, y1, x2, y2) as shares of the source frame, x swapped where flipped.
        color: the drawn colour change.
    """

    frames: NDArray[np.uint8]
    plain: NDArray[np.uint8]
    geometry: Geometry
    box: tuple[float, float, float, float]
    color: Color


@dataclass(frozen=True)
class Clips:
    """What a method sees of N videos: two clips of each, and their motion where a term asks for it.

    Attributes:
        rgb: two clips, (N, 3, T, H, W), coloured and normalised.
        boxes: their crops, two of (N, 4), as shares of the source frame, x1 > x2 where flipped.
        angles: by which MSCL rotates their flow, two of (N,), in radians.
        difference: frame differences of the same two crops, (N, 3, T, H, W), coloured and normalised; or none.
        flow: optical flow of the same two crops, (N, 2, T, H, W), in pixels of the crop; or none. Of every
            `FLOW_EVERY`-th frame alone where only MSCL wants it.
        local: for each of the two, its local clips in order of time: differences or flow; or none.
    """

    rgb: Sequence[Tensor]
    boxes: Sequence[Tensor] = ()
    angles: Sequence[Tensor] = ()
    difference: Sequence[Tensor] = ()
    flow: Sequence[Tensor] = ()
    local: Sequence[Sequence[Tensor]] = ()


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
    plain = crop_resize(frames, geometry, size)
    view = color_uint8(plain, color) if color_here else plain
    return View(view, plain, geometry, geometry.normalised(height, width), color)


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
        matrix: (N, 3, 4), colour changes still to be applied; None where the workers did it.
        sigma: (N,), blur likewise; None where there is none.

    Returns:
        float32 (N, 3, T, H, W), normalised, channels last in memory.
    """
    return _color_and_normalise(_floats(clips), views, matrix, sigma)


def finish_difference(
    clips: Tensor, views: Views, matrix: Tensor | None = None, sigma: Tensor | None = None
) -> Tensor:
    """Frame differences of uint8 clips, with colour changes of their own; as `finish_batch` otherwise."""
    return _color_and_normalise(frame_difference(_floats(clips)), views, matrix, sigma)


def paint_flow(flow: Tensor, views: Views) -> Tensor:
    """Flow images as an encoder's input: flow (N, 2, T, H, W) in pixels → float32 (N, 3, T, H, W)."""
    return _color_and_normalise(flow_image(flow), views)


def _floats(clips: Tensor) -> Tensor:
    """uint8 (N, T, H, W, 3) → float32 (N, 3, T, H, W) in [0, 1]."""
    return clips.permute(0, 4, 1, 2, 3).to(torch.float32).div_(255)


def _color_and_normalise(
    clips: Tensor, views: Views, matrix: Tensor | None = None, sigma: Tensor | None = None
) -> Tensor:
    if matrix is not None:
        clips = color_batch(clips, matrix, sigma)
    return normalise(clips, views).contiguous(memory_format=torch.channels_last_3d)
