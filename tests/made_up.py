"""Vectors of videos that are not there, and the clip of the small encoder they could come from."""

import numpy as np

from kinevec.config import Clip
from kinevec.search.embed import VideoVectors

CLIP = Clip(frames=4, stride=2, size=64)


def made_up(
    count: int, channels: int = 128, *, seed: int = 0, hop: float = 1.0, length: float = 2.0
) -> VideoVectors:
    """Vectors of a video that is not there: random, about a mean that is far from 0."""
    rng = np.random.default_rng(seed)
    static = rng.normal(3, 1, (count, channels)).astype(np.float32)
    full = static + rng.normal(1, 1, (count, channels)).astype(np.float32)
    starts = hop * np.arange(count)
    seconds = float(starts[-1] + length)
    return VideoVectors(starts, starts + length, full, static, seconds, 25.0, round(25 * seconds), 96, 64)
