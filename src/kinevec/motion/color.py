"""Flow images: optical flow painted with the Middlebury colour wheel."""

import math
from functools import cache

import torch
from torch import Tensor

EPSILON = 1e-5  # pixels; keeps a frame without motion finite (MSCL, flow image)


def _color_wheel() -> Tensor:
    """Return the Middlebury wheel, (55, 3) in [0, 1]; its entries are whole 255ths."""
    # (entries, colour at the start, channel that changes over the segment): RY YG GC CB BM MR
    segments = [
        (15, (255, 0, 0), 1),
        (6, (255, 255, 0), 0),
        (4, (0, 255, 0), 2),
        (11, (0, 255, 255), 1),
        (13, (0, 0, 255), 0),
        (6, (255, 0, 255), 2),
    ]
    wheel = []
    for entries, start, channel in segments:
        for entry in range(entries):
            color = list(start)
            color[channel] = abs(start[channel] - 255 * entry // entries)
            wheel.append(color)
    return torch.tensor(wheel, dtype=torch.float64) / 255


WHEEL = _color_wheel()


@cache  # a copy to a GPU is waited for: once, not in every step
def _wheel(device: torch.device, dtype: torch.dtype) -> Tensor:
    return WHEEL.to(device, dtype)


def flow_image(flow: Tensor) -> Tensor:
    """Paint optical flow as an image: hue tells the direction, saturation the speed.

    Each frame is scaled by its own largest motion, `(u, v) / (max ‖(u, v)‖ + 1e-5)`, so that only relative
    speed counts. With angle `a = atan2(−v, −u)/π`, the colour `c` is read from the wheel at position
    `(a + 1)/2 · 54`, linearly between neighbours, and desaturated by the radius `r`: `1 − r(1 − c)`. No
    motion is white. The wheel's two ends are both red but not equal, so motion exactly to the right has a
    small step in hue. MSCL's released code rounds colours down to whole 255ths; we do not.

    Args:
        flow: (N, 2, T, H, W) in pixels (u to the right, v down), floating point, on any device. Mirroring a
            clip negates u: do so before painting.

    Returns:
        (N, 3, T, H, W) in [0, 1], red green blue; float32, or float64 for float64 flow.

    Raises:
        ValueError: the flow is not (N, 2, T, H, W) or not floating point.

    Source: MSCL, flow image; colour wheel of Baker et al., "A Database and Evaluation Methodology for
    Optical Flow".
    """
    flow = _checked(flow)
    speed = _speed(flow)
    return _painted(flow, speed / (speed.amax(dim=(-2, -1), keepdim=True) + EPSILON))


def flow_image_at_scale(flow: Tensor, full: float) -> Tensor:
    """Paint optical flow as `flow_image` does, but all frames by one scale, so that they can be compared.

    Args:
        flow: as for `flow_image`.
        full: the speed from which on a colour is as strong as it gets; above 0, in the unit of the flow.

    Returns:
        As `flow_image`.

    Raises:
        ValueError: as `flow_image`; or `full` is not above 0.
    """
    if not full > 0:
        raise ValueError(f"the strongest colour is for a speed above 0, got {full}")
    flow = _checked(flow)
    return _painted(flow, (_speed(flow) / full).clamp(max=1))


def _checked(flow: Tensor) -> Tensor:
    if flow.ndim != 5 or flow.shape[1] != 2 or not flow.is_floating_point():
        raise ValueError(f"flow is (N, 2, T, H, W) floating point, got {tuple(flow.shape)} {flow.dtype}")
    return flow.to(torch.promote_types(flow.dtype, torch.float32))


def _speed(flow: Tensor) -> Tensor:
    """(N, 2, T, H, W) → (N, T, H, W)."""
    u, v = flow.unbind(dim=1)
    # Written out: vector_norm is 100 times slower along an axis of two. Clamped: sqrt has no gradient at 0.
    return (u.square() + v.square()).clamp_min(torch.finfo(flow.dtype).tiny).sqrt()


def _painted(flow: Tensor, r: Tensor) -> Tensor:
    """The colours of directions (N, 2, T, H, W) and radii (N, T, H, W); see `flow_image`."""
    u, v = flow.unbind(dim=1)
    position = (torch.atan2(-v, -u) / math.pi + 1) / 2 * (len(WHEEL) - 1)
    # Clamped as an integer: keeps the wheel's last entry, and a NaN, from reading past the table.
    entry = position.long().clamp(0, len(WHEEL) - 2)
    between = position - entry
    wheel = _wheel(flow.device, flow.dtype)
    step = wheel.diff(dim=0)
    channels = [1 - r * (1 - (wheel[:, c][entry] + between * step[:, c][entry])) for c in range(3)]
    return torch.stack(channels, dim=1)
