"""The flow of the frames of a video.

The flow of frame t, with a gap g, goes from frame s to frame s + g, where s = min(t, F − 1 − g): the last
frames of the F repeat the last pair. A video with F ≤ g has the gap F − 1; the flow of a single frame is zero.
It is computed on frames scaled down to a short side, in pixels of those.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from kinevec import config
from kinevec.data.source import Source
from kinevec.motion.flow import SMALLEST_SIDE, Flow, Method, Pairs, pair_flow
from kinevec.motion.raft import raft
from kinevec.runtime import pick_device

_BUDGET = 32e6  # bytes of frames that are read at once, where that is not fewer than
_PIECE = 32  # frames


class Flows(Protocol):
    """Anything that the flow of the videos of a source can be read from, in the order of the source."""

    def read(self, index: int, numbers: Sequence[int]) -> Flow:
        """Flow (T, 2, h, w) of the frames with these numbers of video `index`; raises VideoError."""


class ComputedFlow:
    """Computes the flow of every clip anew; see `Flows`."""

    def __init__(self, source: Source, flow: config.Flow) -> None:
        self.source = source
        self.flow = flow

    def read(self, index: int, numbers: Sequence[int]) -> Flow:
        """Flow (T, 2, h, w) of the frames with these numbers of video `index`.

        Raises:
            VideoError: they cannot be read.
        """
        return clip_flow(self.source, index, numbers, self.flow)


def flow_pair(t: int, frames: int, gap: int) -> tuple[int, int]:
    """The frames that the flow of frame t goes from and to, in a video of so many frames."""
    start = min(t, flow_fields(frames, gap) - 1)
    return start, start + min(gap, frames - 1)


def flow_fields(frames: int, gap: int) -> int:
    """Number of different pairs of frames that the flow of a video goes between."""
    return frames - min(gap, frames - 1)


def measurable_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """(height, width) of the frames that flow is computed on.

    The short side is at most `short_side` pixels; below 32, where flow cannot be computed, it is scaled up.
    """
    short = min(height, width)
    scale = min(max(short, SMALLEST_SIDE), short_side) / short
    return round(height * scale), round(width * scale)


def measurable(frame: NDArray[np.uint8], short_side: int) -> NDArray[np.uint8]:
    """A frame (H, W, 3) at the size that flow is computed on; see `measurable_size`."""
    height, width = frame.shape[:2]
    size = measurable_size(height, width, short_side)
    if size == (height, width):
        return frame
    kind = cv2.INTER_AREA if size[0] < height else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, size[::-1], interpolation=kind), dtype=np.uint8)


def frames_flow(
    frames: Sequence[NDArray[np.uint8]] | NDArray[np.uint8], pairs: Pairs, flow: config.Flow
) -> Flow:
    """The flow of chosen pairs of frames; a pair of a frame with itself has none.

    Args:
        frames: RGB (H, W, 3) each, all of one size.
        pairs: P places in `frames`, from and to; a pair that repeats is computed once.

    Returns:
        (P, 2, h, w) in pixels of the measured frames.
    """
    height, width = measurable_size(frames[0].shape[0], frames[0].shape[1], flow.short_side)
    moving = sorted({(source, target) for source, target in pairs if source != target})
    result = np.zeros((len(pairs), 2, height, width), np.float32)
    if not moving:
        return result
    used = sorted({place for pair in moving for place in pair})
    images = np.stack([measurable(frames[place], flow.short_side) for place in used]).transpose(0, 3, 1, 2)
    at = {place: rank for rank, place in enumerate(used)}
    found = pair_flow(images, [(at[source], at[target]) for source, target in moving], _method(flow))
    rank = {pair: place for place, pair in enumerate(moving)}
    for p, pair in enumerate(pairs):
        if pair in rank:
            result[p] = found[rank[pair]]
    return result


def _method(flow: config.Flow) -> str | Method:
    return _raft(flow.weights) if flow.method == "raft" else flow.method


@cache
def _raft(weights: str) -> Method:
    """Each process that computes flow loads the network once."""
    return raft(Path(weights), pick_device("auto"))


def clip_flow(source: Source, index: int, numbers: Sequence[int], flow: config.Flow) -> Flow:
    """The flow (T, 2, h, w) of the frames with these numbers of a video: the way without a cache.

    Raises:
        VideoError: they cannot be read.
    """
    total = source.frames(index)
    pairs = [flow_pair(t, total, flow.gap) for t in numbers]
    needed = sorted({number for pair in pairs for number in pair})
    at = {number: place for place, number in enumerate(needed)}
    frames = source.read(index, needed).frames
    return frames_flow(frames, [(at[start], at[end]) for start, end in pairs], flow)


def video_flow(source: Source, index: int, flow: config.Flow) -> Iterator[Flow]:
    """The flow of a whole video, piece by piece: (P, 2, h, w) each, one field for each pair of frames.

    Few frames are in memory at once, however long the video is.

    Raises:
        VideoError: a frame cannot be read.
    """
    total = source.frames(index)
    gap = min(flow.gap, total - 1)
    first = source.read(index, [0]).frames
    held = [measurable(first[0], flow.short_side)]
    if gap == 0:
        yield frames_flow(held, [(0, 0)], flow)
        return
    piece = max(_PIECE, int(_BUDGET // first.nbytes))
    for start in range(1, total, piece):
        numbers = range(start, min(start + piece, total))
        held += [measurable(frame, flow.short_side) for frame in source.read(index, numbers).frames]
        pairs = [(place, place + gap) for place in range(len(held) - gap)]
        if pairs:
            yield frames_flow(held, pairs, flow)
            held = held[len(pairs) :]
