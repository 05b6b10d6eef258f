"""Colour changes of a clip as one 3×4 matrix, and blur; both from parameters drawn once per clip.

Brightness, contrast about mid-grey, saturation, hue (a rotation in YIQ) and grayscale are all affine in
RGB, so any sequence of them is a single matrix. It can be applied to uint8 frames in a loader worker
(`color_uint8`) or to a batch on the device (`color_batch`); the two agree to within rounding.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from kinevec.config import Views

LUMA = np.array([0.299, 0.587, 0.114])
TO_YIQ = np.array([LUMA, [0.59590059, -0.27455667, -0.32134392], [0.21153661, -0.52273617, 0.31119955]])
FROM_YIQ = np.linalg.inv(TO_YIQ)
IDENTITY = np.eye(3, 4)


@dataclass(frozen=True)
class Color:
    """One draw: `out = matrix[:, :3] @ rgb + matrix[:, 3]` for RGB in [0, 1], then blur with `sigma`.

    Attributes:
        matrix: float64 (3, 4).
        sigma: standard deviation of the blur in pixels; 0 for none.
    """

    matrix: NDArray[np.float64]
    sigma: float


def draw_color(views: Views, rng: np.random.Generator) -> Color:
    """Draws jitter (its four parts in random order), grayscale and blur with the configured odds."""
    matrix = IDENTITY
    if rng.random() < views.jitter:
        factors = [
            brightness(_factor(views.brightness, rng)),
            contrast(_factor(views.contrast, rng)),
            saturation(_factor(views.saturation, rng)),
            hue(rng.uniform(-views.hue, views.hue)),
        ]
        for i in rng.permutation(4):
            matrix = chain(matrix, factors[i])
    if rng.random() < views.grayscale:
        matrix = chain(matrix, saturation(0.0))
    sigma = float(rng.uniform(*views.blur_sigma)) if rng.random() < views.blur else 0.0
    return Color(matrix, sigma)


def brightness(factor: float) -> NDArray[np.float64]:
    """(3, 4) matrix that multiplies every channel."""
    return factor * IDENTITY


def contrast(factor: float) -> NDArray[np.float64]:
    """(3, 4) matrix that moves every channel away from mid-grey by a factor."""
    return np.hstack([factor * np.eye(3), np.full((3, 1), 0.5 * (1 - factor))])


def saturation(factor: float) -> NDArray[np.float64]:
    """(3, 4) matrix that moves every colour away from its own luma by a factor; 0 is grayscale."""
    return np.hstack([factor * np.eye(3) + (1 - factor) * np.tile(LUMA, (3, 1)), np.zeros((3, 1))])


def hue(turns: float) -> NDArray[np.float64]:
    """(3, 4) matrix that turns every colour in the chroma plane of YIQ; luma stays."""
    c, s = math.cos(2 * math.pi * turns), math.sin(2 * math.pi * turns)
    rotation = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return np.hstack([FROM_YIQ @ rotation @ TO_YIQ, np.zeros((3, 1))])


def chain(first: NDArray[np.float64], then: NDArray[np.float64]) -> NDArray[np.float64]:
    """The (3, 4) matrix of two affine changes one after the other."""
    linear = then[:, :3] @ first[:, :3]
    offset = then[:, :3] @ first[:, 3] + then[:, 3]
    return np.hstack([linear, offset[:, None]])


def kernel_size(size: int) -> int:
    """Odd width of the blur kernel for clips of `size` pixels (MSCL, arXiv:2208.06105)."""
    return int(0.1 * size) // 2 * 2 + 1


def gaussian_kernel(sigma: float, width: int) -> NDArray[np.float64]:
    """(width,) weights that sum to 1."""
    x = np.arange(width) - width // 2
    weights = np.exp(-0.5 * (x / sigma) ** 2)
    result: NDArray[np.float64] = weights / weights.sum()
    return result


def color_uint8(frames: NDArray[np.uint8], color: Color) -> NDArray[np.uint8]:
    """Applies colour and blur to the frames of one clip, rounding and clipping to 0–255.

    Args:
        frames: uint8 (T, H, W, 3).
    """
    t, h, w, _ = frames.shape
    result = frames
    if not np.array_equal(color.matrix, IDENTITY):
        matrix = color.matrix * [1, 1, 1, 255]
        turned = cv2.transform(result.reshape(t * h, w, 3), matrix)
        result = np.asarray(turned, dtype=np.uint8).reshape(t, h, w, 3)
    if color.sigma:
        kernel = gaussian_kernel(color.sigma, kernel_size(h))
        blurred = [cv2.sepFilter2D(f, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101) for f in result]
        result = np.stack(blurred)
    return result


def color_batch(clips: Tensor, matrix: Tensor, sigma: Tensor | None) -> Tensor:
    """Applies each clip's colour matrix and blur on whatever device the batch lies.

    Args:
        clips: (N, 3, T, H, W) in [0, 1].
        matrix: (N, 3, 4).
        sigma: (N,) pixels, 0 for none; or None where no clip is blurred.

    Returns:
        The same shape, in [0, 1]; channels last in memory unless blurred.
    """
    n, c, t, h, w = clips.shape
    pixels = clips.permute(0, 2, 3, 4, 1).reshape(n, -1, c)
    linear, offset = matrix[:, :, :3].to(clips), matrix[:, None, :, 3].to(clips)
    out = torch.baddbmm(offset, pixels, linear.transpose(1, 2)).clamp_(0, 1)
    out = out.view(n, t, h, w, c).permute(0, 4, 1, 2, 3)
    return out if sigma is None else blur_batch(out, sigma)


def blur_batch(clips: Tensor, sigma: Tensor) -> Tensor:
    """Separable Gaussian blur with a width of its own for every clip; borders are reflected.

    Args:
        clips: (N, 3, T, H, W).
        sigma: (N,) pixels; 0 leaves a clip as it is.
    """
    n, c, t, h, w = clips.shape
    width = kernel_size(h)
    pad = width // 2
    x = torch.arange(width, device=clips.device, dtype=torch.float32) - pad
    weights = torch.exp(-0.5 * (x / sigma.float().clamp(min=1e-3)[:, None]) ** 2)
    weights = (weights / weights.sum(1, keepdim=True)).to(clips.dtype)  # sigma 0 gives a unit impulse
    kernel = weights.repeat_interleave(c * t, 0)[:, None]  # one filter per clip, channel and frame
    planes = F.pad(clips.reshape(1, n * c * t, h, w), (pad, pad, pad, pad), mode="reflect")
    planes = F.conv2d(planes, kernel[:, :, :, None], groups=n * c * t)
    planes = F.conv2d(planes, kernel[:, :, None, :], groups=n * c * t)
    return planes.reshape(n, c, t, h, w)


def normalise(clips: Tensor, views: Views) -> Tensor:
    """(clips − mean) / std per channel; clips (N, 3, T, H, W) in [0, 1]."""

    def per_channel(values: Sequence[float]) -> Tensor:
        # Filled in on the device: a tensor made of a list would be copied there while the host waits.
        return torch.stack([clips.new_full((), value) for value in values]).view(1, 3, 1, 1, 1)

    shift = per_channel([-m / s for m, s in zip(views.mean, views.std, strict=True)])
    return torch.addcmul(shift, clips, per_channel([1 / s for s in views.std]))


def _factor(spread: float, rng: np.random.Generator) -> float:
    return float(rng.uniform(1 - spread, 1 + spread))
