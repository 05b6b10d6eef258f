"""Changes of a clip that take one thing away and leave the rest, each a function of the clip and a draw."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from kinevec.config import Clip
from kinevec.views.color import Color, brightness, chain, color_uint8, contrast, hue, saturation

Frames = NDArray[np.uint8]  # (T, S, S, 3)

SLOWER, FASTER = 0.5, 2.0


def generator(seed: int, name: str) -> np.random.Generator:
    """The randomness of one video: the same for the same seed and name, whatever else is audited."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "little")])


def static(clip: Frames) -> Frames:
    """Every frame is the middle one (place T // 2)."""
    middle = len(clip) // 2
    return np.repeat(clip[middle : middle + 1], len(clip), axis=0)


def draw_order(frames: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(T,) a random order of T frames that is neither theirs nor its reverse.

    Raises:
        ValueError: fewer than 3 frames have no other order.
    """
    if frames < 3:
        raise ValueError(f"{frames} frames have no order besides forward and backward")
    forward = np.arange(frames)
    while True:
        order = rng.permutation(frames)
        if not (np.array_equal(order, forward) or np.array_equal(order, forward[::-1])):
            return order


def draw_recolour(rng: np.random.Generator) -> Color:
    """A strong random change of colours, affine in RGB, without blur."""
    tint = np.diag([*rng.uniform(0.5, 1, 3), 1.0])[:3]  # also tells grey videos apart
    matrix = chain(tint, hue(rng.uniform(-0.5, 0.5)))
    for change in (saturation, contrast, brightness):
        matrix = chain(matrix, change(rng.uniform(0.6, 1.4)))
    return Color(matrix, 0.0)


def recolour(clips: Frames, color: Color) -> Frames:
    """The same change of colours for clips (M, T, S, S, 3)."""
    return color_uint8(clips.reshape(-1, *clips.shape[2:]), color).reshape(clips.shape)


def speed_of(frames: int, clip: Clip, wanted: float) -> float:
    """The speed nearest to the one wanted at which a clip of so many source frames fits into the video.

    A video that must be looped is not played faster.
    """
    return min(wanted, max(1.0, (frames - 1) / (clip.span - 1)))


def at_speed(numbers: list[int], frames: int, clip: Clip, speed: float) -> list[int]:
    """Frame numbers (T,) about the same moment as a clip's, at a multiple of its speed.

    The clip is moved as far as it must be to stay within the video. Slower than the video's frames come, they
    repeat.

    Args:
        numbers: (T,) of the clip as it is; see `even_clips`.
        frames: of the video.
        speed: as `speed_of` allows.
    """
    length = (clip.span - 1) * speed
    start = numbers[0] + (clip.span - 1 - length) / 2
    looped = frames < clip.span
    if not looped:
        start = min(max(start, 0.0), frames - 1 - length)
    steps = start + np.arange(clip.frames) * clip.stride * speed
    return [int(number) % frames for number in np.floor(steps + 0.5)]
