"""Where something moves at all: elsewhere optical flow is a guess.

Without texture, flow spreads from what moves over all that is plain, such as a black background.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

CHANGE = 6  # grey levels: where something moves, a pixel differs by more between two frames
# So near to a change flow counts, in parts of a frame's shorter side: a plain surface moves with its rim.
NEAR = 8


def changing_near(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where frames differ from others within an eighth of their shorter side.

    Args:
        before, after: uint8 (F, H, W, 3), frame by frame.

    Returns:
        (F, H, W).
    """
    radius = max(1, min(before.shape[1:3]) // NEAR)
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    differs = np.abs(after.astype(np.int16) - before).max(-1) > CHANGE
    return np.stack([cv2.dilate(one, around) for one in differs.astype(np.uint8)]).astype(bool)
