"""Frames with their times as an H.264 file that browsers play."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from kinevec.data.whole import write_whole
from kinevec.show.activation import overlay
from kinevec.show.look import Look

TICKS = 90_000  # per second, as in broadcast video
BAR = 20  # pixels above each picture, for its name
LETTERS = 22  # of a name that fit above a picture


def activation_film(look: Look, path: Path) -> None:
    """The frames, and beside them where each encoder looks, at the speed of the source."""
    panes = {"frames": look.frames}
    panes |= {name: overlay(look.frames, seen.heat) for name, seen in look.seen.items()}
    beside = np.concatenate([_named(name, pictures) for name, pictures in panes.items()], axis=2)
    write_whole(path, lambda aside: _write(aside, beside, look.times))


def _named(name: str, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures (F, H, W, 3) below a bar with a name; OpenCV's font has no letters beyond ASCII."""
    bar = np.zeros((BAR, pictures.shape[2], 3), np.uint8)
    text = name.encode("ascii", "replace").decode()[:LETTERS]
    cv2.putText(bar, text, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate([np.broadcast_to(bar, (len(pictures), *bar.shape)), pictures], axis=1)


def _write(path: Path, frames: NDArray[np.uint8], times: NDArray[np.float64]) -> None:
    _, height, width, _ = frames.shape
    ticks = np.round((times - times[0]) * TICKS).astype(np.int64)
    rate = max(1, round((len(times) - 1) / max(float(times[-1] - times[0]), 1e-6)))
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "23", "preset": "medium"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        for picture, tick in zip(frames, ticks, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = int(tick), Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
