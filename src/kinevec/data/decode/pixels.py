"""Decoded frames as arrays: upright, with square pixels, in RGB."""

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

RGB = "rgb24"


def shown_size(frame: av.VideoFrame, aspect: float) -> tuple[int, int]:
    """(width, height) of a frame with square pixels and upright."""
    width = max(1, round(frame.width * aspect))
    return (frame.height, width) if quarter_turns(frame) % 2 else (width, frame.height)


def quarter_turns(frame: av.VideoFrame) -> int:
    """How far it is turned to be upright; a rotation by a few degrees is left as it is."""
    return round(frame.rotation / 90) % 4


class ToArray:
    """Turns frames into upright RGB arrays, (H, W, 3), scaled to `size` where one is given."""

    def __init__(self, size: tuple[int, int] | None, aspect: float) -> None:
        self.size = size
        self.aspect = aspect
        self.reformatter = VideoReformatter()  # keeps its scaling context from frame to frame

    def __call__(self, frame: av.VideoFrame, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """The array of a frame, written to `out` where that is given."""
        height, width = self.size or shown_size(frame, self.aspect)[::-1]
        if out is None:
            out = np.empty((height, width, 3), dtype=np.uint8)
        turns = quarter_turns(frame)
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
