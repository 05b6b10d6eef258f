"""A 3-D convolution that can be told to take a safe route in bf16.

bf16 convolutions of some shapes compute wrong weight gradients on some CPUs (seen with oneDNN: depth 2,
kernel depth 3, depth stride and padding 1). `kinevec.models.guard.guard_bf16` tests the shapes in use and
sets the route of each layer; the arithmetic is the same on all routes.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Route = Literal["plain", "padded", "fp32"]


class Conv3d(nn.Conv3d):
    """`torch.nn.Conv3d` with a `route`: plain, padded explicitly in depth, or fp32 under autocast."""

    route: Route = "plain"

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, T, H, W) → (N, C', T', H', W')."""
        if self.route == "plain":
            return super().forward(input)
        if self.route == "fp32":
            with torch.autocast(input.device.type, enabled=False):
                return super().forward(input.float())
        depth, height, width = (int(p) for p in self.padding)
        padded = F.pad(input, (0, 0, 0, 0, depth, depth))
        return F.conv3d(
            padded, self.weight, self.bias, self.stride, (0, height, width), self.dilation, self.groups
        )


def channels_last(model: nn.Module) -> None:
    """Lays the weights of all 3-D convolutions out with channels last, in place; outputs follow them."""
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)
