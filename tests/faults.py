"""Makers of real video files with real faults, for tests of everything that opens files.

`numbered_video` writes an intact file whose every frame shows its own number; the other makers start from it.
Each maker writes to `path` and returns it; each docstring says what PyAV 18 (FFmpeg 8) sees of the file.
"""

import os
import re
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

from numbered import numbered_video as numbered_video  # given on, so that tests import from here only
from numbered import read_number as read_number


def truncated_mp4(path: Path, frames: int = 60) -> Path:
    """An MP4 cut off at 60 % of its bytes, with the index in front, as after a broken copy.

    PyAV opens it and claims all frames; the packets end early, and decoding the last of them, cut in two,
    raises InvalidDataError.
    """
    content = numbered_video(path, frames, muxer={"movflags": "faststart"}).read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    return path


def no_moov(path: Path) -> Path:
    """An MP4 without its index, which stands at the end, as after a recorder lost power.

    PyAV raises InvalidDataError on opening.
    """
    content = numbered_video(path).read_bytes()
    path.write_bytes(content[: content.index(b"moov") - 4])
    return path


def zero_byte(path: Path) -> Path:
    """An empty file. PyAV raises InvalidDataError on opening."""
    path.write_bytes(b"")
    return path


def text_as_mp4(path: Path) -> Path:
    """Text with the name of a video. PyAV raises InvalidDataError on opening."""
    path.write_text("<html><body>404: the video was not found</body></html>\n" * 20)
    return path


