"""What stands on an encoder: pooling and the projector of contrastive learning."""

from torch import Tensor, nn
from torch.nn import functional as F


def pool(features: Tensor) -> Tensor:
    """Mean over time and space: (N, C, T, H, W) → (N, C)."""
    return features.mean(dim=(2, 3, 4))


class Projector(nn.Sequential):
    """g: Linear, ReLU, Linear (METHODS §1); acts on the last axis, in float32, and L2-normalises."""

    def __init__(self, channels: int, hidden: int, dim: int) -> None:
        super().__init__(nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, dim))

    def forward(self, input: Tensor) -> Tensor:
        """(..., C) → (..., D), unit length."""
        return F.normalize(self[2](self[1](self[0](input))).float(), dim=-1)
