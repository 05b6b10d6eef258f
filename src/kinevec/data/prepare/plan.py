"""How videos are prepared, and which of a video's frames are written when and at what size.

All frames are kept with their times (to 0.01 ms); or with `fps`, frame k of the prepared file is the source
frame whose time is nearest to k / fps (the earlier of two equally near), as long as k / fps is not after the
last frame.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kinevec.config import check
from kinevec.data.decode import VideoInfo
from kinevec.data.prepare.check import Checked
from kinevec.data.reasons import Unusable
from kinevec.motion.flow import METHODS

LARGEST_SIDE = 128  # pixels, short side of the frames that motion is measured on

_COARSEST = 10_000  # ticks a second; with fewer, a short last frame has no duration, and is not shown
_FINEST = 100_000  # ticks a second; MP4 holds gaps of hours only in coarser ones
_COMMON = 90_000
_LONGEST_GAP = 3600  # seconds from one frame to the next: more is a broken clock


@dataclass(frozen=True)
class PrepareConfig:
    """How videos are prepared. The defaults suit training at 112×112 pixels.

    Measured on 320×240 video scaled to 128: crf 20 takes 0.8 KB a frame at 34.8 dB, crf 23 0.6 KB at 33.4 dB,
    and clips are read equally fast; preparing is done once, so quality is the better bargain.

    Raises:
        ConfigError: a value makes no sense.
    """

    short_side: int = 128  # pixels, even; smaller videos keep their size
    keyframe_every: int = 16  # frames; 1: every frame is a keyframe
    fps: float = 0.0  # constant frame rate to resample to; 0: all frames and their times are kept
    store: Literal["h264", "none"] = "h264"  # none: only check and index, the originals are used in place
    quality: int = 20  # crf of H.264: lower is better and larger
    motion: str = "dis"  # flow method of the motion statistics (kinevec.motion.flow.METHODS), or none

    def __post_init__(self) -> None:
        check(
            self.short_side >= 32 and self.short_side % 2 == 0,
            f"short_side is {self.short_side} pixels; it must be even and at least 32",
        )
        check(self.keyframe_every >= 1, f"keyframe_every is {self.keyframe_every}; it must be at least 1")
        check(
            self.fps == 0 or 0.01 <= self.fps <= 1000,
            f"fps is {self.fps}; it must lie in 0.01 to 1000, or be 0 to keep the frames as they are",
        )
        check(self.store in ("h264", "none"), f"store is {self.store!r}; it must be h264 or none")
        check(
            not (self.fps and self.store == "none"), "fps needs store=h264: originals keep their own frames"
        )
        check(0 <= self.quality <= 51, f"quality is {self.quality}; it must lie in 0 (lossless) to 51")
        known = ("none", *METHODS)
        check(self.motion in known, f"motion is {self.motion!r}; it must be one of {', '.join(known)}")


@dataclass(frozen=True)
class Plan:
    """Which frames are written, and when they are shown.

    Attributes:
        copies: (F,) how many times each source frame is written.
        pts: (G,) of the written frames, from 0, in ticks.
        timescale: ticks in a second.
    """

    copies: NDArray[np.int64]
    pts: NDArray[np.int64]
    timescale: int


def plan_frames(checked: Checked, fps: float) -> Plan:
    """Decides which frames of a video are written; see the rule at the top of this file.

    Raises:
        Unusable: there are hours between two frames.
    """
    info, base = checked.info, checked.time_base
    own = np.arange(info.frames) if info.pts is None else info.pts - info.pts[0]  # units of `base`
    gaps = np.diff(own, prepend=0)
    worst = int(gaps.argmax())
    gap = int(gaps[worst]) * base
    if gap > _LONGEST_GAP:
        hours = float(gap) / 3600
        raise Unusable(
            info.path, "damaged", f"its clock jumps by {hours:.1f} hours before frame {worst:,}: re-encode it"
        )
    if fps == 0:
        return Plan(np.ones_like(own), *_ticks(own, base))
    rate = Fraction(fps).limit_denominator(1001)
    count = math.floor(int(own[-1]) * base * rate) + 1
    # Whole numbers, so that ties are ties: times in units of the common denominator.
    there = own * (base.numerator * rate.numerator)
    asked = np.arange(count) * (base.denominator * rate.denominator)
    after = np.searchsorted(there, asked)
    before = np.maximum(after - 1, 0)
    nearest = np.where(asked - there[before] <= there[after] - asked, before, after)
    copies = np.bincount(nearest, minlength=info.frames)
    return Plan(copies, *_ticks(np.arange(count), 1 / rate))


def target_size(info: VideoInfo, short_side: int) -> tuple[int, int]:
    """(height, width) of the prepared frames: even, never larger than the source (but at least 2)."""
    scale = min(1.0, short_side / min(info.height, info.width))
    height, width = (
        max(2, min(2 * round(side * scale / 2), side - side % 2)) for side in (info.height, info.width)
    )
    return height, width


def _ticks(own: NDArray[np.int64], base: Fraction) -> tuple[NDArray[np.int64], int]:
    """Times in ticks of a time base that suits MP4, and the ticks in a second."""
    if base.denominator <= _FINEST:
        finer = math.ceil(_COARSEST / base.denominator)
        return own * base.numerator * finer, base.denominator * finer
    ticks = np.rint(own * float(base * _COMMON)).astype(np.int64)
    order = np.arange(len(ticks))
    return np.maximum.accumulate(ticks - order) + order, _COMMON  # no two frames at one time
