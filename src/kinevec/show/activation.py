"""Where an encoder looks: class-agnostic activation maps laid over the frames of a video (FIMA, figure 4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinevec.config import Clip
from kinevec.evaluate.encode import ClipEncoder

Maps = NDArray[np.float32]


@dataclass(frozen=True)
class Steps:
    """What an encoder makes of a stretch of video, time step by time step; K steps of C channels and h × w cells.

    Attributes:
        rgb: (K, C, h, w), features of the frames.
        motion: (K, C, h, w), features of their differences, by the same encoder.
        frames: (K,), the frame number in the middle of each step, with fractions.
        clip: (K,), which clip each step belongs to.
        starts: (N,), the frame at which each clip begins, ascending.
        length: how many frames of the video a step lasts.
    """

    rgb: Maps
    motion: Maps
    frames: NDArray[np.float64]
    clip: NDArray[np.int64]
    starts: NDArray[np.int64]
    length: float

    @property
    def apart(self) -> NDArray[np.int64]:
        """(K, K): how many frames lie between two steps at the same place within their clips; −1 at different ones.

        Each clip is encoded by itself, and an encoder pads it: steps at the same place within their clips are alike,
        and unlike those at other places, whatever moves.
        """
        phase = np.empty_like(self.clip)
        for clip in range(len(self.starts)):
            phase[self.clip == clip] = np.arange(len(self.clip) // len(self.starts))
        begins = self.starts[self.clip]
        between = np.abs(np.subtract.outer(begins, begins))
        return np.where(np.equal.outer(phase, phase), between, -1)


def clip_starts(first: int, last: int, frames: int, clip: Clip) -> list[int]:
    """Starts of clips that cover the frames `first` to `last` of a video of so many frames, end to end.

    Where the last does not fit into the stretch, it goes on behind it; where not into the video either, it is moved back,
    and may overlap the one before or begin before the stretch. A video shorter than a clip is looped.
    """
    latest = max(frames - clip.span, 0)
    return sorted({min(start, latest) for start in range(first, last + 1, clip.window)})


def step_frames(start: int, clip: Clip, steps: int) -> NDArray[np.float64]:
    """The frame in the middle of each of the time steps (T',) of a clip that begins at a frame."""
    middle = (np.arange(steps) + 0.5) * clip.frames / steps - 0.5
    return start + middle * clip.stride


def encode_steps(encode: ClipEncoder, clips: NDArray[np.uint8], starts: Sequence[int]) -> Steps:
    """Encodes clips and their frame differences, and lines up their time steps.

    Args:
        clips: uint8 (N, T, S, S, 3), which begin at the frames `starts`, ascending.
    """
    rgb, motion = encode.map(clips), encode.difference_map(clips)
    steps = rgb.shape[2]
    frames = np.concatenate([step_frames(start, encode.config.clip, steps) for start in starts])
    order = np.argsort(frames, kind="stable")
    clip = np.repeat(np.arange(len(starts)), steps)
    length = encode.config.clip.window / steps
    return Steps(
        _by_step(rgb)[order], _by_step(motion)[order], frames[order], clip[order], np.array(starts), length
    )


def heat(maps: Maps, frames: NDArray[np.float64], numbers: Sequence[int], size: int) -> Maps:
    """Activation of every frame: the mean over channels, linear between steps and between cells.

    Args:
        maps: (K, C, h, w), features at the frames (K,), ascending.
        numbers: F frame numbers.
        size: S, pixels.

    Returns:
        (F, S, S) in [0, 1]: 0 and 1 are the least and the most activation of all cells of all steps. All 0 where
        activation is the same everywhere.
    """
    activation = maps.mean(1, dtype=np.float64)
    low, high = float(activation.min()), float(activation.max())
    scaled = (activation - low) / (high - low) if high > low else np.zeros_like(activation)
    upper = np.clip(np.searchsorted(frames, numbers), 0, len(frames) - 1)
    lower = np.maximum(upper - 1, 0)
    gap = frames[upper] - frames[lower]
    share = np.where(gap > 0, (np.asarray(numbers) - frames[lower]) / np.where(gap > 0, gap, 1), 1.0)
    share = np.clip(share, 0, 1)[:, None, None]
    at_frames = scaled[lower] * (1 - share) + scaled[upper] * share
    grown = torch.nn.functional.interpolate(
        torch.from_numpy(at_frames)[:, None], size=(size, size), mode="bilinear", align_corners=False
    )
    result: Maps = grown[:, 0].numpy().astype(np.float32)
    return result


def overlay(frames: NDArray[np.uint8], heat: Maps, *, strength: float = 0.6) -> NDArray[np.uint8]:
    """Frames (F, S, S, 3) with activation (F, S, S) painted over them: blue is little, red is much."""
    painted = []
    for frame, warmth in zip(frames, heat, strict=True):
        colors = cv2.applyColorMap(np.round(255 * warmth).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
        painted.append((1 - strength) * frame + strength * colors)
    return np.round(np.stack(painted)).astype(np.uint8)


def _by_step(features: Tensor) -> Maps:
    """(N, C, T', h, w) → (N·T', C, h, w)."""
    n, c, t, h, w = features.shape
    steps: Maps = features.transpose(1, 2).reshape(n * t, c, h, w).cpu().numpy()
    return steps
