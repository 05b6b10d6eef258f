"""Textures that move by a flow known exactly: no image is ever resampled."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
WAVES = 60


@dataclass(frozen=True)
class Motion:
    """Per frame: a turn and a growth about the image centre, then a shift."""

    shift: tuple[float, float] = (0.0, 0.0)  # pixels to the right, down
    turn: float = 0.0  # radians, from the x axis towards the y axis (clockwise on the screen)
    growth: float = 1.0

    def step(self, points: Float, centre: Float) -> Float:
        """Where points (x, y, ...) are one frame later."""
        cos, sin = self.growth * np.cos(self.turn), self.growth * np.sin(self.turn)
        x, y = points - centre
        return np.stack([cos * x - sin * y, sin * x + cos * y]) + centre + _column(self.shift)

    def back(self, points: Float, centre: Float) -> Float:
        """Where points were one frame earlier."""
        cos, sin = np.cos(self.turn) / self.growth, np.sin(self.turn) / self.growth
        x, y = points - centre - _column(self.shift)
        return np.stack([cos * x + sin * y, -sin * x + cos * y]) + centre


def moving_texture(
    motion: Motion, frames: int, size: tuple[int, int], gap: int, seed: int = 0
) -> tuple[NDArray[np.uint8], Float]:
    """Frames (T, 3, H, W) of a moving texture, and its flow (2, H, W) over a gap: the same for every t.

    The texture is a sum of plane waves, evaluated where each pixel of a frame came from.
    """
    rng = np.random.default_rng(seed)
    frequency = rng.normal(0, 0.05, (2, WAVES))  # cycles per pixel
    amplitude = 1 / (0.02 + np.hypot(*frequency))
    amplitude *= 45 / np.sqrt((amplitude**2).sum() / 2)
    phase = rng.uniform(0, 2 * np.pi, (3, WAVES))
    centre = _column(((size[1] - 1) / 2, (size[0] - 1) / 2))
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    here = np.stack([x, y])

    images = np.zeros((frames, 3, *size))
    origin = here
    for t in range(frames):
        for c in range(3):
            for (fx, fy), a, p in zip(frequency.T, amplitude, phase[c] / 4, strict=True):
                images[t, c] += a * np.cos(2 * np.pi * (fx * origin[0] + fy * origin[1]) + p)
        origin = motion.back(origin, centre)

    there = here
    for _ in range(gap):
        there = motion.step(there, centre)
    return np.clip(np.rint(128 + images), 0, 255).astype(np.uint8), there - here


def _column(vector: tuple[float, float]) -> Float:
    return np.array(vector, dtype=np.float64)[:, None, None]
