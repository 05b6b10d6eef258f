"""What a video file holds: which frames at which times, and where decoding can start."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinevec.data.container import Opened
from kinevec.data.decode.pixels import shown_size
from kinevec.errors import VideoError

# These codecs hide frames in packets of their own: only decoding tells which packets show.
HIDING_CODECS = {"vp8"}
NOT_CODED = 19  # bytes, at most, of a packet of MPEG-4 that only says that the last picture stays


@dataclass(frozen=True, repr=False)
class VideoInfo:
    """What a video file holds, read from its packets without decoding them.

    Attributes:
        path: the file.
        width, height: pixels as shown, after rotation and with square pixels.
        times: (F,) presentation times in seconds of all F frames, from 0.
        pts: (F,) the same in units of the stream's time base; None where the file has none to trust.
        keys: pts at which decoding can start, ascending.
        codec: FFmpeg's name of it.
    """

    path: Path
    width: int
    height: int
    times: NDArray[np.float64]
    pts: NDArray[np.int64] | None
    keys: tuple[int, ...]
    codec: str

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.times)

    @property
    def fps(self) -> float:
        """Mean frames per second; 0 for a single frame."""
        return (self.frames - 1) / float(self.times[-1]) if self.frames > 1 and self.times[-1] > 0 else 0.0

    def __repr__(self) -> str:
        return (
            f"VideoInfo({self.path.name}: {self.frames} frames of {self.width}×{self.height}, "
            f"{self.fps:.2f} fps, {self.codec})"
        )


def probe(path: Path) -> VideoInfo:
    """Reads the frame table of a video file.

    Raises:
        VideoError: the file is missing, empty, no video, or has no frames; says which.
    """
    with Opened(path) as video:
        shown, keys, trusted = _packet_table(video)
        if not trusted or video.codec in HIDING_CODECS:
            video.reopen()
            shown, trusted = _decoded_table(video, trusted)
        video.reopen()
        first = next(video.decode(), None)
        if first is None or not shown:
            raise VideoError(path, "holds a video stream, but no frame of it decodes")
        width, height = shown_size(first, video.aspect)
        if trusted:
            begin = first.pts if first.pts is not None else min(shown)
            # What refers to frames that were cut off, before the first key frame, does not decode.
            pts = np.array(sorted(time for time in shown if time >= begin), dtype=np.int64)
            times = (pts - pts[0]) * float(video.stream.time_base or 0)
        else:
            pts = None
            rate = video.stream.average_rate or video.stream.guessed_rate or 25
            times = np.arange(len(shown)) / float(rate)
        return VideoInfo(path, width, height, times, pts, tuple(keys), video.codec)


def _packet_table(video: Opened) -> tuple[list[int], list[int], bool]:
    """All shown pts, the pts of key frames, and whether every packet had a pts of its own on a clock that runs on."""
    shown: list[int] = []
    keys: list[int] = []
    trusted = one_clock = True
    latest = -math.inf
    empty = NOT_CODED if video.codec == "mpeg4" else 0
    for packet in video.container.demux(video.stream):
        if packet.size <= empty or packet.is_corrupt:
            continue  # the flush packet at the end, or one cut in two where the file was cut
        if packet.pts is None:
            trusted = False
            continue
        if packet.is_keyframe:
            one_clock &= packet.pts > latest  # in recordings put one after the other it starts again
            keys.append(packet.pts)
        latest = max(latest, packet.pts)
        if not packet.is_discard:
            shown.append(packet.pts)
    trusted = trusted and one_clock and not video.reorders_untimed and len(set(shown)) == len(shown)
    return shown, sorted(keys), trusted


def _decoded_table(video: Opened, trusted: bool) -> tuple[list[int], bool]:
    """The pts of all frames that come out of the decoder, or mere counts where they cannot be trusted."""
    pts = [frame.pts for frame in video.decode()]
    known = [value for value in pts if value is not None]
    if trusted and len(known) == len(pts) == len(set(known)):
        return known, True
    return list(range(len(pts))), False
