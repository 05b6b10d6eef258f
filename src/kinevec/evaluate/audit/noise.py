"""Appearance-free clips: noise that moves as a video does, of which no single frame tells anything.

After Ilic, Pock and Wildes, Is Appearance Free Action Recognition Possible?, ECCV 2022; there noise is warped,
here it consists of grains that are carried along, so that warping cannot draw the outlines of what moves.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from kinevec.motion.changing import changing_near
from kinevec.motion.flow import SMALLEST_SIDE, pair_flow

Grains = NDArray[np.int64]  # (T, H, W), the number of the grain that lies on each pixel
Frames = NDArray[np.uint8]  # (T, H, W, 3)

BLUR = 1.0  # pixels, standard deviation: bare grains are finer than what encoders look at
CONTRAST = 55.0  # grey levels, standard deviation of a frame


def carry(flow: NDArray[np.float32]) -> Grains:
    """Moves one grain per pixel along a flow, step by step.

    A grain keeps its position to fractions of a pixel and lies on the nearest pixel. Where several meet, that
    which moved fastest stays, since what moves is mostly in front; where none lies, a new one appears. So a
    pixel has exactly one grain, and no grain lies on two pixels of a frame.

    Args:
        flow: (T − 1, 2, H, W), u to the right and v down in pixels from each frame to the next.

    Returns:
        (T, H, W) numbers of the grains, from 0 without gaps.
    """
    steps, _, height, width = flow.shape
    rows, columns = np.divmod(np.arange(height * width), width)
    position = np.stack([columns, rows]).astype(np.float64)  # of the grain on each pixel, (2, H·W) as (x, y)
    grain = np.arange(height * width)
    count = height * width
    frames = [grain]
    for step in range(steps):
        vector = flow[step].reshape(2, -1)  # at the pixel that each grain lies on
        moved = position + vector
        x, y = np.floor(moved + 0.5).astype(np.int64)
        order = np.argsort(-np.square(vector).sum(0), kind="stable")  # fastest first
        order = order[((x >= 0) & (x < width) & (y >= 0) & (y < height))[order]]
        target, first = np.unique((y * width + x)[order], return_index=True)
        winner = order[first]
        position = np.stack([columns, rows]).astype(np.float64)
        position[:, target] = moved[:, winner]
        arrived = np.full(height * width, -1)
        arrived[target] = grain[winner]
        empty = arrived < 0
        arrived[empty] = count + np.arange(empty.sum())
        count += int(empty.sum())
        grain = arrived
        frames.append(grain)
    return np.stack(frames).reshape(steps + 1, height, width)


def moving_noise(clip: Frames, rng: np.random.Generator, method: str = "dis") -> Frames:
    """Grey noise that moves as a clip does.

    The grains' values are drawn independently of the flow, and a frame holds each at most once. So every frame
    by itself is the same noise, blurred by a fixed kernel, whatever the clip shows; only which grain of one
    frame reappears where in the next depends on it.

    Args:
        clip: uint8 (T, H, W, 3).
        method: of the optical flow from each frame to the next.

    Returns:
        uint8 (T, H, W, 3).
    """
    grains = carry(_flow(clip, method))
    values = rng.standard_normal(grains.max() + 1)
    width = 2 * round(4 * BLUR) + 1
    kernel = cv2.getGaussianKernel(width, BLUR)
    scale = CONTRAST / np.square(kernel).sum()  # of independent values the blur leaves this much
    grey = np.stack([cv2.sepFilter2D(frame, -1, kernel, kernel) for frame in values[grains]])
    pixels = np.rint(127.5 + scale * grey).clip(0, 255).astype(np.uint8)
    return np.repeat(pixels[..., None], 3, axis=3)


def _flow(clip: Frames, method: str) -> NDArray[np.float32]:
    """(T − 1, 2, H, W) flow between consecutive frames, in their pixels; 0 where nothing near changes.

    Small frames are enlarged for it.
    """
    height, width = clip.shape[1:3]
    changing = changing_near(clip[:-1], clip[1:])
    scale = max(1, -(-SMALLEST_SIDE // min(height, width)))
    if scale > 1:
        clip = np.stack([cv2.resize(frame, None, fx=scale, fy=scale) for frame in clip])
    pairs = [(t, t + 1) for t in range(len(clip) - 1)]
    flow = pair_flow(clip.transpose(0, 3, 1, 2), pairs, method)
    if scale > 1:
        blocks = flow.reshape(len(pairs), 2, height, scale, width, scale)
        flow = blocks.mean((3, 5)) / scale
    return np.asarray(flow * changing[:, None], np.float32)
