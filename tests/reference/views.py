"""Crops, colours and blur in float64, pixel by pixel, from their definitions."""

import cmath
import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def axis_weights(source: int, target: int) -> Array:
    """(target, source): row i weighs the source pixels of one axis for output pixel i.

    Pixel j covers [j, j + 1]. The filter is a triangle about the output pixel's centre that reaches one
    output pixel to either side when scaling down, one source pixel when scaling up; borders cut it off.
    """
    scale = source / target
    reach = max(scale, 1.0)
    weights = np.zeros((target, source))
    for i in range(target):
        centre = (i + 0.5) * scale
        for j in range(source):
            weights[i, j] = max(0.0, 1 - abs(j + 0.5 - centre) / reach)
        weights[i] /= weights[i].sum()
    return weights


def resized(frame: NDArray[np.uint8], size: int) -> Array:
    """(H, W, 3) → (size, size, 3), 0–255 without rounding."""
    height, width, _ = frame.shape
    down, across = axis_weights(height, size), axis_weights(width, size)
    out = np.zeros((size, size, 3))
    for y in range(size):
        for x in range(size):
            weights = np.outer(down[y], across[x])
            out[y, x] = (weights[:, :, None] * frame).sum((0, 1))
    return out


def luma(rgb: Array) -> float:
    return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]


def brightness(rgb: Array, factor: float) -> Array:
    return rgb * factor


def contrast(rgb: Array, factor: float) -> Array:
    return 0.5 + factor * (rgb - 0.5)


def saturation(rgb: Array, factor: float) -> Array:
    grey = luma(rgb)
    return np.array([grey + factor * (channel - grey) for channel in rgb])


def hue(rgb: Array, turns: float) -> Array:
    """A turn of I + iQ. That is V + iU turned by 33°, so the same turn acts on V + iU (analogue television)."""
    grey = luma(rgb)
    v, u = 0.877283 * (rgb[0] - grey), 0.492111 * (rgb[2] - grey)
    turned = complex(v, u) * cmath.exp(2j * math.pi * turns)
    red, blue = grey + turned.real / 0.877283, grey + turned.imag / 0.492111
    return np.array([red, (grey - 0.299 * red - 0.114 * blue) / 0.587, blue])


def affine(frames: Array, matrix: Array) -> Array:
    """Every pixel of (..., 3) in [0, 1] by a (3, 4) matrix, cut to [0, 1]."""
    out = np.zeros_like(frames)
    for place in np.ndindex(frames.shape[:-1]):
        for channel in range(3):
            value = matrix[channel, 3]
            for other in range(3):
                value += matrix[channel, other] * frames[(*place, other)]
            out[(*place, channel)] = min(max(value, 0.0), 1.0)
    return out


def blurred(plane: Array, sigma: float, width: int) -> Array:
    """Gaussian blur of (H, W) by a square window; beyond the border the plane goes on mirrored at its edge pixel."""
    height, length = plane.shape
    half = width // 2
    window = np.array(
        [
            [math.exp(-(dx * dx + dy * dy) / (2 * sigma * sigma)) for dx in range(-half, half + 1)]
            for dy in range(-half, half + 1)
        ]
    )
    window /= window.sum()
    out = np.zeros_like(plane)
    for y in range(height):
        for x in range(length):
            for dy in range(-half, half + 1):
                for dx in range(-half, half + 1):
                    value = plane[_mirrored(y + dy, height), _mirrored(x + dx, length)]
                    out[y, x] += window[dy + half, dx + half] * value
    return out


def _mirrored(place: int, length: int) -> int:
    if place < 0:
        return -place
    return 2 * (length - 1) - place if place >= length else place
