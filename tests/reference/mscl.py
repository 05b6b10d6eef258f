"""Oracles for MSCL's pure functions, in float64, written from the equations."""

import cmath
import math

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def rotate_flow(flow: Float, angle: Float) -> Float:
    """(N, 2, T, H, W) turned by (N,) radians: motion vectors as complex numbers."""
    out = np.empty(flow.shape)
    for n, beta in enumerate(angle):
        turned = (flow[n, 0] + 1j * flow[n, 1]) * cmath.rect(1, beta)
        out[n] = turned.real, turned.imag
    return out


def local_motion_logits(rgb: Float, flow: Float, rotated: Float | None, temperature: float) -> Float:
    """(N·T, 2T), or (N·T, T) without rotated flow."""
    rows = []
    for n in range(len(rgb)):
        for t in range(rgb.shape[2]):
            r = _unit(rgb[n, :, t])
            views = [view for view in (flow, rotated) if view is not None]
            rows.append(
                [float(r @ _unit(view[n, :, s])) / temperature for view in views for s in range(rgb.shape[2])]
            )
    return np.array(rows)


def local_motion_loss(rgb: Float, flow: Float, rotated: Float | None, temperature: float) -> float:
    losses = []
    for row, logits in enumerate(local_motion_logits(rgb, flow, rotated, temperature)):
        positive = logits[row % rgb.shape[2]]
        losses.append(-math.log(math.exp(positive) / sum(math.exp(x) for x in logits)))
    return sum(losses) / len(losses)


def _unit(features: Float) -> Float:
    """A feature map (D, H, W) averaged over space, of length 1."""
    pooled = np.array([channel.mean() for channel in features])
    return pooled / math.sqrt(sum(x * x for x in pooled))
