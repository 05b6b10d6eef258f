"""Random resized crop and flip of a clip in one resampling, with the box remembered.

A box is (x1, y1, x2, y2) in whole pixels of the source frame, x2 and y2 exclusive. Where the clip was
flipped its normalised box has x1 and x2 swapped, so that a position in the clip always maps linearly
to a position in the source (FIMA §2).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Box = tuple[int, int, int, int]

ATTEMPTS = 10  # to draw a crop that fits, before the largest allowed central one is taken


@dataclass(frozen=True)
class Geometry:
    """One draw: which part of the frame, and whether mirrored."""

    box: Box
    flip: bool

    def normalised(self, height: int, width: int) -> tuple[float, float, float, float]:
        """The box as shares of the source frame; x1 > x2 where the clip is flipped."""
        x1, y1, x2, y2 = self.box
        if self.flip:
            x1, x2 = x2, x1
        return x1 / width, y1 / height, x2 / width, y2 / height


def draw_geometry(
    height: int,
    width: int,
    area: tuple[float, float],
    aspect: tuple[float, float],
    flip: float,
    rng: np.random.Generator,
) -> Geometry:
    """Draws a crop whose area is a uniform share of the frame and whose aspect is log-uniform, and a flip.

    Args:
        height, width: of the source frame in pixels.
        area: lowest and highest share of the frame's area.
        aspect: lowest and highest width over height.
        flip: probability.
    """
    box: Box | None = None
    for _ in range(ATTEMPTS):
        pixels = height * width * rng.uniform(*area)
        ratio = math.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1])))
        w, h = (max(1, round(math.sqrt(side))) for side in (pixels * ratio, pixels / ratio))
        if w <= width and h <= height:
            x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            box = (x, y, x + w, y + h)
            break
    return Geometry(box or _largest_central(height, width, aspect), bool(rng.random() < flip))


def centre_square(height: int, width: int) -> Geometry:
    """The largest central square, not flipped: the view of the evaluation protocols (METHODS §3)."""
    side = min(height, width)
    x, y = (width - side) // 2, (height - side) // 2
    return Geometry((x, y, x + side, y + side), flip=False)


def crop_resize(frames: NDArray[np.uint8], geometry: Geometry, size: int) -> NDArray[np.uint8]:
    """Cuts the box out of every frame, scales it to a square and mirrors it.

    Bilinear with antialiasing: going down by a factor s, each pixel is a triangle-weighted mean over 2s.

    Args:
        frames: uint8 (T, H, W, 3).

    Returns:
        uint8 (T, size, size, 3).
    """
    x1, y1, x2, y2 = geometry.box
    part = torch.from_numpy(frames[:, y1:y2, x1:x2]).permute(0, 3, 1, 2)  # N C H W, channels last in memory
    if (y2 - y1, x2 - x1) != (size, size):
        part = F.interpolate(part, (size, size), mode="bilinear", antialias=True, align_corners=False)
    result: NDArray[np.uint8] = part.permute(0, 2, 3, 1).numpy()
    return np.ascontiguousarray(result[:, :, ::-1] if geometry.flip else result)


def cell_to_source(point: Tensor, box: Tensor) -> Tensor:
    """Maps positions within clips to positions within the source frames.

    Args:
        point: (..., 2), x and y as shares of the clip, 0 at the left or top edge.
        box: (..., 4), normalised boxes.

    Returns:
        (..., 2), x and y as shares of the source frame.
    """
    corner, opposite = box[..., :2], box[..., 2:]
    return corner + point * (opposite - corner)


def _largest_central(height: int, width: int, aspect: tuple[float, float]) -> Box:
    ratio = min(max(width / height, aspect[0]), aspect[1])
    w = min(width, max(1, round(height * ratio)))
    h = min(height, max(1, round(width / ratio)))
    x, y = (width - w) // 2, (height - h) // 2
    return x, y, x + w, y + h
