"""Frame difference: motion as the change of brightness from one frame to the next."""

import torch
from torch import Tensor


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
