"""A video file that is open: its packets and frames, and FFmpeg's errors in words."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import av

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
            self.container = av.open(str(self.path), metadata_errors="ignore")
        except OSError as error:
            raise denied(self.path, error) from error
        except av.error.FFmpegError as error:
            raise unknown(self.path) from error
        if not self.container.streams.video:
            self.container.close()
            raise Unusable(self.path, "no-video-stream", "has no video stream (sound only?)")
        self.stream = self.container.streams.video[0]
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
            raise VideoError(self.path, f"damaged: {error.strerror}") from error

    def decode(self) -> Iterator[av.VideoFrame]:
        """All frames from here on."""
        return self.container.decode(self.stream)

    def packets_from(self, key: int, target: int) -> "Iterator[av.Packet[av.VideoStream]]":
        """Packets from a key frame on; from the start of the file where seeking leads past the target.

        MPEG transport streams have no index: FFmpeg lands between key frames, and decodes from the next one.
        """
        self.container.seek(key, stream=self.stream, backward=True)
        packets = self.container.demux(self.stream)
        for packet in packets:
            if packet.is_keyframe or packet.size == 0:
                break
        if packet.pts is None or packet.pts > target:
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
