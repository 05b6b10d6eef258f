"""The views of the test protocols: one central square, or three along the longer side."""

import numpy as np
from numpy.typing import NDArray

from kinevec.views.geometry import Geometry, crop_resize

CROPS = (1, 3)


def crop_geometries(height: int, width: int, crops: int) -> list[Geometry]:
    """Squares as high or as wide as the frame: the central one, or the first, central and last of the longer side.

    Frames that are square themselves have three times the same.

    Raises:
        ValueError: another number of crops than `CROPS`.
    """
    if crops not in CROPS:
        raise ValueError(f"{crops} crops; there are views with {' or '.join(map(str, CROPS))}")
    side, room = min(height, width), max(height, width) - min(height, width)
    corners = [room // 2] if crops == 1 else [0, room // 2, room]
    squares = [(c, 0) if width >= height else (0, c) for c in corners]
    return [Geometry((x, y, x + side, y + side), flip=False) for x, y in squares]


def crop_views(frames: NDArray[np.uint8], size: int, crops: int) -> NDArray[np.uint8]:
    """uint8 frames (T, H, W, 3) → the views (crops, T, size, size, 3)."""
    _, height, width, _ = frames.shape
    return np.stack([crop_resize(frames, box, size) for box in crop_geometries(height, width, crops)])
