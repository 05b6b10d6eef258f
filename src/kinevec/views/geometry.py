"""Random resized crop and flip of a clip in one resampling, with the box remembered.

A box is (x1, y1, x2, y2) in whole pixels of the source frame, x2 and y2 exclusive. Where the clip was
flipped its normalised box has x1 and x2 swapped, so that a position in the clip always maps linearly
to a position in the source (FIMA, arXiv:2309.00297).
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

Box = tuple[int, int, int, int]

LARGE = 4  # times the side of a view: larger frames are scaled down while they are decoded
NEARLY = 1e-6  # of a pixel: a box that ends so close to a pixel's edge ends on it
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
    """The largest central square, not flipped: the view of the evaluation protocols (docs/evaluation.md)."""
    side = min(height, width)
    x, y = (width - side) // 2, (height - side) // 2
    return Geometry((x, y, x + side, y + side), flip=False)


def decode_size(height: int, width: int, side: int) -> tuple[int, int] | None:
    """A size (height, width) to decode frames to from which views of `side` pixels are cut; None: as they are.

    Frames whose short side is more than `LARGE` times the view's are scaled down while they are decoded, so that a
    video fits into memory.
    """
    scale = LARGE * side / min(height, width)
    return (math.ceil(height * scale), math.ceil(width * scale)) if scale < 1 else None


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
    result: NDArray[np.uint8] = np.ascontiguousarray(part.permute(0, 2, 3, 1).numpy())
    if geometry.flip:  # all frames as one tall image: 35 times faster than a copy of a reversed view
        result = np.asarray(cv2.flip(result.reshape(-1, size, 3), 1), np.uint8).reshape(result.shape)
    return result


def crop_resize_flow(
    flow: NDArray[np.float32], geometry: Geometry, frame: tuple[int, int], size: int
) -> NDArray[np.float32]:
    """Does to optical flow what `crop_resize` does to the frames that it goes between.

    The field is resampled in the same way, and its vectors are scaled by the resize and mirrored by the flip.
    It may be smaller than the frames: then the box falls between its pixels, and is not rounded to them.

    Args:
        flow: (T, 2, h, w), u to the right and v down in its own pixels.
        geometry: its box is in pixels of the frames.
        frame: height and width of the frames.

    Returns:
        (T, 2, size, size) in pixels of the finished clip.
    """
    height, width = flow.shape[2:]
    x1, y1, x2, y2 = geometry.box
    rows, down = _resampling(y1 * height / frame[0], y2 * height / frame[0], height, size)
    columns, across = _resampling(x1 * width / frame[1], x2 * width / frame[1], width, size)
    # In the units of the clip, and from the right where it is mirrored, by the same product.
    u = size / (x2 - x1) * frame[1] / width
    v = size / (y2 - y1) * frame[0] / height
    if geometry.flip:
        u, across = -u, across[::-1].copy()
    part = torch.from_numpy(flow[:, :, rows, columns])
    result = torch.from_numpy(down) @ (part @ torch.from_numpy(across.T))
    scaled: NDArray[np.float32] = result.mul_(torch.tensor([u, v])[:, None, None]).numpy()
    return scaled


def _largest_central(height: int, width: int, aspect: tuple[float, float]) -> Box:
    ratio = min(max(width / height, aspect[0]), aspect[1])
    w = min(width, max(1, round(height * ratio)))
    h = min(height, max(1, round(width / ratio)))
    x, y = (width - w) // 2, (height - h) // 2
    return x, y, x + w, y + h


def _resampling(start: float, end: float, pixels: int, size: int) -> tuple[slice, NDArray[np.float32]]:
    """How a stretch of an axis is resampled: the pixels it touches, and their weights (size, touched).

    Pixel j covers j to j + 1. A triangle about the centre of each target pixel reaches one target pixel to
    either side when scaling down, one source pixel when scaling up; the stretch's end pixels cut it off.
    """
    first, last = math.floor(start + NEARLY), math.ceil(end - NEARLY)
    scale = (end - start) / size
    centres = start + (np.arange(size) + 0.5) * scale
    distance = np.abs(np.arange(first, last) + 0.5 - centres[:, None]) / max(scale, 1.0)
    weights = np.maximum(1 - distance, 0)
    weights /= weights.sum(axis=1, keepdims=True)
    return slice(first, min(last, pixels)), weights.astype(np.float32)
