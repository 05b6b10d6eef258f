"""Exact frames out of video files: `probe` a file once, then `read_clip` any of its frames.

A frame has a number, its rank in order of presentation. Numbers are turned into presentation
timestamps (pts) by the table that `probe` reads from the packets, so that variable frame rates
and B-frames are exact. Files whose packets carry no usable pts (old AVI) are decoded from the
start and counted.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from kinevec.errors import VideoError

# These codecs hide frames in packets of their own: only decoding tells which packets show.
HIDING_CODECS = {"vp8"}
NOT_CODED = 19  # bytes, at most, of a packet of MPEG-4 that only says that the last picture stays


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
    with _Opened(path) as video:
        shown, keys, trusted = _packet_table(video)
        if not trusted or video.codec in HIDING_CODECS:
            video.reopen()
            shown, trusted = _decoded_table(video, trusted)
        video.reopen()
        first = next(video.decode(), None)
        if first is None or not shown:
            raise VideoError(path, "holds a video stream, but no frame of it decodes")
        width, height = _shown_size(first, video.aspect)
        if trusted:
            pts = np.array(sorted(shown), dtype=np.int64)
            times = (pts - pts[0]) * float(video.stream.time_base or 0)
        else:
            pts = None
            rate = video.stream.average_rate or video.stream.guessed_rate or 25
            times = np.arange(len(shown)) / float(rate)
        return VideoInfo(path, width, height, times, pts, tuple(keys), video.codec)


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
    with _Opened(path) as video:
        # one size for all frames, also where a stream changes it on the way
        convert = _ToArray(size or (info.height, info.width), video.aspect)
        found = {number: convert(frame) for number, frame in _decode_wanted(video, info, wanted)}
    missing = [number for number in wanted if number not in found]
    if missing:
        at = float(info.times[missing[0]])
        raise VideoError(
            path, f"damaged: frame {missing[0]} of {info.frames} (at {at:.2f} s) does not decode"
        )
    order = list(numbers)
    return Clip(np.stack([found[number] for number in order]), tuple(order), info.times[order])


def iter_frames(path: Path, *, size: tuple[int, int] | None = None) -> Iterator[NDArray[np.uint8]]:
    """Decodes all frames in order, (H, W, 3) uint8 each.

    Raises:
        VideoError: the file cannot be read, or stops decoding in the middle.
    """
    with _Opened(path) as video:
        convert = _ToArray(size, video.aspect)
        for frame in video.decode():
            yield convert(frame)


class _Opened:
    """An open video file whose FFmpeg errors come out as `VideoError` with a reason in words."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> "_Opened":
        self.open()
        return self

    def open(self) -> None:
        try:
            if self.path.stat().st_size == 0:
                raise VideoError(self.path, "empty file (0 bytes)")
            self.container = av.open(str(self.path), metadata_errors="ignore")
        except av.error.InvalidDataError as error:
            raise VideoError(self.path, "not a video, or its header is damaged or missing") from error
        except (OSError, av.error.FFmpegError) as error:
            raise VideoError(self.path, f"cannot be opened: {error.strerror or error}") from error
        if not self.container.streams.video:
            self.container.close()
            raise VideoError(self.path, "has no video stream (sound only?)")
        self.stream = self.container.streams.video[0]
        if not hasattr(self.stream.codec_context, "name"):  # None: FFmpeg has no such decoder
            self.container.close()
            raise VideoError(
                self.path, "its video codec is unknown to this FFmpeg; convert it, e.g. to H.264"
            )
        self.codec = self.stream.codec_context.name
        self.aspect = float(self.stream.sample_aspect_ratio or 1)  # width over height of one pixel
        self.stream.codec_context.thread_count = 1  # more threads in a decoder lose; more processes win

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.container.close()
        if isinstance(error, av.error.FFmpegError):
            raise VideoError(self.path, f"damaged: {error.strerror}") from error

    def decode(self) -> Iterator[av.VideoFrame]:
        return self.container.decode(self.stream)

    def seek(self, pts: int) -> None:
        self.container.seek(pts, stream=self.stream, backward=True)

    def reopen(self) -> None:
        """Back to the start; also for streams that cannot seek."""
        self.container.close()
        self.open()

    @property
    def reorders_untimed(self) -> bool:
        """Whether packet times are made up by the demuxer for frames that the decoder reorders.

        AVI stores no presentation times; with B-frames FFmpeg's are off by a few frames.
        """
        return self.container.format.name == "avi" and bool(self.stream.codec_context.has_b_frames)


