"""Videos made small enough to carry many of them inside one page."""

import base64
import io
import json
import math
import os
import statistics
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from html import escape
from pathlib import Path

import av
import cv2
import numpy as np
from av.codec.context import Flags
from numpy.typing import NDArray

from kinevec.data.decode import Clip, VideoInfo, probe, read_clip
from kinevec.errors import VideoError

SHORT_SIDE = 112  # pixels
LONG_SIDE = 224  # at most
MAX_FPS = 16.0
MAX_SECONDS = 3.0
TICKS = 90_000  # per second in the file, as in broadcast video

# The rate cap keeps even a video of noise below 14 KB; most stay far under it by their crf.
ENCODER = {"preset": "medium", "crf": "28", "maxrate": "24k", "bufsize": "24k", "bf": "2"}
POSTER_QUALITY = 50  # of JPEG


@dataclass(frozen=True)
class Thumbnail:
    """A few seconds of a video, small, at the speed of the original.

    Attributes:
        video: an MP4 file (H.264).
        poster: a JPEG file of its middle frame.
        width, height: of both in pixels, even.
    """

    video: bytes = field(repr=False)
    poster: bytes = field(repr=False)
    width: int
    height: int


def thumbnail(path: Path) -> Thumbnail:
    """Makes a small silent video of the middle of a video file.

    Raises:
        VideoError: the file cannot be read; says why.
    """
    info = probe(path)
    size = _size(info)
    clip = read_clip(path, _numbers(info), info=info, size=size)
    return Thumbnail(
        _mp4(clip, _rest(info, clip)), _jpeg(clip.frames[len(clip.frames) // 2]), size[1], size[0]
    )


class Videos:
    """The videos of a page: each file is decoded once, and stands in the page once.

    `element` shows a file as often as needed. The page holds `posters` in its style and `contents` in a script
    block; report.js plays contents[i] in every element that says `data-video="i"` while that is on screen.

    Args:
        paths: of all files, in order of appearance; repetitions count once.

    Attributes:
        shape: usual ratio of width to height, that of the tiles they are shown in.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        distinct = list(dict.fromkeys(paths))
        with ThreadPoolExecutor(os.cpu_count()) as threads:  # decoding and encoding let go of Python's lock
            made = dict(zip(distinct, threads.map(_thumbnail_or_reason, distinct), strict=True))
        self.failures = {path: result for path, result in made.items() if isinstance(result, str)}
        good = {path: result for path, result in made.items() if isinstance(result, Thumbnail)}
        self.thumbnails = list(good.values())
        self.places = {path: place for place, path in enumerate(good)}
        shapes = [one.width / one.height for one in self.thumbnails]
        self.shape = min(max(statistics.median(shapes), 0.6), 2.0) if shapes else 1.0

    def element(self, path: Path, name: str) -> str:
        """The HTML of one appearance of a video, or of a note that it does not decode and why."""
        if path in self.failures:
            reason = escape(self.failures[path])
            return f'<div class="missing" role="img" aria-label="{escape(name)} cannot be shown: {reason}">{reason}</div>'
        place = self.places[path]
        spoken = escape(f"video {name}")
        return f'<div class="moving v{place}" data-video="{place}" role="img" aria-label="{spoken}"></div>'

    def posters(self) -> str:
        """CSS rules that show each video's still picture until it plays, and where it cannot."""
        rules = (
            f".v{i}{{background-image:url({_uri(one.poster)})}}\n" for i, one in enumerate(self.thumbnails)
        )
        return "".join(rules)

    def contents(self) -> str:
        """JSON list of the MP4 files in base64."""
        return json.dumps([base64.b64encode(one.video).decode() for one in self.thumbnails])


def _uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _thumbnail_or_reason(path: Path) -> Thumbnail | str:
    try:
        return thumbnail(path)
    except VideoError as error:
        return error.reason


def _size(info: VideoInfo) -> tuple[int, int]:
    """(height, width) of the thumbnail, both even; small videos are not enlarged."""
    scale = min(1, SHORT_SIDE / min(info.height, info.width), LONG_SIDE / max(info.height, info.width))
    return max(2, 2 * round(scale * info.height / 2)), max(2, 2 * round(scale * info.width / 2))


def _numbers(info: VideoInfo) -> range:
    """Every so many frames of the middle few seconds."""
    step = max(1, math.ceil(info.fps / MAX_FPS - 1e-6))  # 48 fps is 3 × 16 in spite of rounded times
    most = max(1, round(MAX_SECONDS * info.fps / step))
    count = min(math.ceil(info.frames / step), most)
    start = (info.frames - 1 - (count - 1) * step) // 2
    return range(start, start + count * step, step)


def _rest(info: VideoInfo, clip: Clip) -> float:
    """Seconds that the last frame stays: until the source's frame that would be next, or as long as its others."""
    step = clip.numbers[1] - clip.numbers[0] if len(clip.numbers) > 1 else 1
    following = clip.numbers[-1] + step
    if following < info.frames:
        rest = float(info.times[following] - clip.times[-1])
    else:
        rest = step / info.fps if info.fps else 1.0
    return min(rest, MAX_SECONDS)  # in a time-lapse it may be hours


def _mp4(clip: Clip, rest: float) -> bytes:
    """Encodes frames at their times, from 0; the last one stays for `rest` seconds."""
    _, height, width, _ = clip.frames.shape
    ends = np.append(clip.times[1:], clip.times[-1] + rest) - clip.times[0]
    ticks = np.round(np.append(0, ends) * TICKS).astype(np.int64)
    content = io.BytesIO()
    with av.open(content, "w", format="mp4") as container:
        rate = max(1, round(len(clip.frames) / ends[-1]))  # what the bit rate is shared out by
        stream = container.add_stream("libx264", rate=rate, options=ENCODER)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        stream.codec_context.thread_count = 1  # the same bytes on every machine
        stream.codec_context.flags |= Flags.frame_duration  # so that the last frame's counts
        for picture, start, end in zip(clip.frames, ticks, ticks[1:], strict=False):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base, frame.duration = int(start), Fraction(1, TICKS), int(end - start)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return content.getvalue()


def _jpeg(frame: NDArray[np.uint8]) -> bytes:
    _, content = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, POSTER_QUALITY])
    return content.tobytes()
