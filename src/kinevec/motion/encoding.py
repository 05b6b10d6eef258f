"""Optical flow in 8 bits a component.

A component is a whole number of steps, from -127 to 127; a step is the largest component of its frame by
magnitude, over 127. So a component is off by half a step at most: 0.4 % of the fastest motion in its frame.
"""

import numpy as np
from numpy.typing import NDArray

from kinevec.motion.flow import Flow

Codes = NDArray[np.int8]  # (S, 2, h, w)
Values = NDArray[np.float32]  # (S,)

STEPS = 127  # from 0 to the largest component of a frame


def encode(flow: Flow) -> tuple[Codes, Values]:
    """Rounds each frame's flow to whole steps.

    Args:
        flow: (S, 2, h, w) in pixels.

    Returns:
        The components in steps (S, 2, h, w), and the steps (S,) in pixels; the step of a still frame is 0.

    Raises:
        ValueError: the flow is not finite.
    """
    steps = np.abs(flow).max(axis=(1, 2, 3)).astype(np.float32) / np.float32(STEPS)
    if not np.isfinite(steps).all():
        raise ValueError(f"flow {flow.shape} is not finite in {np.flatnonzero(~np.isfinite(steps)).tolist()}")
    divisors = np.maximum(steps, np.finfo(np.float32).tiny)[:, None, None, None]
    return np.rint(flow / divisors).clip(-STEPS, STEPS).astype(np.int8), steps


def decode(codes: Codes, steps: Values) -> Flow:
    """The flow (S, 2, h, w) in pixels, to half a step of what was encoded."""
    return np.multiply(codes, steps[:, None, None, None], dtype=np.float32)
