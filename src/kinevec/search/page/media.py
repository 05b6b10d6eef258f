"""Small silent films and still pictures of parts of videos, as every browser plays them.

Runs in worker processes, and needs no PyTorch, so that one that was killed is soon back.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.codec.context import Flags
from numpy.typing import NDArray

from kinevec.data.decode import VideoInfo, probe, read_clip
from kinevec.errors import VideoError

TICKS = 90_000  # in a second
QUALITY = 70  # of a JPEG
LONGEST = 2.0  # seconds that a frame stays, at most
MOST_PIXELS = 8192 * 4320  # of an uploaded video
MOST_FRAMES = 2_000_000  # of an uploaded video


@dataclass(frozen=True)
class Style:
    """How much of a video a film shows.

    Attributes:
        side: pixels of its longer side, at most.
        seconds: its length, at most.
        fps: frames in a second, at most.
    """

    side: int
    seconds: float
    fps: float


CLIP = Style(side=224, seconds=3.0, fps=16.0)
PREVIEW = Style(side=320, seconds=30.0, fps=10.0)


@dataclass(frozen=True)
class Take:
    """Which frames of a video a film shows.

    Attributes:
        numbers: of its G frames.
        ticks: (G + 1,) when each is shown, from 0, and when the last one ends.
        size: (height, width), even.
    """

    numbers: NDArray[np.int64]
    ticks: NDArray[np.int64]
    size: tuple[int, int]


def take(info: VideoInfo, start: float, stop: float, style: Style) -> Take:
    """Chooses frames between two moments, evenly, at the speed of the source.

    Args:
        start, stop: seconds; of a longer part the first is shown. Where no frame lies between, the nearest one is.
    """
    stop = min(stop, start + style.seconds)
    half = 0.5 / info.fps if info.fps else 0.0
    inside = np.flatnonzero((info.times >= start - half) & (info.times < stop - half))
    if not len(inside):
        inside = np.array([int(np.abs(info.times - start).argmin())])
    step = max(1, math.ceil(info.fps / style.fps - 1e-6))
    numbers = inside[::step]
    times = info.times[numbers]
    rest = min(max(min(stop, float(times[-1]) + step * 2 * half) - float(times[-1]), 0.02), LONGEST)
    ticks = np.rint((np.append(times, times[-1] + rest) - times[0]) * TICKS).astype(np.int64)
    scale = min(1.0, style.side / max(info.height, info.width))
    height, width = (max(2, 2 * int(scale * side / 2)) for side in (info.height, info.width))
    return Take(numbers, ticks, (height, width))


def measure(path: str) -> dict[str, float]:
    """Seconds, fps, frames, width and height of an uploaded file.

    Raises:
        VideoError: it is no video, or too large to work on.
    """
    info = probe(Path(path))
    if info.width * info.height > MOST_PIXELS or info.frames > MOST_FRAMES:
        raise VideoError(path, f"{info.frames:,} frames of {info.width}×{info.height} are too many")
    seconds = float(info.times[-1]) + (1 / info.fps if info.fps else 0.04)
    return {
        "seconds": seconds,
        "fps": info.fps,
        "frames": info.frames,
        "width": info.width,
        "height": info.height,
    }


def make_clip(path: str, target: str, start: float, stop: float) -> None:
    """Writes the film of a clip to `target`, and the picture of its middle beside it, as .jpg."""
    info = probe(Path(path))
    chosen = take(info, start, stop, CLIP)
    frames = read_clip(info.path, chosen.numbers.tolist(), info=info, size=chosen.size).frames
    picture = np.ascontiguousarray(frames[len(frames) // 2][..., ::-1])
    _, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    write_film(Path(target), frames, chosen.ticks)
    Path(target).with_suffix(".jpg").write_bytes(content.tobytes())


def make_preview(path: str, target: str, start: float) -> None:
    """Writes a film of some seconds of a video, from `start` on, to mark a part in."""
    info = probe(Path(path))
    chosen = take(info, start, start + PREVIEW.seconds, PREVIEW)
    frames = read_clip(info.path, chosen.numbers.tolist(), info=info, size=chosen.size).frames
    write_film(Path(target), frames, chosen.ticks)


def write_film(path: Path, frames: NDArray[np.uint8], ticks: NDArray[np.int64]) -> None:
    """Writes frames (G, H, W, 3), H and W even, as H.264; frame g is shown from ticks[g] to ticks[g + 1]."""
    _, height, width, _ = frames.shape
    rate = max(1, round(len(frames) * TICKS / int(ticks[-1])))
    options = {
        "preset": "veryfast",
        "crf": "26",
        "bf": "0",
        "g": "16",
    }  # keyframes often: parts of it are played
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= Flags.frame_duration  # so that the last frame's counts
        for picture, start, end in zip(frames, ticks, ticks[1:], strict=False):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base, frame.duration = int(start), Fraction(1, TICKS), int(end - start)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
