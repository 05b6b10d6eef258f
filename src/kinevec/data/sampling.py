"""Which frames of a video make a clip: from a number of frames to frame numbers.

A video shorter than a clip is looped: after its last frame comes its first.
"""

import numpy as np
from numpy.typing import NDArray

from kinevec.config import Clip


def is_short(frames: int, clip: Clip) -> bool:
    """Whether a video of so many frames must be looped to fill a clip."""
    return frames < clip.span


def clip_numbers(start: int, frames: int, clip: Clip) -> list[int]:
    """Frame numbers (T,) of the clip that begins at frame `start`."""
    return [(start + t * clip.stride) % frames for t in range(clip.frames)]


def uniform_clip(frames: int, clip: Clip, rng: np.random.Generator) -> list[int]:
    """Frame numbers (T,) of a clip whose start is uniform over all that fit; of a looped video, over all."""
    starts = frames if is_short(frames, clip) else frames - clip.span + 1
    return clip_numbers(int(rng.integers(starts)), frames, clip)


def two_clips(frames: int, clip: Clip, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Frame numbers of two clips of one video, starts drawn independently (METHODS: MoCo baseline)."""
    return uniform_clip(frames, clip, rng), uniform_clip(frames, clip, rng)


def even_clips(frames: int, clip: Clip, count: int) -> list[list[int]]:
    """Frame numbers of `count` clips whose starts are even in time, first and last included (evaluation).

    A video that must be looped has one start, 0.
    """
    starts: NDArray[np.float64] = np.linspace(0, max(frames - clip.span, 0), count)
    return [clip_numbers(round(float(start)), frames, clip) for start in starts]
