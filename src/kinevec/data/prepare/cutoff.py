"""How long a video file should be by its own structure, to tell one that was cut off."""

import os
import struct
from pathlib import Path
from typing import BinaryIO

from kinevec.data.reasons import BOXES

_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"


def claimed_size(path: Path) -> int | None:
    """Bytes that a file needs to hold all the pictures it claims to have.

    Known for MP4 and QuickTime (`mdat` boxes), AVI (`movi` lists) and Matroska and WebM (the segment);
    None for others, and where the file says nothing or nonsense.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if head[4:8] in BOXES:
            return _mp4(file)
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            return _avi(file)
        if head[:4] == _EBML:
            return _matroska(file)
    return None


def _mp4(file: BinaryIO) -> int:
    """The end of the last picture data among the boxes at the top."""
    at, needed = 0, 0
    while True:
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return needed
        size, kind = struct.unpack(">I4s", head[:8])
        if size == 1 and len(head) == 16:
            size = struct.unpack(">Q", head[8:])[0]
        if kind not in BOXES or size < 8:  # what follows the last box, or one that goes on to the end
            return needed
        at += size
        if kind == b"mdat":
            needed = at


def _avi(file: BinaryIO) -> int:
    """The end of the last list of pictures. Long files are several RIFF chunks in a row."""
    length = os.fstat(file.fileno()).st_size
    riff, needed = 0, 0
    while riff + 12 <= length:
        file.seek(riff)
        kind, riff_size = struct.unpack("<4sI", file.read(8))
        if kind != b"RIFF":
            break
        end = riff + 8 + riff_size
        at = riff + 12
        while at + 12 <= min(end, length):
            file.seek(at)
            name, size, what = struct.unpack("<4sI4s", file.read(12))
            at += 8 + size + size % 2
            if (name, what) == (b"LIST", b"movi") and size < 2**32 - 4096:  # -1: never filled in
                needed = at - size % 2
        riff = end + end % 2
    return needed


def _matroska(file: BinaryIO) -> int | None:
    """The end of the segment that follows the header."""
    file.seek(4)
    header = _number(file)
    if header is None:
        return None
    file.seek(header, os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return None
    size = _number(file)
    return None if size is None else file.tell() + size


def _number(file: BinaryIO) -> int | None:
    """A number of 1 to 8 bytes as Matroska writes sizes; None: "unknown", or cut off."""
    first = file.read(1)
    if not first or first == b"\0":
        return None
    more = 8 - first[0].bit_length()
    rest = file.read(more)
    value = int.from_bytes(bytes([first[0] & (0x7F >> more)]) + rest, "big")
    return None if len(rest) < more or value == (1 << 7 * (more + 1)) - 1 else value
