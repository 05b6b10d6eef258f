"""Foreground sampling of FIMA: which cells of a feature map show the moving thing."""

import torch
from torch import Tensor


def activation_map(features: Tensor) -> Tensor:
    """Class-agnostic activation map: the mean of a feature map over channels and time.

    Args:
        features: (N, C, T, H, W).

    Returns:
        (N, H, W), in float32 or finer.
    """
    return features.mean(dim=(1, 2), dtype=torch.promote_types(features.dtype, torch.float32))


def foreground_mask(rgb: Tensor, difference: Tensor) -> Tensor:
    """Marks the cells whose summed RGB and frame-difference activation exceeds the sample's lower median.

    Strictly more than the median: 24 of 7×7 cells when all values differ, half of an even number of cells.
    Cells that tie with the median are background, so a constant map has no foreground at all.

    Args:
        rgb: (N, C, T, H, W) key features of the RGB clip, before the projector.
        difference: (N, C, T, H, W) key features of the same clip's frame difference. Its C and T may differ.

    Returns:
        (N, H, W) bool.

    Raises:
        ValueError: the two are not feature maps of the same samples and cells.

    Source: FIMA (arXiv:2309.00297), foreground sampling.
    """
    if rgb.ndim != 5 or difference.ndim != 5 or _cells(rgb) != _cells(difference):
        raise ValueError(
            "rgb and difference must be (N, C, T, H, W) with the same N, H, W; "
            f"got {tuple(rgb.shape)} and {tuple(difference.shape)}"
        )
    activation = (activation_map(rgb) + activation_map(difference)).flatten(1)
    middle = (activation.shape[1] - 1) // 2
    # torch.median would give the same value, but refuses to run in deterministic mode on a GPU.
    lower_median = activation.sort(dim=1).values[:, middle : middle + 1]
    return (activation > lower_median).view(_cells(rgb))


def _cells(features: Tensor) -> tuple[int, int, int]:
    n, _, _, h, w = features.shape
    return n, h, w
