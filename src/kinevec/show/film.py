"""Frames with their times as an H.264 file that browsers play."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from kinevec.data.whole import write_whole
from kinevec.show.activation import overlay
from kinevec.show.letters import boxes_for_letters, drawable, without_middle
from kinevec.show.look import Look

TICKS = 90_000  # per second, as in broadcast video
BAR = 20  # pixels above each picture, for its name
MARGIN = 5  # pixels left and right of a name


def activation_film(look: Look, path: Path) -> None:
    """The frames, and beside them where each encoder looks, at the speed of the source."""
    panes = {"frames": look.frames}
    panes |= {name: overlay(look.frames, seen.heat) for name, seen in look.seen.items()}
    beside = np.concatenate(list(panes.values()), axis=2)
    bar = captions(list(panes), look.frames.shape[2])
    named = np.concatenate([np.broadcast_to(bar, (len(beside), *bar.shape)), beside], axis=1)
    write_whole(path, lambda aside: _write(aside, named, look.times))


def captions(names: Sequence[str], width: int) -> NDArray[np.uint8]:
    """A black bar (BAR, names · width, 3) with names, each over its own picture and cut to its width.

    By Matplotlib, since OpenCV's font has no letters beyond ASCII; a letter that Matplotlib's has not becomes a box.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # takes a moment to import
    from matplotlib.figure import Figure

    whole = len(names) * width
    figure = Figure(figsize=(whole / 100, BAR / 100), dpi=100, facecolor="black")
    canvas: Any = FigureCanvasAgg(figure)  # Any: it has no type hints
    with boxes_for_letters():
        for place, name in enumerate(names):
            name, letters = drawable(name), len(name)
            x = (place * width + MARGIN) / whole
            text = figure.text(
                x, 0.5, name, color="white", fontsize=8.5, va="center_baseline", parse_math=False
            )
            while letters > 1 and text.get_window_extent().width > width - 2 * MARGIN:
                letters -= 1
                text.set_text(without_middle(name, letters))
        canvas.draw()
    picture: NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    return picture


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
