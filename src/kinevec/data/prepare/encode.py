"""Frames to an H.264 file, the same bytes for the same frames."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Self

import av
import numpy as np
from numpy.typing import NDArray

from kinevec.data.decode import probe
from kinevec.data.frametable import FrameTable
from kinevec.data.prepare.plan import Plan, PrepareConfig
from kinevec.data.reasons import Unusable
from kinevec.data.whole import writing
from kinevec.errors import OutputError, VideoError


class Encoder:
    """Writes frames to an H.264 file in MP4, the same bytes for the same frames.

    Keyframes come exactly every `keyframe_every` frames, there are no B-frames, and the coding is that which
    decodes fastest (a quarter faster than x264's default at equal quality). The index is in front, so that
    browsers play the file while loading it.

    Raises:
        OutputError: the file cannot be written.
        Unusable: H.264 cannot hold such frames.
    """

    def __init__(self, path: Path, size: tuple[int, int], plan: Plan, config: PrepareConfig) -> None:
        self.path = path
        self.plan = plan
        self.written = 0
        every = config.keyframe_every
        # mbtree makes x264 now and then code small frames in another way.
        exact = f"keyint={every}:scenecut=0:bframes=0:mbtree=0"
        options = {
            "preset": "veryfast",
            "tune": "fastdecode",
            "crf": str(config.quality),
            "x264-params": exact,
        }
        with _encoding(path):
            self.container = av.open(
                str(path),
                "w",
                format="mp4",
                options={"fflags": "+bitexact"},
                container_options={"movflags": "faststart", "video_track_timescale": str(plan.timescale)},
            )
            self.stream = self.container.add_stream("libx264", rate=_rate(plan), options=options)
        self.stream.height, self.stream.width = size
        self.stream.pix_fmt = "yuv420p"
        self.stream.codec_context.time_base = Fraction(1, plan.timescale)
        self.stream.codec_context.thread_count = 1  # x264's choices depend on the number of threads

    def __enter__(self) -> Self:
        return self

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Writes the next frame, (H, W, 3) uint8 RGB."""
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture.pts = int(self.plan.pts[self.written])
        picture.time_base = self.stream.codec_context.time_base
        self.written += 1
        with _encoding(self.path):
            self.container.mux(self.stream.encode(picture))

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is None:
            with _encoding(self.path):
                self.container.mux(self.stream.encode())
                self.container.close()
        else:  # the file is given up; a further failure to write it is no news
            try:
                self.container.close()
            except (OSError, av.error.FFmpegError):
                return

    def finish(self) -> tuple[FrameTable, int]:
        """Makes sure that the closed file is on the disk and whole; returns its frame table and bytes.

        Raises:
            OutputError: what is there is not what was written.
        """
        with writing(self.path), self.path.open("rb") as file:
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
        try:
            info = probe(self.path)
        except VideoError as error:
            raise OutputError(f"{self.path}: was not written whole ({error.reason}); disk full?") from error
        if info.pts is None or not np.array_equal(info.pts, self.plan.pts):
            raise OutputError(f"{self.path}: was not written whole; disk full?")
        return FrameTable.of(info, Fraction(1, self.plan.timescale)), size


@contextmanager
def _encoding(path: Path) -> Iterator[None]:
    """What FFmpeg says while writing becomes an error that says whose fault it is."""
    with writing(path.parent):
        try:
            yield
        except av.error.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            reason = f"cannot be encoded as H.264: {error.strerror}"
            raise Unusable(path, "failed", reason) from error


def _rate(plan: Plan) -> Fraction:
    """Mean frames per second, for the header."""
    if len(plan.pts) < 2:
        return Fraction(25)
    return Fraction((len(plan.pts) - 1) * plan.timescale, int(plan.pts[-1])).limit_denominator(10_000)
