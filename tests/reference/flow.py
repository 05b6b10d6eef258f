"""Flow of clips, crops of flow, and motion-differential sampling: loops in float64, from their definitions."""

import statistics

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def pair(t: int, frames: int, gap: int) -> tuple[int, int]:
    """The flow of frame t goes from s to s + g, s = min(t, F - 1 - g); g = F - 1 where F ≤ g."""
    if frames <= gap:
        gap = frames - 1
    start = frames - 1 - gap if t > frames - 1 - gap else t
    return start, start + gap


def axis_weights(start: float, end: float, pixels: int, target: int) -> Float:
    """(target, pixels): weights of pixel j, which covers [j, j + 1], in output pixel i of a stretch of an axis.

    As `reference.views.axis_weights`, which has the stretch [0, pixels]; pixels that the stretch does not
    touch are not there.
    """
    scale = (end - start) / target
    weights = np.zeros((target, pixels))
    for i in range(target):
        centre = start + (i + 0.5) * scale
        for j in range(pixels):
            if j + 1 > start + 1e-6 and j < end - 1e-6:
                weights[i, j] = max(0.0, 1 - abs(j + 0.5 - centre) / max(scale, 1.0))
        weights[i] /= weights[i].sum()
    return weights


def cropped(flow: Float, shares: tuple[float, float, float, float], flip: bool, size: int) -> Float:
    """One field (2, h, w) → (2, size, size); shares of the frame: left, top, right, bottom, not flipped."""
    _, height, width = flow.shape
    left, top, right, bottom = shares
    across = axis_weights(left * width, right * width, width, size)
    down = axis_weights(top * height, bottom * height, height, size)
    out = np.zeros((2, size, size))
    for y in range(size):
        for x in range(size):
            from_x = size - 1 - x if flip else x
            for c in range(2):
                value = float((np.outer(down[y], across[from_x]) * flow[c]).sum())
                per_pixel = size / ((right - left) * width) if c == 0 else size / ((bottom - top) * height)
                out[c, y, x] = value * per_pixel * (-1 if flip and c == 0 else 1)
    return out


def clip_scores(change: Float, frames: int, stride: int) -> list[float]:
    """Mean of d over the frames of each clip that fits; of a looped video, of the clip from each frame."""
    total, span = len(change), (frames - 1) * stride + 1
    scores = []
    for start in range(total):
        if start + span <= total or total < span:
            values = [float(change[(start + t * stride) % total]) for t in range(frames)]
            scores.append(sum(values) / frames)
    return scores


def moving_starts(change: Float, frames: int, stride: int) -> list[int]:
    scores = clip_scores(change, frames, stride)
    middle = statistics.median(scores)
    above = [start for start, score in enumerate(scores) if score > middle]
    looped = len(change) < (frames - 1) * stride + 1
    return list(range(len(scores))) if looped or not above else above
