"""What every encoder offers: the feature maps of four stages, the last of which is its result."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

Stages = tuple[Tensor, Tensor, Tensor, Tensor]
Widths = tuple[int, int, int, int]


class Encoder(nn.Module, ABC):
    """Frames (N, 3, T, H, W) → feature map (N, C, T', H', W').

    Attributes:
        widths: channels of the four stages.
    """

    widths: Widths

    @property
    def channels(self) -> int:
        """C of the last feature map."""
        return self.widths[-1]

    @abstractmethod
    def stages(self, x: Tensor) -> Stages:
        """The feature maps of all four stages, (N, C_i, T_i, H_i, W_i) each; x is (N, 3, T, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Frames (N, 3, T, H, W) → the last feature map (N, C, T', H', W')."""
        return self.stages(x)[-1]