def _packet_table(video: _Opened) -> tuple[list[int], list[int], bool]:
    """All shown pts, the pts of key frames, and whether every packet had a pts of its own."""
    shown: list[int] = []
    keys: list[int] = []
    trusted = True
    empty = NOT_CODED if video.codec == "mpeg4" else 0
    for packet in video.container.demux(video.stream):
        if packet.size <= empty or packet.is_corrupt:
            continue  # the flush packet at the end, or one cut in two where the file was cut
        if packet.pts is None:
            trusted = False
            continue
        if packet.is_keyframe:
            keys.append(packet.pts)
        if not packet.is_discard:
            shown.append(packet.pts)
    trusted = trusted and not video.reorders_untimed and len(set(shown)) == len(shown)
    return shown, sorted(keys), trusted


def _decoded_table(video: _Opened, trusted: bool) -> tuple[list[int], bool]:
    """The pts of all frames that come out of the decoder, or mere counts where they cannot be trusted."""
    pts = [frame.pts for frame in video.decode()]
    known = [value for value in pts if value is not None]
    if trusted and len(known) == len(pts) == len(set(known)):
        return known, True
    return list(range(len(pts))), False


def _decode_wanted(
    video: _Opened, info: VideoInfo, wanted: Sequence[int]
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yields (number, frame) for the wanted numbers, ascending, seeking over the gaps where that saves work."""
    if info.pts is None:
        want = set(wanted)
        for number, frame in enumerate(video.decode()):
            if number in want:
                yield number, frame
            if number >= wanted[-1]:
                return
        return
    targets = [int(info.pts[number]) for number in wanted]
    at = 0
    reached = -1  # index into info.keys of the key frame from which we decode
    while at < len(targets):
        start = bisect_right(info.keys, targets[at]) - 1
        if start > reached or at == 0:
            frames = _from_key(video, info.keys[max(start, 0)] if info.keys else targets[at], targets[at])
            reached = max(start, reached)
        for frame in frames:
            if frame.pts is None or frame.pts < targets[at]:
                continue
            if frame.pts == targets[at]:
                yield wanted[at], frame
            at += 1
            if at == len(targets) or bisect_right(info.keys, targets[at]) - 1 > reached:
                break
        else:
            return


def _from_key(video: _Opened, key: int, target: int) -> Iterator[av.VideoFrame]:
    """Decodes from a key frame; from the start of the file where seeking leads past the target.

    MPEG transport streams have no index: FFmpeg lands between key frames, and decodes from the next one.
    """
    video.seek(key)
    frames = video.decode()
    first = next(frames, None)
    if first is None or (first.pts is not None and first.pts > target):
        video.reopen()
        return video.decode()
    return chain([first], frames)


def _shown_size(frame: av.VideoFrame, aspect: float) -> tuple[int, int]:
    """(width, height) of a frame with square pixels and upright."""
    width = max(1, round(frame.width * aspect))
    return (frame.height, width) if frame.rotation % 180 else (width, frame.height)


class _ToArray:
    """Turns frames into upright RGB arrays, (H, W, 3), scaled to `size` where one is given."""

    def __init__(self, size: tuple[int, int] | None, aspect: float) -> None:
        self.size = size
        self.aspect = aspect
        self.reformatter = VideoReformatter()  # keeps its scaling context from frame to frame

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        height, width = self.size or _shown_size(frame, self.aspect)[::-1]
        turns = round(frame.rotation / 90) % 4
        if turns % 2:
            height, width = width, height
        rgb = self.reformatter.reformat(frame, width, height, "rgb24", interpolation="AREA")
        array = np.asarray(rgb.to_ndarray(), dtype=np.uint8)
        return np.ascontiguousarray(np.rot90(array, turns))
