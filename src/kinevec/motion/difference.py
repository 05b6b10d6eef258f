"""Frame difference: motion as the change of brightness from one frame to the next."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CHANGE = 6  # grey levels by which a pixel differs between two frames, at least, where something moves
NEAR = (
    8  # parts of a frame's shorter side: so near to a change, flow counts; a plain surface moves with its rim
)


def frame_difference(clip: Tensor) -> Tensor:
    """Map a clip to its frame differences, `d_t = ((x_t − x_{t−1}) + 1) / 2`.

    The first frame is compared with itself, so it is 0.5 everywhere, like every pixel that does not change.
    FIMA's released code compares it with the clip's last frame, because it rolls the time axis; we do not.

    Args:
        clip: (N, 3, T, H, W), floating point in [0, 1], cropped but not yet colour-augmented.

    Returns:
        (N, 3, T, H, W) in [0, 1], of the clip's type and on its device.

    Raises:
        ValueError: the clip is not five-dimensional or not floating point.

    Source: FIMA, frame difference.
    """
    if clip.ndim != 5 or not clip.is_floating_point():
        raise ValueError(f"a clip is (N, 3, T, H, W) floating point, got {tuple(clip.shape)} {clip.dtype}")
    difference = torch.zeros_like(clip)
    difference[:, :, 1:] = clip[:, :, 1:] - clip[:, :, :-1]
    return difference.add_(1).div_(2)


def changing_near(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where frames differ from others within an eighth of their shorter side: elsewhere optical flow is a guess.

    Without texture, flow spreads from what moves over all that is plain, such as a black background.

    Args:
        before, after: uint8 (F, H, W, 3), frame by frame.

    Returns:
        (F, H, W).
    """
    radius = max(1, min(before.shape[1:3]) // NEAR)
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    differs = np.abs(after.astype(np.int16) - before).max(-1) > CHANGE
    return np.stack([cv2.dilate(one, around) for one in differs.astype(np.uint8)]).astype(bool)
