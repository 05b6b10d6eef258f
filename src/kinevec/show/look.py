"""A stretch of one video as several encoders see it: what `kinevec show` draws."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from kinevec.config import Clip
from kinevec.data.decode import VideoInfo, probe, read_clip
from kinevec.data.sampling import clip_numbers
from kinevec.encoders import Loaded
from kinevec.errors import UsageError
from kinevec.evaluate.encode import ClipEncoder
from kinevec.methods.fima.foreground import foreground_mask
from kinevec.motion.changing import changing_near
from kinevec.motion.color import flow_image_at_scale
from kinevec.motion.flow import pair_flow
from kinevec.show.activation import Steps, clip_starts, encode_steps, heat
from kinevec.show.affinity import Affinity, affinity
from kinevec.views.geometry import decode_size
from kinevec.views.pipeline import centre_view

SIDE = 160  # pixels of a frame as it is shown
MOST = 300  # frames of a look: 10 seconds at 30 a second
FLOW_GAP = 2  # frames between the two of a pair
LEAST_FULL = 0.5  # pixels a frame: where nothing is faster, slower motion is not painted stronger for it

Pictures = NDArray[np.uint8]  # (F, SIDE, SIDE, 3)


@dataclass(frozen=True)
class Sight:
    """What one encoder makes of the frames.

    Attributes:
        heat: (F, SIDE, SIDE) in [0, 1], class-agnostic activation; see `kinevec.show.activation.heat`.
        foreground: (F, h, w) bool, the cells that FIMA would compare (arXiv:2309.00297).
        affinity: of features of frames and of their differences.
        on_motion: correlation over all pixels of activation with speed; NaN where nothing moves.
        clip: what its clips are.
        features: of the frames and of their differences, step by step.
    """

    heat: NDArray[np.float32]
    foreground: NDArray[np.bool_]
    affinity: Affinity
    on_motion: float
    clip: Clip
    features: Steps

    @property
    def starts(self) -> tuple[int, ...]:
        """The frames at which the clips begin."""
        return tuple(map(int, self.features.starts))

    @property
    def steps(self) -> int:
        """Time steps of the feature map of one clip."""
        return len(self.features.clip) // len(self.features.starts)


@dataclass(frozen=True)
class Look:
    """A stretch of F frames, the central square of each.

    Attributes:
        whole: frames of the whole video.
        numbers, times: (F,), frame numbers, and seconds.
        frames, difference, flow: pictures of the frames, of their change (grey: none) and of their flow (white: none);
            change and flow by one scale for all frames.
        full: the speed from which on flow has its strongest colour; pixels of these pictures, per frame.
        seen: name of an encoder → what it makes of them.
    """

    video: Path
    whole: int
    numbers: NDArray[np.int64]
    times: NDArray[np.float64]
    frames: Pictures
    difference: Pictures
    flow: Pictures
    full: float
    seen: Mapping[str, Sight]


def look(
    encoders: Mapping[str, Loaded],
    video: Path,
    *,
    start: float = 0.0,
    end: float | None = None,
    device: str = "auto",
) -> Look:
    """Shows a stretch of a video to several encoders.

    Args:
        encoders: name → encoder; each sees clips of its own shape, cut end to end.
        start, end: seconds; of a longer stretch the first `MOST` frames are shown. None: to the end of the video.

    Raises:
        VideoError: the file cannot be read.
        UsageError: there are no two frames in that time.
    """
    info = probe(video)
    numbers = _numbers(info, start, end)
    frames = _squares(info, numbers, SIDE)
    flow = _flow(frames)
    speed = np.linalg.norm(flow, axis=1)
    seen = {name: _seen(loaded, info, numbers, speed, device) for name, loaded in encoders.items()}
    full = max(float(np.quantile(speed, 0.999)), LEAST_FULL)
    return Look(
        video,
        info.frames,
        numbers,
        info.times[numbers],
        frames,
        _difference(frames),
        _painted(flow, full),
        full,
        seen,
    )


def _numbers(info: VideoInfo, start: float, end: float | None) -> NDArray[np.int64]:
    inside = (info.times >= start) & (info.times <= (np.inf if end is None else end))
    numbers = np.flatnonzero(inside)[:MOST]
    if len(numbers) < 2:
        length = float(info.times[-1])
        raise UsageError(
            f"{info.path}: fewer than 2 frames between {start} s and {'its end' if end is None else f'{end} s'}; "
            f"its {info.frames} frames last until {length:.2f} s"
        )
    return numbers


def _seen(
    loaded: Loaded, info: VideoInfo, numbers: NDArray[np.int64], speed: NDArray[np.float32], device: str
) -> Sight:
    encode = ClipEncoder(loaded.encoder, loaded.config, device)
    clip = loaded.config.clip
    starts = clip_starts(int(numbers[0]), int(numbers[-1]), info.frames, clip)
    clips = _clips(info, starts, clip)
    steps = encode_steps(encode, clips, starts)
    warmth = heat(steps.rgb, steps.frames, numbers.tolist(), SIDE)
    return Sight(
        warmth,
        _foreground(steps, numbers, starts, clip),
        affinity(steps),
        _correlation(warmth, speed),
        clip,
        steps,
    )


def _clips(info: VideoInfo, starts: list[int], clip: Clip) -> Pictures:
    """(N, T, S, S, 3): clips that begin at frames."""
    wanted = [clip_numbers(start, info.frames, clip) for start in starts]
    flat = [number for numbers in wanted for number in numbers]
    squares = _squares(info, np.array(flat), clip.size)
    return squares.reshape(len(starts), clip.frames, clip.size, clip.size, 3)


def _squares(info: VideoInfo, numbers: NDArray[np.int64], side: int) -> Pictures:
    size = decode_size(info.height, info.width, side)
    return centre_view(read_clip(info.path, numbers.tolist(), info=info, size=size).frames, side)


def _foreground(steps: Steps, numbers: NDArray[np.int64], starts: list[int], clip: Clip) -> NDArray[np.bool_]:
    """(F, h, w): of each frame, the mask of the clip it belongs to."""
    masks = []
    for place in range(len(starts)):
        mine = steps.clip == place
        both = [torch.from_numpy(maps[mine].swapaxes(0, 1))[None] for maps in (steps.rgb, steps.motion)]
        masks.append(foreground_mask(*both)[0].numpy())
    belongs = np.clip(np.searchsorted(starts, numbers, side="right") - 1, 0, len(starts) - 1)
    found: NDArray[np.bool_] = np.stack(masks)[belongs]
    return found


def _flow(frames: Pictures) -> NDArray[np.float32]:
    """(F, 2, SIDE, SIDE), pixels per frame: from each frame to the one `FLOW_GAP` later, or as far as there is one; 0
    where it is a guess.
    """
    last = len(frames) - 1
    pairs = [(f, min(f + FLOW_GAP, last)) for f in range(last)] + [(last - 1, last)]
    first, second = (frames[list(places)] for places in zip(*pairs, strict=True))
    flow = pair_flow(frames.transpose(0, 3, 1, 2), pairs)
    gaps = np.array([later - earlier for earlier, later in pairs])[:, None, None, None]
    return np.asarray(flow / gaps * changing_near(first, second)[:, None], np.float32)


def _painted(flow: NDArray[np.float32], full: float) -> Pictures:
    image = flow_image_at_scale(torch.from_numpy(flow).transpose(0, 1)[None], full)[0]
    return np.round(255 * image.permute(1, 2, 3, 0).numpy()).astype(np.uint8)


def _difference(frames: Pictures) -> Pictures:
    """The change from the frame before, around middle grey and as strong as fits; of the first frame, none."""
    change = np.diff(frames.astype(np.float32), axis=0, prepend=frames[:1].astype(np.float32))
    most = max(float(np.quantile(np.abs(change), 0.999)), 1.0)
    picture: Pictures = np.round(127.5 + 127.5 * np.clip(change / most, -1, 1)).astype(np.uint8)
    return picture


def _correlation(warmth: NDArray[np.float32], speed: NDArray[np.float32]) -> float:
    a, b = warmth.ravel().astype(np.float64), speed.ravel().astype(np.float64)
    if a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])
