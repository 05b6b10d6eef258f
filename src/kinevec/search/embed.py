"""The vectors of one video: cut into clips, decoded once from start to end, encoded in batches.

`embed_video` depends on nothing but its arguments and keeps no more than a few clips in memory, so that any
number of processes or machines can do it, each for other videos.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from kinevec.config import Clip
from kinevec.data.decode import VideoInfo, iter_frames, probe, read_clip
from kinevec.errors import VideoError
from kinevec.evaluate.encode import AT_ONCE, ClipEncoder
from kinevec.search.cut import Cut, cut, period
from kinevec.search.settings import Settings
from kinevec.views.geometry import decode_size
from kinevec.views.pipeline import centre_view

Pixels = NDArray[np.uint8]
Matrix = NDArray[np.float32]
OnBatch = Callable[[int, int], None]  # (clips done, clips of the video); may raise to stop
T = TypeVar("T")


@dataclass(frozen=True)
class VideoVectors:
    """What an index keeps of a video.

    Attributes:
        starts, ends: (N,) of its clips, seconds from its first frame.
        full: float32 (N, C), pooled encoder output of each clip.
        static: float32 (N, C), the same of the clip made static: every frame replaced by the middle one; or None.
        seconds: of the whole video.
        fps: mean frames per second; 0 for a single frame.
        frames: of the whole video.
        width, height: pixels as shown.
    """

    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    full: Matrix
    static: Matrix | None
    seconds: float
    fps: float
    frames: int
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.starts)


def embed_video(
    path: Path,
    settings: Settings,
    encode: ClipEncoder,
    *,
    within: tuple[float, float] | None = None,
    on_batch: OnBatch | None = None,
) -> VideoVectors:
    """Embeds the clips of a video file, or of a part of it.

    Args:
        encode: uint8 clips (N, T, S, S, 3) → features (N, C).
        within: embed only this part, from and to in seconds; see `kinevec.search.cut.cut`.
        on_batch: is told after each batch how many clips are done, of how many.

    Raises:
        VideoError: the file cannot be read, or does not decode to its end.
    """
    info = probe(path)
    clip = encode.config.clip
    plan = cut(info.times, clip, settings, within)
    clips = _streamed(info, plan, clip.size) if within is None else _sought(info, plan, clip.size)
    full: list[Matrix] = []
    static: list[Matrix] = []
    for batch in _batches(clips, AT_ONCE):
        stacked = np.stack(batch)
        if settings.appearance:  # in one call: most videos have too few clips to fill a batch
            both = encode(np.concatenate([stacked, made_static(stacked)]))
            full.append(both[: len(batch)])
            static.append(both[len(batch) :])
        else:
            full.append(encode(stacked))
        if on_batch:
            on_batch(sum(map(len, full)), len(plan))
    return VideoVectors(
        plan.starts,
        plan.ends,
        np.concatenate(full),
        np.concatenate(static) if static else None,
        seconds=float(info.times[-1]) + period(info.times),
        fps=info.fps,
        frames=info.frames,
        width=info.width,
        height=info.height,
    )


def count_clips(path: Path, settings: Settings, clip: Clip) -> int:
    """How many clips `embed_video` will make of a file, read from its packets without decoding.

    Raises:
        VideoError: the file cannot be read.
    """
    return len(cut(probe(path).times, clip, settings))


def made_static(clips: Pixels) -> Pixels:
    """Clips (N, T, S, S, 3) with every frame replaced by the middle one, T // 2: what they show without motion."""
    middle = clips.shape[1] // 2
    return np.repeat(clips[:, middle : middle + 1], clips.shape[1], axis=1)


def _streamed(info: VideoInfo, plan: Cut, size: int) -> Iterator[Pixels]:
    """The clips (T, S, S, 3) in order; every frame is decoded once and dropped when no clip needs it any more."""
    complete = np.maximum.accumulate(plan.numbers.max(1))  # clip k and all before it are there at this frame
    oldest = np.minimum.accumulate(plan.numbers.min(1)[::-1])[
        ::-1
    ]  # clip k and all after it need none before
    needed = np.zeros(info.frames, dtype=bool)
    needed[plan.numbers] = True
    held: dict[int, Pixels] = {}
    done = number = 0
    for number, frame in enumerate(iter_frames(info.path, size=decode_size(info.height, info.width, size))):
        if number < info.frames and needed[number]:
            held[number] = centre_view(frame[None], size)[0]
        while done < len(plan) and complete[done] <= number:
            yield np.stack([held[i] for i in plan.numbers[done]])
            done += 1
            for old in [i for i in held if done == len(plan) or i < oldest[done]]:
                del held[old]
        if done == len(plan):
            return
    raise VideoError(info.path, f"damaged: {number + 1} of {info.frames} frames decode")


def _sought(info: VideoInfo, plan: Cut, size: int) -> Iterator[Pixels]:
    """The clips (T, S, S, 3), each sought and decoded for itself: for a part of a long video."""
    for numbers in plan.numbers.tolist():
        clip = read_clip(info.path, numbers, info=info, size=decode_size(info.height, info.width, size))
        yield centre_view(clip.frames, size)


def _batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while batch := list(islice(items, size)):
        yield batch
