"""Made people: bright discs that move before black."""

import numpy as np
from numpy.typing import NDArray

SIDE, RADIUS, FRAMES = 64, 10, 24
CLASSES = ("left", "right", "up", "down")
STEP = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}  # x, y in pixels a frame


def disc(x: float, y: float, radius: float = RADIUS) -> NDArray[np.bool_]:
    """(SIDE, SIDE), True within the radius of a centre."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 < radius**2)


def walk(label: str) -> NDArray[np.uint8]:
    """(FRAMES, SIDE, SIDE) grey: a disc of 150 that crosses the middle in the direction of its class."""
    dx, dy = STEP[label]
    ticks = np.arange(FRAMES) - FRAMES // 2
    return np.stack([np.where(disc(32 + dx * t, 32 + dy * t), 150, 0) for t in ticks]).astype(np.uint8)
