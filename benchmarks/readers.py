"""Ways to read clips of a video file: ours, and those in use elsewhere, each written as well as it allows.

Every reader takes the frame table of a file and the frame numbers of some clips, ascending and without
repetition in each, and returns the frames in this order, RGB uint8 (T, H, W, 3). One thread each: on a machine
that trains, more processes win over more threads.
"""

from collections.abc import Callable, Sequence
from importlib import import_module

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from kinevec.data.decode import VideoInfo, read_clip

Frames = NDArray[np.uint8]
Reader = Callable[[VideoInfo, Sequence[Sequence[int]]], Frames]


def kinevec(info: VideoInfo, clips: Sequence[Sequence[int]]) -> Frames:
    """`read_clip`, as the loader calls it."""
    return read_clip(info.path, [number for clip in clips for number in clip], info=info).frames


def pyav(info: VideoInfo, clips: Sequence[Sequence[int]]) -> Frames:
    """PyAV as in torchvision's `read_video` and `VideoClips`: from each clip's first to its last time, all frames.

    Times are known beforehand, as `VideoClips` knows them; a file is opened once for all clips.
    """
    found = []
    with av.open(str(info.path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for clip in clips:
            if info.pts is None:
                raise ValueError(f"{info.path}: frames have no times")
            pts = info.pts[list(clip)].tolist()
            container.seek(pts[0], stream=stream, backward=True)
            frames = {}
            for frame in container.decode(stream):
                if frame.pts >= pts[0]:
                    frames[frame.pts] = frame.to_ndarray(format="rgb24")
                if frame.pts >= pts[-1]:
                    break
            found += [frames[value] for value in pts]
    return np.stack(found)


def opencv(info: VideoInfo, clips: Sequence[Sequence[int]]) -> Frames:
    """OpenCV: set the position to a clip's first frame, then step through it."""
    found = []
    capture = cv2.VideoCapture(str(info.path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    for clip in clips:
        capture.set(cv2.CAP_PROP_POS_FRAMES, clip[0])
        at = clip[0]
        for number in clip:
            while at < number:
                capture.grab()
                at += 1
            _, frame = capture.read()
            at += 1
            found.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    capture.release()
    return np.stack(found)


def opencv_seeking(info: VideoInfo, clips: Sequence[Sequence[int]]) -> Frames:
    """OpenCV: set the position wherever a frame is not the next one."""
    found = []
    capture = cv2.VideoCapture(str(info.path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    at = 0
    for number in (number for clip in clips for number in clip):
        if number != at:
            capture.set(cv2.CAP_PROP_POS_FRAMES, number)
        _, frame = capture.read()
        at = number + 1
        found.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    capture.release()
    return np.stack(found)


def _decord(info: VideoInfo, clips: Sequence[Sequence[int]]) -> Frames:
    from decord import VideoReader

    reader = VideoReader(str(info.path), num_threads=1)
    frames: Frames = reader.get_batch([number for clip in clips for number in clip]).asnumpy()
    return frames


def _torchcodec(mode: str) -> Reader:
    def read(info: VideoInfo, clips: Sequence[Sequence[int]]) -> Frames:
        from torchcodec.decoders import VideoDecoder

        path, numbers = str(info.path), [number for clip in clips for number in clip]
        decoder = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode=mode)
        frames: Frames = decoder.get_frames_at(numbers).data.numpy()
        return frames

    return read


READERS: dict[str, Reader] = {
    "kinevec": kinevec,
    "PyAV, sequential": pyav,
    "OpenCV, stepping": opencv,
    "OpenCV, seeking": opencv_seeking,
    "decord": _decord,
    "torchcodec, exact": _torchcodec("exact"),
    "torchcodec, approximate": _torchcodec("approximate"),
}
PLAIN = "PyAV, sequential"
NEEDS = {"decord": "decord", "torchcodec, exact": "torchcodec", "torchcodec, approximate": "torchcodec"}


def available() -> tuple[dict[str, Reader], dict[str, str]]:
    """The readers that can be used here, and why the others cannot."""
    absent = {}
    for module in sorted(set(NEEDS.values())):
        try:
            import_module(module)
        except Exception as error:  # a missing shared library is no ImportError everywhere
            absent[module] = str(error).strip().splitlines()[0]
    return {name: reader for name, reader in READERS.items() if NEEDS.get(name) not in absent}, absent
