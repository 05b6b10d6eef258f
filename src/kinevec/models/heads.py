"""What stands on an encoder: pooling and the projector of contrastive learning."""

from torch import Tensor, nn
from torch.nn import functional as F


def pool(features: Tensor) -> Tensor:
    """Mean over time and space: (N, C, T, H, W) → (N, C)."""
    return features.mean(dim=(2, 3, 4))


class Projector(nn.Module):
    """g: Linear, ReLU, Linear (MSCL, arXiv:2208.06105), then L2 normalisation; acts on the last axis.

    Args:
        channels: C of the features.
        hidden: width between the two linear layers.
        dim: D of the result.
        centred: put a batch norm before the first layer. Pooled ReLU features of a fresh encoder share one
            large mean; without centring all embeddings start in one narrow cone, and a small encoder needs
            most of a short schedule to get out of it.
    """

    def __init__(self, channels: int, hidden: int, dim: int, *, centred: bool = False) -> None:
        super().__init__()
        self.centre = nn.BatchNorm1d(channels) if centred else None
        self.hidden = nn.Linear(channels, hidden)
        self.out = nn.Linear(hidden, dim)

    def forward(self, features: Tensor) -> Tensor:
        """(..., C) → (..., D), unit length, float32."""
        if self.centre is not None:
            features = self.centre(features.flatten(0, -2)).view_as(features)
        return F.normalize(self.out(F.relu(self.hidden(features))).float(), dim=-1)
