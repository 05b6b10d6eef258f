"""A video file that is open: its packets and frames, and FFmpeg's errors in words."""

import errno
import os
from collections.abc import Container, Iterator
from itertools import chain
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition

from kinevec.data.reasons import Unusable, denied, look, unknown
from kinevec.errors import VideoError


class Opened:
    """An open video file whose FFmpeg errors come out as `VideoError` with a reason in words."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> "Opened":
        self.open()
        return self

    def open(self) -> None:
        """Opens the file at its start.

        Raises:
            Unusable: it cannot be read, or is no video.
            VideoError: it needs a decoder that is not there.
        """
        try:
            look(self.path)
            # Of a relative name FFmpeg takes what stands before a colon for a protocol.
            self.container = av.open(os.path.abspath(self.path), metadata_errors="ignore")
        except OSError as error:
            raise denied(self.path, error) from error
        except av.error.FFmpegError as error:
            raise unknown(self.path) from error
        try:
            self.stream = moving_stream(self.container, self.path)
        except Unusable:
            self.container.close()
            raise
        if not hasattr(self.stream.codec_context, "name"):  # None: FFmpeg has no such decoder
            self.container.close()
            raise VideoError(
                self.path, "its video codec is unknown to this FFmpeg; convert it, e.g. to H.264"
            )
        self.codec = self.stream.codec_context.name
        self.aspect = float(self.stream.sample_aspect_ratio or 1)  # width over height of one pixel
        self.stream.codec_context.thread_count = 1  # more threads in a decoder lose; more processes win

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.container.close()
        if isinstance(error, av.error.FFmpegError):
            raise said(self.path, error) from error

    def decode(self) -> Iterator[av.VideoFrame]:
        """All frames from here on."""
        return self.container.decode(self.stream)

    def packets_from(
        self, key: int, target: int, keys: Container[int]
    ) -> "Iterator[av.Packet[av.VideoStream]]":
        """Packets from a key frame on; from the start of the file where seeking leads past the target, or astray.

        MPEG transport streams have no index: FFmpeg lands between key frames, and decodes from the next one. In MPEG
        program streams it can give the packet that it lands on the time of another.

        Args:
            keys: the times of all key frames.
        """
        self.container.seek(key, stream=self.stream, backward=True)
        packets = self.container.demux(self.stream)
        for packet in packets:
            if packet.is_keyframe or packet.size == 0:
                break
        if packet.pts is None or packet.pts > target or packet.pts not in keys:
            self.reopen()
            return self.container.demux(self.stream)
        return chain([packet], packets)

    def reopen(self) -> None:
        """Back to the start; also for streams that cannot seek."""
        self.container.close()
        self.open()

    @property
    def reorders_untimed(self) -> bool:
        """Whether packet times are made up by the demuxer for frames that the decoder reorders.

        AVI stores no presentation times; with B-frames FFmpeg's are off by a few frames.
        """
        return self.container.format.name == "avi" and bool(self.stream.codec_context.has_b_frames)


def moving_stream(container: InputContainer, path: Path) -> av.VideoStream:
    """The first video stream that is no cover picture.

    Raises:
        Unusable: there is none.
    """
    streams = container.streams.video
    if not streams:
        raise Unusable(path, "no-video-stream", "has no video stream (sound only?)")
    for stream in streams:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise Unusable(path, "no-video-stream", "is sound with a cover picture")


def said(path: Path, error: av.error.FFmpegError) -> VideoError:
    """What FFmpeg says of a file, in words; apart from damage what may pass: memory or a share that fails."""
    if isinstance(error, MemoryError):
        return Unusable(path, "failed", "memory was too short to decode it")
    # FFmpeg says EIO of files that end too early, too.
    if isinstance(error, OSError) and (error.errno != errno.EIO or not _readable(path)):
        return Unusable(path, "unreadable", f"cannot be read: {error.strerror}")
    return VideoError(path, f"damaged: {error.strerror}")


def _readable(path: Path) -> bool:
    """Whether the bytes of a file can be read, all of them."""
    try:
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 20):
                pass
    except OSError:
        return False
    return True
