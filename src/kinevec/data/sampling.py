"""Which frames of a video make a clip: from a number of frames to frame numbers.

A video shorter than a clip is looped: after its last frame comes its first.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinevec.config import Clip, Sampling

Starts = NDArray[np.int64]  # frame numbers
Scores = NDArray[np.floating[Any]]


def clip_numbers(start: int, frames: int, clip: Clip) -> list[int]:
    """Frame numbers (T,) of the clip that begins at frame `start`."""
    return [(start + t * clip.stride) % frames for t in range(clip.frames)]


def draw_starts(
    frames: int,
    length: int,
    sampling: Sampling,
    rng: np.random.Generator,
    admissible: Starts | None = None,
    *,
    reach: int | None = None,
) -> tuple[int, int]:
    """Draws where the two clips of a video start.

    Both are uniform over the starts that are allowed and independent; or with `sampling.near`, the second is
    drawn from all frames within `reach` of the first, and moved to the nearest start that is allowed, and
    within that distance too (the earlier of two equally near).

    Args:
        frames: of the video; a shorter one than `length` is looped, and every frame is a start.
        length: frames that a clip needs: its span, or its window.
        admissible: ascending starts that are allowed, of which those that leave room for `length` count;
            see `moving_starts`. None: all.
        reach: frames; None: `length`.

    Source: MoCo; MSCL (arXiv:2208.06105), motion differential sampling.
    """
    starts = _starts(frames, length)
    allowed = None if admissible is None else admissible[admissible < starts]
    if allowed is None or len(allowed) == 0:
        allowed = np.arange(starts)
    first = int(allowed[rng.integers(len(allowed))])
    if not sampling.near:
        return first, int(allowed[rng.integers(len(allowed))])
    reach = length if reach is None else reach
    low, high = max(first - reach, 0), min(first + reach, starts - 1)
    wanted = rng.integers(low, high + 1)
    close = allowed[(low <= allowed) & (allowed <= high)]  # at least the first
    return first, int(close[np.abs(close - wanted).argmin()])


def clip_scores(change: Scores, clip: Clip, length: int | None = None) -> Scores:
    """How much the motion changes in each clip of a video: the mean of d over the frames of the clip.

    Args:
        change: (F,) scores d of the frames; see `kinevec.motion.statistics.color_differential`.
        length: frames that must fit after a start; None: those of the clip.

    Returns:
        (starts,), for every start where they fit; of a looped video, for every frame.

    Source: MSCL, motion differential sampling.
    """
    starts: Starts = np.arange(_starts(len(change), clip.span if length is None else length))
    numbers = starts[:, None] + np.arange(clip.frames) * clip.stride
    return np.asarray(change[numbers % len(change)].mean(axis=1, dtype=np.float64))


def moving_starts(change: Scores, clip: Clip, length: int | None = None) -> Starts:
    """The starts whose clip scores above the video's median, ascending; all where none does, or none fits.

    MSCL's released code also scores clips that run past the end, as if their missing frames did not change,
    which bans the end of every video; here only clips that fit compete.

    Args:
        change, length: as for `clip_scores`.

    Source: MSCL, motion differential sampling.
    """
    scores = clip_scores(change, clip, length)
    above = np.flatnonzero(scores > np.median(scores))
    short = len(change) < (clip.span if length is None else length)
    return above if len(above) and not short else np.arange(len(scores))


def even_clips(frames: int, clip: Clip, count: int) -> list[list[int]]:
    """Frame numbers of `count` clips whose starts are even in time, first and last included (evaluation).

    A video that must be looped has one start, 0.
    """
    starts: NDArray[np.float64] = np.linspace(0, max(frames - clip.span, 0), count)
    return [clip_numbers(round(float(start)), frames, clip) for start in starts]


def local_numbers(start: int, frames: int, clip: Clip, steps: int) -> list[list[int]]:
    """Frame numbers (T,) of the local clips of the window that begins at frame `start` (FIMA).

    The window of `clip.window` frames is cut into `steps` equal parts; a local clip is T frames, even in time,
    of one part: with 16 frames at stride 2 and 2 steps, frames 0–15 and 16–31.
    """
    parts = [
        [start + (part * clip.frames + t) * clip.stride // steps for t in range(clip.frames)]
        for part in range(steps)
    ]
    return [[number % frames for number in part] for part in parts]


def _starts(frames: int, length: int) -> int:
    """Number of frames at which something so long can start; in a video that is too short, all."""
    return frames if frames < length else frames - length + 1
