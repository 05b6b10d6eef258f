"""LMCL, local motion contrastive learning: each time step of a clip must find its own motion."""

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-6  # norm below which a feature counts as zero: bounds the gradient of the normalisation


def local_motion_loss(rgb: Tensor, flow: Tensor, rotated: Tensor | None, temperature: float = 0.07) -> Tensor:
    """Compute LMCL: the InfoNCE of `local_motion_logits`, averaged over all steps of all clips.

    Shapes, errors and source are those of `local_motion_logits`. To have the accuracy as well, call that once
    and pass its result to `local_motion_loss_of` and `local_motion_accuracy`.

    Returns:
        Scalar, float32 (float64 for float64 features).
    """
    return local_motion_loss_of(local_motion_logits(rgb, flow, rotated, temperature), steps=rgb.shape[2])


def local_motion_logits(
    rgb: Tensor, flow: Tensor, rotated: Tensor | None, temperature: float = 0.07
) -> Tensor:
    """Compare every RGB step of a clip with every flow step of the same clip.

    Feature maps are averaged over space and L2-normalised: `r_t`, `m_t`, and `m̃_t` of the rotated flow. Row
    n·T + t holds `r_t·m_s / τ` of clip n for all s, then `r_t·m̃_s / τ` for all s. Its positive is column t.

    Args:
        rgb: (N, D, T, H, W) features of the RGB clip.
        flow: (N, D, T, h, w) features of its flow; its space may have another size.
        rotated: like `flow`, for the rotated flow; None leaves only the clip's other steps as negatives
            (the ablation without flow rotation).
        temperature: τ.

    Returns:
        (N·T, 2T), or (N·T, T) without rotated flow; float32 (float64 for float64 features), also under
        autocast.

    Raises:
        ValueError: the features do not agree in N, D, T, or are not five-dimensional.

    Source: MSCL, local motion contrastive learning.
    """
    views = [flow] if rotated is None else [flow, rotated]
    if any(x.ndim != 5 or x.shape[:3] != rgb.shape[:3] for x in (rgb, *views)):
        shapes = ", ".join(str(tuple(x.shape)) for x in (rgb, *views))
        raise ValueError(f"rgb, flow and rotated flow features must agree in (N, D, T, ·, ·), got {shapes}")
    with torch.autocast(rgb.device.type, enabled=False):
        r = _steps(rgb)
        m = torch.cat([_steps(x) for x in views], dim=2)
        return torch.einsum("ndt,nds->nts", r, m).flatten(0, 1) / temperature


def local_motion_loss_of(logits: Tensor, steps: int) -> Tensor:
    """Average the InfoNCE over the rows of `local_motion_logits`.

    Args:
        logits: (N·T, 2T) or (N·T, T).
        steps: T.

    Returns:
        Scalar.
    """
    return F.cross_entropy(logits, _positives(logits, steps))


def local_motion_accuracy(logits: Tensor, steps: int) -> Tensor:
    """Compute the share of steps whose own flow step scores highest; a tie is not a win.

    Args:
        logits: (N·T, 2T) or (N·T, T) of `local_motion_logits`.
        steps: T.

    Returns:
        Scalar in [0, 1]; chance is one over the number of columns.
    """
    positive = logits.gather(1, _positives(logits, steps).unsqueeze(1))
    return ((logits >= positive).sum(dim=1) == 1).float().mean()


def _positives(logits: Tensor, steps: int) -> Tensor:
    """Return the column of each row's positive: its own time step."""
    return torch.arange(len(logits), device=logits.device) % steps


def _steps(features: Tensor) -> Tensor:
    """Average feature maps over space and normalise each step: (N, D, T, H, W) → (N, D, T)."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    return F.normalize(features.mean(dim=(-2, -1)), dim=1, eps=EPSILON)