def audio_only(path: Path, seconds: float = 1.0) -> Path:
    """Sound (AAC) without pictures. PyAV opens it; it has no video stream."""
    rate = 16_000
    samples = 0.1 * np.sin(np.arange(int(seconds * rate)) * 0.2)[None].astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def with_cover(path: Path, video: Path | None) -> Path:
    """A cover picture before the frames of a video, or before half a second of sound."""
    with av.open(str(path), "w") as out:
        cover = out.add_stream("mjpeg", rate=1)
        cover.width = cover.height = 64
        cover.pix_fmt = "yuvj420p"
        cover.disposition = Disposition.attached_pic
        source = av.open(str(video)) if video else None
        stream = (
            out.add_stream_from_template(source.streams.video[0])
            if source
            else out.add_stream("aac", rate=8000)
        )
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        picture.pts = 0
        out.mux([*cover.encode(picture), *cover.encode()])
        if source:
            for packet in source.demux(source.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    out.mux(packet)
            source.close()
            return path
        sound = av.AudioFrame(format="fltp", layout="mono", samples=4000)
        sound.sample_rate = 8000
        sound.pts = 0
        for plane in sound.planes:
            plane.update(bytes(plane.buffer_size))
        out.mux([*stream.encode(sound), *stream.encode()])
    return path


def one_frame(path: Path) -> Path:
    """A still. PyAV sees 1 frame, at pts 0, and an ordinary frame rate."""
    return numbered_video(path, 1)


VARIABLE_TIMES = (0, 40, 50, 200, 233, 300, 410, 411, 500, 900, 940, 980)  # milliseconds


def variable_frame_rate(path: Path, milliseconds: Sequence[int] = VARIABLE_TIMES) -> Path:
    """Frames at irregular times. PyAV gives the exact times; the average rate tells nothing of them."""
    return numbered_video(path, len(milliseconds), pts=milliseconds, time_base=Fraction(1, 1000))


def rotated(path: Path, degrees: int, size: tuple[int, int] = (96, 64)) -> Path:
    """A file to be turned by `degrees` (90, 180, 270) counter-clockwise on showing, as telephones write them.

    PyAV gives the picture lying, with width and height as coded, and `frame.rotation` (90, -180, -90); turned
    by that it has `size` and its number can be read.
    """
    return numbered_video(path, 8, size, rotation=degrees)


def odd_size(path: Path, size: tuple[int, int] = (33, 47)) -> Path:
    """Odd width and height with halved colour planes (mpeg4; H.264 cannot). PyAV gives the odd size."""
    return numbered_video(path, 8, size, codec="mpeg4")


def anamorphic(path: Path, size: tuple[int, int] = (96, 64), aspect: Fraction = Fraction(4, 3)) -> Path:
    """Pixels wider than high. PyAV gives `size` and `sample_aspect_ratio`, and stretches nothing."""
    return numbered_video(path, 8, size, aspect=aspect)


def wrong_extension(path: Path) -> Path:
    """Matroska under any name. PyAV goes by the content and reads it; `stream.frames` is 0, as in all Matroska."""
    return numbered_video(path, format="matroska")


def negative_start(path: Path, frames: int = 30, hidden: int = 5) -> Path:
    """An MP4 whose edit list starts after the first `hidden` frames, as lossless cutting leaves them.

    PyAV claims all frames and gives packets for all; those of the hidden ones have negative pts and dts and
    `is_discard`, and decoding leaves them out: the first frame, at pts 0, shows the number `hidden`.
    """
    return numbered_video(path, frames, pts=range(-hidden, frames - hidden))


def lying_frame_count(path: Path, frames: int = 30, claimed: int = 100) -> Path:
    """An AVI whose headers claim another number of frames. PyAV claims it too, and decodes the real ones."""
    content = bytearray(numbered_video(path, frames, codec="mpeg4", format="avi").read_bytes())
    for chunk, offset in ((b"avih", 16), (b"strh", 32)):  # dwTotalFrames and dwLength
        struct.pack_into("<I", content, content.index(chunk) + 8 + offset, claimed)
    path.write_bytes(content)
    return path


def corrupt_middle(path: Path, frames: int = 60) -> Path:
    """A tenth of the coded bytes flipped, in the middle.

    Named .avi it is mpeg4, and decoding raises nothing: some frames are missing, the later ones come at
    earlier pts than they should. Any other name makes H.264 in MP4: decoding raises InvalidDataError at a
    packet, goes on after it, and may give damaged pictures.
    """
    avi = path.suffix == ".avi"
    content = bytearray(
        numbered_video(path, frames, codec="mpeg4" if avi else "libx264", options={"g": "12"}).read_bytes()
    )
    start, end = (content.index(mark) for mark in ((b"movi", b"idx1") if avi else (b"mdat", b"moov")))
    for i in range((start + end) // 2, (start + end) // 2 + (end - start) // 10):
        content[i] ^= 0xFF
    path.write_bytes(content)
    return path


def mpeg4_avi_with_bframes(path: Path, frames: int = 30) -> Path:
    """MPEG-4 with two B-frames in a row in an AVI, which keeps no presentation times.

    PyAV makes pts up from the pictures' types: right in order, but from 1 instead of 0 (`start_time` is 0).
    """
    return numbered_video(path, frames, codec="mpeg4", options={"bf": "2"}, format="avi")


def h264_avi_with_bframes(path: Path, frames: int = 30) -> Path:
    """H.264 with B-frames in an AVI. PyAV makes up wrong pts: frames come out in order, their pts do not."""
    return numbered_video(path, frames, format="avi")


def without_times(path: Path, frames: int = 30) -> Path:
    """A raw H.264 stream. PyAV gives no pts at all, no duration and 0 frames; decoding is exact."""
    return numbered_video(path, frames, format="h264")


def packed_bframes_avi(path: Path, frames: int = 30) -> Path:
    """B-frames the way DivX and XviD pack them into an AVI, as in many old data sets.

    The first B-frame of a row shares a packet with the frame that it follows in the stream, and an empty packet
    after the row makes up for it. PyAV decodes all frames in order, but its pts are wrong and go back at times.
    """
    with av.open(str(mpeg4_avi_with_bframes(path, frames))) as source:
        template = source.streams.video[0]
        contents = _pack([bytes(packet) for packet in source.demux(template) if packet.size])
        with av.open(f"{path}.packed", "w", format="avi") as target:
            stream = target.add_stream_from_template(template)
            for i, content in enumerate(contents):
                packet = av.Packet(content)
                packet.stream, packet.time_base, packet.is_keyframe = (
                    stream,
                    Fraction(1, 25),
                    _kind(content) == 0,
                )
                packet.pts = packet.dts = i
                target.mux(packet)
    return Path(f"{path}.packed").rename(path)


def _pack(contents: Sequence[bytes]) -> list[bytes]:
    packed: list[bytes] = []
    owed = False  # whether the current row of B-frames has begun in the packet before it
    for content in contents:
        content = re.sub(rb"Lavc[0-9.]+", b"DivX503b1393p", content)  # p for packed
        if _kind(content) == 2 and not owed:
            packed[-1] += content
        elif _kind(content) != 2 and owed:
            packed += [b"\0\0\1\xb6\x50\x4f", content]  # a picture marked as not coded
        else:
            packed.append(content)
        owed = _kind(content) == 2
    return packed + [b"\0\0\1\xb6\x50\x4f"] * owed


def _kind(content: bytes) -> int:
    """0, 1 or 2 for an MPEG-4 packet that begins with an I-, P- or B-picture."""
    return content[content.index(b"\0\0\1\xb6") + 4] >> 6


def unreadable(path: Path) -> Path | None:
    """A video without permission to read. PyAV raises PermissionError; None where that stops nobody (root)."""
    numbered_video(path)
    path.chmod(0)
    return None if os.access(path, os.R_OK) else path


def symlink_loop(folder: Path) -> Path:
    """A folder with `real.mp4`, a link `again` to the folder itself and a link `self.mp4` to itself.

    Walking `again` goes on until the system refuses; PyAV raises OSError (too many levels) for `self.mp4`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbered_video(folder / "real.mp4")
    (folder / "again").symlink_to(folder, target_is_directory=True)
    (folder / "self.mp4").symlink_to("self.mp4")
    return folder
