"""The flow of a whole video as a block of bytes, for a file that is mapped into memory.

A block holds, for each of its S fields, the components (2, h, w) in steps, one byte each; then the step of
each field; then the change of motion from each to the next (MSCL, MDS), which is NaN where it was not measured.
"""

from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kinevec import config
from kinevec.data.source import Source
from kinevec.motion.encoding import Codes, Values, decode, encode
from kinevec.motion.flow import Flow
from kinevec.motion.frames import video_flow
from kinevec.motion.statistics import color_differential
from kinevec.runtime import one_thread


class Shape(NamedTuple):
    """Of the flow of a video."""

    fields: int
    height: int
    width: int


def block_bytes(fields: ArrayLike, height: ArrayLike, width: ArrayLike) -> NDArray[np.int64]:
    """Bytes of the blocks of videos with so many fields of so many pixels."""
    values = 2 * np.dtype(np.float32).itemsize
    pixels = np.asarray(height, np.int64) * np.asarray(width, np.int64)
    return np.asarray(np.asarray(fields, np.int64) * (2 * pixels + values))


@dataclass(frozen=True)
class Block:
    """The flow of one video, as it lies in a file.

    Attributes:
        codes: (S, 2, h, w) components in steps.
        steps: (S,) pixels.
        change: (S,) change of motion to the next field; 0 for the last, NaN where it was not measured.
    """

    codes: Codes
    steps: Values
    change: Values

    @classmethod
    def of(cls, buffer: NDArray[np.uint8], height: int, width: int) -> "Block":
        """The block in a stretch of bytes, none of which are read yet."""
        fields = len(buffer) // int(block_bytes(1, height, width))
        end = fields * 2 * height * width
        codes = buffer[:end].view(np.int8).reshape(fields, 2, height, width)
        # A view, not frombuffer: it may begin at any byte.
        steps, change = buffer[end:].view(np.float32).reshape(2, fields)
        return cls(codes, steps, change)

    def read(self, fields: ArrayLike) -> Flow:
        """The flow (T, 2, h, w) of the fields (T,) with these numbers; beyond the last one it stays."""
        rows = np.minimum(np.asarray(fields, np.int64), len(self.codes) - 1)
        return decode(self.codes[rows], np.asarray(self.steps[rows]))

    def change_of(self, frames: int) -> NDArray[np.float32]:
        """Change of motion of each of the video's F frames, (F,).

        At its end, where the flow repeats, it is not known: the last change that is known stands for it, since a
        change of 0 would keep the end of every video from being sampled.

        Raises:
            ValueError: it was not measured.
        """
        if np.isnan(self.change).any():
            raise ValueError("the change of motion was not measured: build with scores=True")
        return with_end(self.change[:-1], frames)


def with_end(change: Values, frames: int) -> NDArray[np.float32]:
    """(F,) changes of motion, of which the first ones are known; the last of these is repeated, 0 where there is none."""
    result = np.full(frames, change[-1] if len(change) else 0, np.float32)
    result[: len(change)] = change
    return result


def write_block(file: BinaryIO, source: Source, index: int, flow: config.Flow, *, scores: bool) -> Shape:
    """Computes the flow of a video and writes its block, piece by piece.

    Args:
        scores: also measure the change of motion.

    Raises:
        VideoError: a frame cannot be read; some of the block may be written.
        OSError: the file cannot be written.
    """
    shape = Shape(0, 1, 1)
    steps: list[Values] = []
    changes: list[Values] = []
    last: list[Flow] = []  # field of the piece before
    for piece in video_flow(source, index, flow):
        codes, step = encode(piece)
        file.write(codes.data)
        steps.append(step)
        shape = Shape(shape.fields + len(piece), *piece.shape[2:])
        if scores:
            with one_thread():
                changes.append(color_differential(np.concatenate([*last, piece]))[:-1])
            last = [piece[-1:]]
    end = np.zeros(1, np.float32)  # the last field is that of the frames after it too
    change = np.concatenate([*changes, end]) if scores else np.full(shape.fields, np.nan, np.float32)
    file.write(np.concatenate([*steps, change]).data)
    return shape
