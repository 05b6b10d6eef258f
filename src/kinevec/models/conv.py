"""A 3-D convolution that can be told to take a safe route in bf16.

bf16 convolutions of some shapes compute wrong weight gradients on some CPUs (seen with oneDNN: depth 2,
kernel depth 3, depth stride and padding 1). `kinevec.models.guard.guard_bf16` tests the shapes in use and
sets the route of each layer; the arithmetic is the same on all routes.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Route = Literal["plain", "flat", "padded", "fp32"]


class Conv3d(nn.Conv3d):
    """`torch.nn.Conv3d` with a `route`, by which it computes the same.

    Attributes:
        route: plain; flat, the time steps as channels of a 2-D convolution, where there are no more of them than the
            kernel is deep; padded explicitly in depth; or in fp32 under autocast.
    """

    route: Route = "plain"

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, T, H, W) → (N, C', T', H', W')."""
        if self.route == "plain":
            return super().forward(input)
        if self.route == "fp32":
            with torch.autocast(input.device.type, enabled=False):
                return super().forward(input.float())
        if self.route == "flat":
            return self._flat(input)
        depth, height, width = (int(p) for p in self.padding)
        padded = F.pad(input, (0, 0, 0, 0, depth, depth))
        return F.conv3d(
            padded, self.weight, self.bias, self.stride, (0, height, width), self.dilation, self.groups
        )

    @property
    def can_be_flat(self) -> bool:
        """Whether there is a flat route."""
        return self.groups == 1 and self.dilation == (1, 1, 1) and self.padding_mode == "zeros"

    def _flat(self, input: Tensor) -> Tensor:
        """Kernel slices as the blocks of a matrix that leads from the T·C channels of all steps to T'·C' ones.

        At depth 2 and kernel depth 3 no block is empty, while explicit padding multiplies a third of the kernel by
        zeros.
        """
        steps, (depth, _, _), (stride, *strides) = input.shape[2], self.kernel_size, self.stride
        before, *padding = (int(p) for p in self.padding)
        results = (steps + 2 * before - depth) // stride + 1
        # Cast once, not slice by slice.
        device = input.device.type
        low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else self.weight.dtype
        weight = self.weight.to(low)  # (C', C, depth, h, w)
        empty = torch.zeros_like(weight[:, :, 0])

        def block(result: int, step: int) -> Tensor:
            tap = step - result * stride + before
            return weight[:, :, tap] if 0 <= tap < depth else empty

        rows = [torch.cat([block(result, step) for step in range(steps)], 1) for result in range(results)]
        matrix = torch.cat(rows).contiguous(memory_format=torch.channels_last)
        bias = self.bias.repeat(results) if self.bias is not None else None
        # (N, H, W, T·C) in memory, then the same axes in PyTorch's order
        wide = input.permute(0, 3, 4, 2, 1).flatten(3).permute(0, 3, 1, 2)
        out = F.conv2d(wide, matrix, bias, strides, padding).permute(0, 2, 3, 1)  # (N, H', W', T'·C')
        deep = out.reshape(*out.shape[:3], results, -1).permute(0, 4, 3, 1, 2)
        return deep.contiguous(memory_format=torch.channels_last_3d)


def channels_last(model: nn.Module) -> None:
    """Lays the weights of all 3-D convolutions out with channels last, in place; outputs follow them."""
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)
