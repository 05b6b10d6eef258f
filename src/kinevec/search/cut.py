"""From a video's frame times to overlapping clips: when each begins and ends, and which frames show it.

Clips are laid out in seconds, so that videos of different or changing frame rates are cut alike. The frame of a
moment is the one nearest in time.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinevec.config import Clip
from kinevec.search.settings import Settings

STILL = 0.04  # seconds that a single frame is taken to last
REST = 0.25  # of a hop: more than this left over at the end makes one more clip, flush with the end
TINY = 1e-6  # of a frame: times are sums of fractions

Times = NDArray[np.float64]


@dataclass(frozen=True)
class Cut:
    """The N clips of a video.

    Attributes:
        starts, ends: (N,) seconds from the first frame; ascending.
        numbers: (N, T) frame numbers.
    """

    starts: Times
    ends: Times
    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)


def period(times: Times) -> float:
    """Mean seconds from one frame to the next."""
    return float(times[-1]) / (len(times) - 1) if len(times) > 1 and times[-1] > 0 else STILL


def clip_length(times: Times, clip: Clip, settings: Settings) -> float:
    """Seconds of a clip: as set, or the encoder's frames at its own stride at the video's mean frame rate."""
    return settings.length or clip.window * period(times)


def clip_hop(times: Times, clip: Clip, settings: Settings) -> float:
    """Seconds from one clip's start to the next: as set, or half a clip, in whole frames where those are its unit."""
    if settings.hop:
        return settings.hop
    return settings.length / 2 if settings.length else max(1, clip.window // 2) * period(times)


def cut(times: Times, clip: Clip, settings: Settings, within: tuple[float, float] | None = None) -> Cut:
    """Cuts a video into clips that overlap; together they show all of it.

    A video shorter than a clip gives one clip and is looped. Frame t of T shows the moment t/T of the clip's
    length after its start.

    Args:
        times: (F,) presentation times in seconds, from 0.
        clip: the encoder's.
        within: cut only this part, from and to in seconds; where it is shorter than a clip, the clip around it.
    """
    step = period(times)
    duration = float(times[-1]) + step
    length, hop = clip_length(times, clip, settings), clip_hop(times, clip, settings)
    low, high = _widened(within, length, duration) if within else (0.0, duration)
    starts = low + _starts(high - low, length, hop, TINY * step)
    moments = starts[:, None] + np.arange(clip.frames) * (length / clip.frames)
    if length > duration:
        moments = np.mod(moments + TINY * step, duration) - TINY * step
    return Cut(starts, np.minimum(starts + length, duration), nearest(times, moments))


def nearest(times: Times, moments: Times) -> NDArray[np.int64]:
    """Numbers of the frames nearest to some moments, of two equally near the earlier; the shape of `moments`.

    Args:
        times: (F,) ascending seconds.
    """
    found: NDArray[np.int64] = np.searchsorted((times[1:] + times[:-1]) / 2, moments, side="left")
    return found


def _starts(duration: float, length: float, hop: float, tiny: float) -> Times:
    room = duration - length
    if room <= tiny:
        return np.zeros(1)
    starts = np.arange(int((room + tiny) / hop) + 1, dtype=np.float64) * hop
    return np.append(starts, room) if room - starts[-1] > REST * hop + tiny else starts


def _widened(within: tuple[float, float], length: float, duration: float) -> tuple[float, float]:
    """The part, made as long as a clip where it is shorter, and moved into the video."""
    low, high = max(within[0], 0.0), min(within[1], duration)
    if high - low < length:
        low = min(max((low + high - length) / 2, 0.0), max(duration - length, 0.0))
        high = min(low + length, duration)
    return low, high
