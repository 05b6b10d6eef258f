"""The way to wanted frames: from which key frames on to decode, and which frames on the way can be left out."""

from collections.abc import Collection, Container, Iterator, Sequence

import av
import numpy as np
from numpy.typing import NDArray

from kinevec.data.container import Opened
from kinevec.data.decode.info import VideoInfo

NEAR = 3  # frames to the next key frame that are decoded rather than sought over: that costs about as much


def decode_wanted(
    video: Opened, info: VideoInfo, wanted: Sequence[int]
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yields (number, frame) for the wanted numbers, seeking over the gaps where that saves work."""
    if info.pts is None:
        want = set(wanted)
        for number, frame in enumerate(video.decode()):
            if number in want:
                yield number, frame
            if number >= wanted[-1]:
                return
        return
    keys = frozenset(info.keys)
    for key, numbers in _runs(info.pts, info.keys, wanted):
        left = {int(info.pts[number]): number for number in numbers}
        for frame in _decode_run(video, key, left.keys(), keys):
            if frame.pts in left:
                yield left.pop(frame.pts), frame
        if left:  # a stream that is refreshed bit by bit shows nothing for a while after a key frame
            video.reopen()
            for frame in video.decode():
                if frame.pts in left:
                    yield left.pop(frame.pts), frame
                if not left:
                    break


def _runs(pts: NDArray[np.int64], keys: Sequence[int], wanted: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Pts to seek to, and the wanted numbers (ascending) to decode from there on; ascending."""
    if not keys:
        return [(int(pts[wanted[0]]), list(wanted))]
    key_of = np.maximum(np.searchsorted(keys, pts[np.asarray(wanted)], "right") - 1, 0)
    key_numbers = np.searchsorted(pts, np.asarray(keys))
    runs: list[tuple[int, list[int]]] = []
    for place, number in enumerate(wanted):
        key = key_of[place]
        if not place or (key != key_of[place - 1] and key_numbers[key] - wanted[place - 1] > NEAR):
            runs.append((keys[key], []))
        runs[-1][1].append(number)
    return runs


def _decode_run(
    video: Opened, key: int, targets: Collection[int], keys: Container[int]
) -> Iterator[av.VideoFrame]:
    """Decodes from a key frame on until the frames with these pts are out; others may come along.

    Of H.264, frames that no other frame refers to are skipped unless they are wanted, and the decoder is
    emptied as soon as it has got all that is wanted, instead of being fed until it gives them up.
    """
    packets = video.packets_from(key, min(targets), keys)
    decoder = video.stream.codec_context
    one_to_one = video.codec == "h264"  # a packet is a frame
    left = set(targets)
    skipping = False
    for packet in packets:
        if one_to_one and skipping == (packet.pts in left):
            skipping = not skipping
            decoder.skip_frame = "NONREF" if skipping else "DEFAULT"
        for frame in packet.decode():
            if not one_to_one:
                left.discard(frame.pts)
            yield frame
        if one_to_one:
            left.discard(packet.pts)
        if not left:
            break
    if one_to_one and not left:
        yield from decoder.decode(None)
