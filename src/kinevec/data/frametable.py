"""The frame table of a video in few numbers, from which its `VideoInfo` comes back without touching it."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinevec.data.decode import VideoInfo


@dataclass(frozen=True)
class FrameTable:
    """All of a `VideoInfo` but its path. Even times and even keyframes take one number each.

    Attributes:
        time_base_num, time_base_den: seconds of one unit of pts, or of one frame where there are no pts.
        timed: whether the video has pts to trust.
        pts_first: pts of the first frame.
        pts_step: from each frame to the next; 0: uneven, see `pts_steps`.
        pts_steps: (F - 1,) each step; None where they are even.
        key_every: frames from one place where decoding can start to the next, from frame 0 on; 0: see `keys`.
        keys: their pts; None where they are even.
    """

    frames: int
    width: int
    height: int
    codec: str
    time_base_num: int
    time_base_den: int
    timed: bool
    pts_first: int
    pts_step: int
    pts_steps: list[int] | None
    key_every: int
    keys: list[int] | None

    @classmethod
    def of(cls, info: VideoInfo, time_base: Fraction) -> "FrameTable":
        """The table of a video.

        Args:
            time_base: seconds of one unit of `info.pts`; without pts, from one frame to the next.
        """
        pts_first = pts_step = 0
        pts_steps = None
        key_every = 0
        if info.pts is not None:
            pts_first = int(info.pts[0])
            steps = np.diff(info.pts)
            if len(steps) and (steps == steps[0]).all():
                pts_step = int(steps[0])
            else:
                pts_steps = steps.tolist()
            key_every = _even_keys(info.pts, np.array(info.keys, dtype=np.int64))
        return cls(
            frames=info.frames,
            width=info.width,
            height=info.height,
            codec=info.codec,
            time_base_num=time_base.numerator,
            time_base_den=time_base.denominator,
            timed=info.pts is not None,
            pts_first=pts_first,
            pts_step=pts_step,
            pts_steps=pts_steps,
            key_every=key_every,
            keys=None if key_every else list(info.keys),
        )

    @property
    def time_base(self) -> Fraction:
        """Seconds of one unit of pts, or of one frame where there are no pts."""
        return Fraction(self.time_base_num, self.time_base_den)

    @property
    def seconds(self) -> float:
        """Time from the first frame to the last."""
        if not self.timed:
            return (self.frames - 1) / float(1 / self.time_base)
        units = (self.frames - 1) * self.pts_step if self.pts_steps is None else sum(self.pts_steps)
        return units * float(self.time_base)

    def info(self, path: Path) -> VideoInfo:
        """The `VideoInfo` that `probe` gives for the file at `path`, to the last bit."""
        if not self.timed:
            times = np.arange(self.frames) / float(1 / self.time_base)
            return VideoInfo(path, self.width, self.height, times, None, tuple(self.keys or ()), self.codec)
        steps = np.full(self.frames - 1, self.pts_step) if self.pts_steps is None else self.pts_steps
        pts = self.pts_first + np.concatenate([[0], np.cumsum(steps, dtype=np.int64)]).astype(np.int64)
        keys = pts[:: self.key_every].tolist() if self.keys is None else self.keys
        times = (pts - pts[0]) * float(self.time_base)
        return VideoInfo(path, self.width, self.height, times, pts, tuple(keys), self.codec)


def _even_keys(pts: NDArray[np.int64], keys: NDArray[np.int64]) -> int:
    """The distance in frames of keys that begin with the first frame and are even; else 0."""
    if len(keys) == 0:
        return 0
    every = len(pts) if len(keys) == 1 else int(np.searchsorted(pts, keys[1]))
    return every if every > 0 and np.array_equal(pts[::every], keys) else 0
