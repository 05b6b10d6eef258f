"""Videos of given frames, and small labelled sets of them."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from kinevec.data.records import Record
from kinevec.data.source import Collection, open_videos


def painted_video(path: Path, frames: NDArray[np.uint8]) -> Path:
    """An H.264 file that shows frames (T, H, W, 3), all but lossless."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": "4"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def coloured_set(
    folder: Path, labels: Sequence[str], splits: Sequence[str], *, seed: int = 0, size: int = 32
) -> Collection:
    """Videos of which the label, a letter, decides how bright they are: "a" dark, "b" brighter, and so on."""
    rng = np.random.default_rng(seed)
    records = []
    for i, (label, split) in enumerate(zip(labels, splits, strict=True)):
        level = 40 + 80 * (ord(label) - ord("a"))
        frames = (level + rng.integers(-15, 16, (8, size, size, 3))).clip(0, 255).astype(np.uint8)
        path = painted_video(folder / f"{i:03}.mp4", frames)
        records.append(Record(path, path.name, label, None, split))
    return open_videos(records)
