"""People cut out of depth video, whose background is black: where they are, and a square window around each.

Axes are T H W for grey and opacity. Grey is the depth video's: 0 without depth, brighter where nearer.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Box = tuple[int, int, int]  # x and y of the corner, and side, in pixels; may reach past the frame

PERSON = 70  # grey: half of what a person has; compression blurs the edge between it and black
SPECK = 0.1  # of the largest part's area: smaller ones are no part of the person
SELDOM = 0.02  # of the frames: pixels covered more seldom do not widen the window


@dataclass(frozen=True)
class Person:
    """Someone without background.

    Attributes:
        grey: float32 (T, S, S), 0 to 255; continued past the outline, so that soft edges show no black.
        opacity: float32 (T, S, S), 0 to 1.
    """

    grey: Float
    opacity: Float


def silhouette(grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(H, W) → where the person is: above the threshold, without specks."""
    above = (grey > PERSON).astype(np.uint8)
    count, parts, facts, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    if count == 1:
        return np.zeros(grey.shape, bool)
    area = facts[:, cv2.CC_STAT_AREA].copy()
    area[0] = 0
    return np.asarray((area >= SPECK * area.max())[parts] & (parts > 0))


def window(masks: NDArray[np.bool_], margin: float) -> Box:
    """The square around all places where a person is in the course of a video.

    Args:
        masks: (T, H, W).
        margin: added on each side, as a share of the longer side of what is covered.
    """
    covered = masks.mean(0) > SELDOM
    rows, columns = (np.flatnonzero(covered.any(axis)) for axis in (1, 0))
    if not len(rows):
        raise ValueError(f"nobody is to be seen in {len(masks)} frames")
    top, left = rows[0], columns[0]
    height, width = rows[-1] + 1 - top, columns[-1] + 1 - left
    side = round(max(height, width) * (1 + 2 * margin))
    return int(left + (width - side) // 2), int(top + (height - side) // 2), side


def cut_out(grey: NDArray[np.uint8], size: int, margin: float) -> Person:
    """The person of a depth video (T, H, W), in a window that stays the same for all frames, at `size` pixels."""
    masks = np.stack([silhouette(frame) for frame in grey])
    x, y, side = window(masks, margin)
    person, opacity = [], []
    for frame, mask in zip(grey, masks, strict=True):
        near = cv2.dilate(np.where(mask, frame, 0).astype(np.uint8), np.ones((5, 5), np.uint8))
        solid = frame > 1.5 * PERSON  # pixels that compression has not mixed with black
        person.append(_part(np.where(mask & solid, frame, near).astype(np.float32), x, y, side, size))
        opacity.append(_part(mask.astype(np.float32), x, y, side, size))
    return Person(np.stack(person), np.stack(opacity))


def _part(picture: Float, x: int, y: int, side: int, size: int) -> Float:
    """A square of a picture (H, W), black where it reaches past it, scaled to (size, size)."""
    height, width = picture.shape
    around: dict[str, Any] = {
        "top": max(-y, 0),
        "left": max(-x, 0),
        "bottom": max(y + side - height, 0),
        "right": max(x + side - width, 0),
    }
    padded = cv2.copyMakeBorder(picture, borderType=cv2.BORDER_CONSTANT, value=0.0, **around)
    top, left = max(y, 0), max(x, 0)
    square = padded[top : top + side, left : left + side]
    kind = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (size, size), interpolation=kind), np.float32)
