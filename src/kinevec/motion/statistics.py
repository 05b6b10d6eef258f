"""Motion statistics of a video, from which motion differential sampling (MDS) picks its clips."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from kinevec.motion.color import flow_image

Flow = NDArray[np.float32] | Tensor

BLOCK = 28  # pixels, side of the blocks that the attention map averages over
CHUNK = 32  # frames handled at once: bounds the memory that a long video needs


def motion_energy(flow: Flow) -> NDArray[np.float32]:
    """Score how much structure the motion of each frame has: the spatial mean of `e_t`.

    `e_t = sqrt(u_x² + u_y² + v_x² + v_y²)` with 3×3 Sobel gradients, unnormalised, the border reflected.
    A camera that pans over a still scene moves every pixel alike and scores 0.

    Args:
        flow: (T, 2, H, W) in pixels.

    Returns:
        (T,), mean energy per frame.

    Raises:
        ValueError: the flow is not (T, 2, H, W) or not floating point.

    Source: MSCL, motion differential sampling.
    """
    frames = _as_tensor(flow)
    scores = np.zeros(len(frames), dtype=np.float32)
    for start in range(0, len(frames), CHUNK):
        chunk = slice(start, start + CHUNK)
        scores[chunk] = _energy(frames[chunk]).mean(dim=(-2, -1)).numpy()
    return scores


def color_differential(flow: Flow) -> NDArray[np.float32]:
    """Score how much the motion changes from each frame to the next: `d_t = mean_xy ‖R_t − R_{t+1}‖₂`.

    `R_t = A_t · color(flow_t)`: the flow image (0 to 255) weighted by the attention map `A_t`, which is the
    energy of `motion_energy` averaged over 28×28 blocks, upsampled bilinearly and divided by its maximum.
    The last frame repeats, so its score is 0: to score a video in pieces, let them overlap by one frame and
    drop the last score of each piece but the final one.

    A side that is no multiple of 28 is divided into equal blocks of nearly 28 pixels, so that the map covers
    the whole frame. A frame whose motion has no structure has no attention anywhere, and `R_t = 0`.

    Args:
        flow: (T, 2, H, W) in pixels.

    Returns:
        (T,), in colour levels (0 to 255 per channel).

    Raises:
        ValueError: the flow is not (T, 2, H, W) or not floating point.

    Source: MSCL, motion differential sampling.
    """
    frames = _as_tensor(flow)
    scores = np.zeros(len(frames), dtype=np.float32)
    for start in range(0, len(frames) - 1, CHUNK):
        r = _attended_color(frames[start : start + CHUNK + 1])  # one more: the next chunk's first frame
        change = (r[:-1] - r[1:]).square().sum(dim=1).sqrt()
        scores[start : start + len(change)] = change.mean(dim=(-2, -1)).numpy()
    return scores


def _as_tensor(flow: Flow) -> Tensor:
    frames = torch.as_tensor(flow).detach().cpu()
    if frames.ndim != 4 or frames.shape[1] != 2 or not frames.is_floating_point():
        raise ValueError(f"flow is (T, 2, H, W) floating point, got {tuple(frames.shape)} {frames.dtype}")
    return frames.float()


def _energy(flow: Tensor) -> Tensor:
    """Return the motion energy `e_t` of every pixel: (T, 2, H, W) → (T, H, W)."""
    # A Sobel filter reaches one pixel out, where reflecting about the border repeats the last pixel.
    padded = F.pad(flow, (1, 1, 1, 1), mode="replicate")
    rows = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    columns = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    gradient_x = rows[..., 2:] - rows[..., :-2]
    gradient_y = columns[..., 2:, :] - columns[..., :-2, :]
    return (gradient_x.square() + gradient_y.square()).sum(dim=1).sqrt()


def _attended_color(flow: Tensor) -> Tensor:
    """Return `R_t`, the flow image weighted by the attention map: (T, 2, H, W) → (T, 3, H, W), 0 to 255."""
    energy = _energy(flow).unsqueeze(1)
    height, width = energy.shape[-2:]
    blocks = (max(1, round(height / BLOCK)), max(1, round(width / BLOCK)))
    attention = F.interpolate(F.adaptive_avg_pool2d(energy, blocks), size=(height, width), mode="bilinear")
    largest = attention.amax(dim=(-2, -1), keepdim=True)
    attention = attention / largest.clamp_min(torch.finfo(largest.dtype).tiny)  # 0/0 is no attention: 0
    return attention * 255 * flow_image(flow.unsqueeze(2)).squeeze(2)
