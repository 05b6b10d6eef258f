"""Exact frames out of video files: `probe` a file once, then `read_clip` any of its frames.

A frame has a number, its rank in order of presentation. Numbers are turned into presentation
timestamps (pts) by the table that `probe` reads from the packets, so that variable frame rates
and B-frames are exact. Files whose packets carry no usable pts (old AVI) are decoded from the
start and counted.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from kinevec.data.container import Opened
from kinevec.errors import VideoError

# These codecs hide frames in packets of their own: only decoding tells which packets show.
HIDING_CODECS = {"vp8"}
RGB = "rgb24"
NEAR = 3  # frames to the next key frame that are decoded rather than sought over: that costs about as much
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
    with Opened(path) as video:
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
    order = list(numbers)
    places: dict[int, list[int]] = {number: [] for number in wanted}
    for place, number in enumerate(order):
        places[number].append(place)
    height, width = size or (info.height, info.width)  # also where a stream changes it on the way
    frames = np.empty((len(order), height, width, 3), dtype=np.uint8)
    with Opened(path) as video:
        convert = _ToArray((height, width), video.aspect)
        for number, frame in _decode_wanted(video, info, wanted):
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
        convert = _ToArray(size, video.aspect)
        for frame in video.decode():
            yield convert(frame)


def _packet_table(video: Opened) -> tuple[list[int], list[int], bool]:
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


def _decoded_table(video: Opened, trusted: bool) -> tuple[list[int], bool]:
    """The pts of all frames that come out of the decoder, or mere counts where they cannot be trusted."""
    pts = [frame.pts for frame in video.decode()]
    known = [value for value in pts if value is not None]
    if trusted and len(known) == len(pts) == len(set(known)):
        return known, True
    return list(range(len(pts))), False


def _decode_wanted(
    video: Opened, info: VideoInfo, wanted: Sequence[int]
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yields (number, frame) for the wanted numbers, seeking over the gaps where that saves work."""
    if info.pts is None:
        want = set(wanted)
        for number, frame in enumerate(video.decode()):
            if number in want:
                yield number, frame
            if number >= wanted[-1]:
                return
        return
    for key, numbers in _runs(info.pts, info.keys, wanted):
        left = {int(info.pts[number]): number for number in numbers}
        for frame in _decode_run(video, key, left.keys()):
            if frame.pts in left:
                yield left.pop(frame.pts), frame
        if left:  # a stream that is refreshed bit by bit shows nothing for a while after a key frame
            video.reopen()
            for frame in video.decode():
                if frame.pts in left:
                    yield left.pop(frame.pts), frame
                if not left:
                    break


def _runs(pts: NDArray[np.int64], keys: Sequence[int], wanted: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Pts to seek to, and the wanted numbers (ascending) to decode from there on; ascending."""
    if not keys:
        return [(int(pts[wanted[0]]), list(wanted))]
    key_of = np.maximum(np.searchsorted(keys, pts[np.asarray(wanted)], "right") - 1, 0)
    key_numbers = np.searchsorted(pts, np.asarray(keys))
    runs: list[tuple[int, list[int]]] = []
    for place, number in enumerate(wanted):
        key = key_of[place]
        if not place or (key != key_of[place - 1] and key_numbers[key] - wanted[place - 1] > NEAR):
            runs.append((keys[key], []))
        runs[-1][1].append(number)
    return runs


def _decode_run(video: Opened, key: int, targets: Collection[int]) -> Iterator[av.VideoFrame]:
    """Decodes from a key frame on until the frames with these pts are out; others may come along.

    Of H.264, frames that no other frame refers to are skipped unless they are wanted, and the decoder is
    emptied as soon as it has got all that is wanted, instead of being fed until it gives them up.
    """
    packets = video.packets_from(key, min(targets))
    decoder = video.stream.codec_context
    one_to_one = video.codec == "h264"  # a packet is a frame
    left = set(targets)
    skipping = False
    for packet in packets:
        if one_to_one and skipping == (packet.pts in left):
            skipping = not skipping
            decoder.skip_frame = "NONREF" if skipping else "DEFAULT"
        for frame in packet.decode():
            if not one_to_one:
                left.discard(frame.pts)
            yield frame
        if one_to_one:
            left.discard(packet.pts)
        if not left:
            break
    if one_to_one and not left:
        yield from decoder.decode(None)


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

    def __call__(self, frame: av.VideoFrame, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """The array of a frame, written to `out` where that is given."""
        height, width = self.size or _shown_size(frame, self.aspect)[::-1]
        if out is None:
            out = np.empty((height, width, 3), dtype=np.uint8)
        turns = round(frame.rotation / 90) % 4
        if turns % 2:
            height, width = width, height
        # One thread: to wake others costs ten times the conversion of a small frame.
        rgb = self.reformatter.reformat(
            frame, width, height, RGB, interpolation=Interpolation.AREA, threads=1
        )
        plane = rgb.planes[0]  # its rows are longer than the picture
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
        picture = rows[:, : 3 * width].reshape(height, width, 3)
        out[:] = np.rot90(picture, turns) if turns else picture
        return out
