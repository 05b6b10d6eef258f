"""Whether a file is a video that decodes to its end, and if not, why, in words a person can act on.

FFmpeg reads a file that was cut off as if it had simply ended. So the size that a file's own structure
claims is compared with the size it has (MP4 and QuickTime, AVI, Matroska and WebM), and the frames that
decode are counted against the packets.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from kinevec.data.container import moving_stream
from kinevec.data.decode import VideoInfo, iter_frames, probe
from kinevec.data.prepare.cutoff import claimed_size
from kinevec.data.reasons import Unusable, denied, is_mp4, look, unknown
from kinevec.errors import VideoError

_ADVICE = "copy it again, or cut it there"
_NOT_CODED = 19  # bytes, at most, of a packet of MPEG-4 without a picture


@dataclass(frozen=True)
class Stamp:
    """What tells without reading a file that it is the one we have seen."""

    size: int  # bytes
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        """The stamp of a file.

        Raises:
            Unusable: it is not there, no file that can be read, or empty.
        """
        found = look(path)
        return cls(found.st_size, found.st_mtime_ns)


@dataclass(frozen=True)
class Checked:
    """A file that opens as a video; its frames are still to be decoded.

    Attributes:
        info: its frame table.
        time_base: seconds of one unit of `info.pts`, or from one frame to the next where it has no pts.
        claimed: number of frames that its index names, hidden ones too; 0: not known.
        size: its bytes.
        should: bytes that it should have by its own structure; more than `size` where it was cut off.
    """

    info: VideoInfo
    time_base: Fraction
    claimed: int
    size: int
    should: int


def content_hash(path: Path) -> str:
    """BLAKE2b of a file's content, 128 bits as 32 hexadecimal digits.

    Raises:
        Unusable: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise denied(path, error) from error


def check(path: Path) -> Checked:
    """Opens a file and reads its frame table.

    Raises:
        Unusable: it is no video, or so damaged that no frame of it decodes.
    """
    size = Stamp.of(path).size
    header = _Header.of(path)
    try:
        info = probe(path)
    except Unusable:
        raise
    except VideoError as error:
        whole = _count(path)
        reason = f"damaged after frame {whole:,}: {_ADVICE}" if whole else error.reason
        raise Unusable(path, "damaged", reason) from error
    time_base = header.time_base if info.pts is not None else 1 / header.rate
    checked = Checked(info, time_base, header.claimed, size, claimed_size(path) or size)
    if header.coded > info.frames:
        text = f"damaged: only {info.frames:,} of {header.coded:,} frames are there: {_ADVICE}"
        raise Unusable(path, "damaged", _cut(checked) + text)
    return checked


def decode_whole(checked: Checked, size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """Decodes all frames, (H, W, 3) uint8 of the given (height, width), and insists that it is all of them.

    Raises:
        Unusable: the file does not decode to its end; says after which frame.
    """
    path, expected = checked.info.path, checked.info.frames
    count = 0
    try:
        for frame in iter_frames(path, size=size):
            count += 1
            if count <= expected:
                yield frame
    except Unusable:  # what may pass
        raise
    except VideoError as error:
        raise Unusable(path, "damaged", _where(checked, count)) from error
    if count != expected or checked.should > checked.size:
        raise Unusable(path, "damaged", _where(checked, count))


@dataclass(frozen=True)
class _Header:
    """What a file says of itself before anything is decoded."""

    time_base: Fraction
    rate: Fraction  # frames per second where there are no times
    claimed: int  # see Checked
    coded: int  # pictures that must be there; 0: not known

    @classmethod
    def of(cls, path: Path) -> "_Header":
        try:
            with av.open(os.path.abspath(path), metadata_errors="ignore") as container:
                stream = moving_stream(container, path)
                rate = stream.average_rate or stream.guessed_rate or Fraction(25)
                # Other files note a number as well, which may be wrong though all frames are there.
                claimed = stream.frames if is_mp4(path) else 0
                # Damage to AVI can make the decoder leave frames out without a word.
                coded = _coded(stream) if container.format.name == "avi" else 0
                return cls(Fraction(stream.time_base or 1), Fraction(rate), claimed, coded)
        except OSError as error:
            raise denied(path, error) from error
        except av.error.FFmpegError as error:
            raise unknown(path) from error


def _coded(stream: av.VideoStream) -> int:
    """Number of pictures in the index of an AVI; empty packets in it only say that the last one stays."""
    empty = _NOT_CODED if stream.codec_context.name == "mpeg4" else 0
    return sum(entry.size > empty for entry in stream.index_entries)


def _cut(checked: Checked) -> str:
    if checked.should <= checked.size:
        return ""
    return f"cut off: {checked.size:,} of {checked.should:,} bytes are there; "


def _where(checked: Checked, count: int) -> str:
    expected, cut = checked.info.frames, _cut(checked)
    total = max(expected, checked.claimed if cut else 0)
    if count > total and not cut:
        return f"damaged: only {total:,} of {count:,} frames are whole: {_ADVICE}"
    whole = min(count, expected)
    at = float(checked.info.times[whole - 1]) if whole else 0.0
    of = f" of {total:,}" if total > whole else ""
    return f"{cut}damaged after frame {whole:,}{of} ({at:.1f} s): {_ADVICE}"


def _count(path: Path) -> int:
    """Number of frames that decode before the first failure."""
    count = 0
    with suppress(VideoError):
        for _ in iter_frames(path, size=(16, 16)):
            count += 1
    return count
