"""Frames of a video by their numbers, or all in order, as arrays together with their times."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinevec.data.container import Opened
from kinevec.data.decode.info import VideoInfo, probe
from kinevec.data.decode.pixels import ToArray
from kinevec.data.decode.seeking import decode_wanted
from kinevec.errors import VideoError


@dataclass(frozen=True, repr=False)
class Clip:
    """Frames of one video together with their places in it.

    Attributes:
        frames: uint8 (T, H, W, 3), RGB.
        numbers: (T,) frame numbers in the file, from 0.
        times: (T,) presentation times in seconds from the first frame.
    """

    frames: NDArray[np.uint8]
    numbers: tuple[int, ...]
    times: NDArray[np.float64]

    def __repr__(self) -> str:
        t, h, w, _ = self.frames.shape
        return f"Clip({t} frames of {w}×{h}, {self.times[0]:.2f}–{self.times[-1]:.2f} s)"


def read_clip(
    path: Path,
    numbers: Sequence[int],
    *,
    info: VideoInfo | None = None,
    size: tuple[int, int] | None = None,
) -> Clip:
    """Decodes the frames with the given numbers, in the given order; a number may repeat.

    Args:
        path: a video file.
        numbers: frame numbers from 0.
        info: the file's table, where it was probed before; saves reading it again.
        size: (height, width) to scale the frames to while decoding; None: as shown.

    Raises:
        VideoError: the file cannot be read, or one of the frames is not there or does not decode.
    """
    info = info or probe(path)
    wanted = sorted(set(numbers))
    if not wanted:
        raise ValueError("numbers is empty: ask for at least one frame")
    if wanted[0] < 0 or wanted[-1] >= info.frames:
        raise VideoError(
            path, f"frame {wanted[0] if wanted[0] < 0 else wanted[-1]} of {info.frames} was asked for"
        )
    order = list(numbers)
    places: dict[int, list[int]] = {number: [] for number in wanted}
    for place, number in enumerate(order):
        places[number].append(place)
    height, width = size or (info.height, info.width)  # also where a stream changes it on the way
    frames = np.empty((len(order), height, width, 3), dtype=np.uint8)
    with Opened(path) as video:
        convert = ToArray((height, width), video.aspect)
        for number, frame in decode_wanted(video, info, wanted):
            first, *others = places.pop(number)
            convert(frame, frames[first])
            for place in others:
                frames[place] = frames[first]
    if places:
        missing = min(places)
        at = float(info.times[missing])
        raise VideoError(path, f"damaged: frame {missing} of {info.frames} (at {at:.2f} s) does not decode")
    return Clip(frames, tuple(order), info.times[order])


def iter_frames(path: Path, *, size: tuple[int, int] | None = None) -> Iterator[NDArray[np.uint8]]:
    """Decodes all frames in order, (H, W, 3) uint8 each.

    Raises:
        VideoError: the file cannot be read, or stops decoding in the middle.
    """
    with Opened(path) as video:
        convert = ToArray(size, video.aspect)
        for frame in video.decode():
            yield convert(frame)
