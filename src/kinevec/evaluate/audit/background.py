"""Backgrounds: what lies behind a person, and laying a person over what lies behind another."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]  # (..., S, S, 3)
Opacity = NDArray[np.float32]  # (..., S, S), in [0, 1]

TRACE = 0.02  # opacity above which a pixel holds some of the foreground
RIM = 2  # pixels about the foreground that count as covered too: edges are soft, and masks not exact
SMALLEST, LARGEST = 0.002, 0.6  # share of the pixels that a usable foreground covers


def usable(opacity: Opacity) -> bool:
    """Whether a foreground is there at all, and leaves some of the background visible."""
    return bool(SMALLEST <= float(opacity.mean()) <= LARGEST)


def behind(frames: Frames, opacity: Opacity) -> Frames:
    """A video without its foreground.

    A covered pixel takes the mean of the frames in which it is not covered; one that always is, is filled in
    from its surroundings (Telea's method). All other pixels stay as they are, so that a background that moves
    goes on moving.

    Args:
        frames: uint8 (N, S, S, 3).
        opacity: (N, S, S) of the foreground.
    """
    rim = np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8)
    covered = np.stack([cv2.dilate(mask, rim) for mask in (opacity > TRACE).astype(np.uint8)]).astype(bool)
    seen = (~covered).sum(0)
    total = np.where(covered[..., None], 0, frames).sum(0, dtype=np.float64)
    plate = np.rint(total / np.maximum(seen, 1)[..., None]).astype(np.uint8)
    hidden = (seen == 0).astype(np.uint8)
    if hidden.any() and not hidden.all():
        plate = np.asarray(cv2.inpaint(plate, hidden, 3, cv2.INPAINT_TELEA), np.uint8)
    return np.where(covered[..., None], plate, frames)


def lay_over(frames: Frames, opacity: Opacity, ground: Frames) -> Frames:
    """The foreground of one clip over another; all (..., S, S, 3), opacity (..., S, S)."""
    share = opacity[..., None]
    return np.asarray(np.rint(share * frames + (1 - share) * ground), np.uint8)


def draw_donors(labels: Sequence[str], rng: np.random.Generator) -> NDArray[np.int64]:
    """(V,) for each video another one whose background it gets: each gives once, to one of another label.

    The pairing is random: the new background says nothing of the label but which it is not. Where one label
    holds more than half of the videos, some of its videos are left with a donor of the same label.
    """
    labels_ = np.array(labels)
    donor = rng.permutation(len(labels_))
    for i in rng.permutation(len(labels_)):
        if labels_[donor[i]] != labels_[i]:
            continue
        # With whom to exchange: both must end up with another label than their own.
        fits = (labels_[donor] != labels_[i]) & (labels_ != labels_[donor[i]])
        if fits.any():
            j = rng.choice(np.flatnonzero(fits))
            donor[i], donor[j] = donor[j], donor[i]
    return donor


def cycles(donor: NDArray[np.int64]) -> list[list[int]]:
    """The videos in rings in which each gets its background from the one before, the first from the last."""
    receiver = np.empty_like(donor)
    receiver[donor] = np.arange(len(donor))
    rings: list[list[int]] = []
    left = set(range(len(donor)))
    while left:
        ring = [min(left)]
        while int(receiver[ring[-1]]) != ring[0]:
            ring.append(int(receiver[ring[-1]]))
        left -= set(ring)
        rings.append(ring)
    return rings
