"""FRA, flow rotation augmentation: the same motion in another direction."""

import math

import torch
from torch import Tensor

ANGLES = 8


def draw_angles(n: int, generator: torch.Generator) -> Tensor:
    """Draw one rotation angle per clip, `β = (0.2 + 0.2·j)π` with `j ∈ {0..7}` uniform.

    Args:
        n: number of clips.
        generator: where the randomness comes from; also decides the device.

    Returns:
        (n,) angles in radians, float32, on the generator's device.

    Source: MSCL, flow rotation augmentation.
    """
    j = torch.randint(ANGLES, (n,), generator=generator, device=generator.device)
    return (0.2 + 0.2 * j) * math.pi


def rotate_flow(flow: Tensor, angle: Tensor) -> Tensor:
    """Turn every motion vector of a clip by the clip's angle: `(u cosβ − v sinβ, u sinβ + v cosβ)`.

    Directions turn, positions stay: the pixel that moved right now moves elsewhere. As v points down, a
    positive angle turns clockwise on the screen.

    Args:
        flow: (N, 2, T, H, W) in pixels.
        angle: (N,) β in radians, one per clip, the same for all of its frames.

    Returns:
        (N, 2, T, H, W), of the flow's type.

    Raises:
        ValueError: the shapes do not fit.

    Source: MSCL, flow rotation augmentation.
    """
    if flow.ndim != 5 or flow.shape[1] != 2 or angle.shape != flow.shape[:1]:
        raise ValueError(
            f"flow is (N, 2, T, H, W) and angle (N,), got {tuple(flow.shape)} and {tuple(angle.shape)}"
        )
    exact = torch.promote_types(flow.dtype, torch.float32)  # cosβ in half precision would also scale the flow
    beta = angle.to(flow.device, exact).view(-1, 1, 1, 1)
    cos, sin = beta.cos(), beta.sin()
    u, v = flow.to(exact).unbind(dim=1)
    return torch.stack([u * cos - v * sin, u * sin + v * cos], dim=1).to(flow.dtype)
