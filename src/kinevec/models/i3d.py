"""I3D: Inception-v1 with its kernels inflated to three dimensions.

Parameter names and shapes are those of the common PyTorch port (`Conv3d_1a_7x7.conv3d.weight`,
`Mixed_3b.b0.bn.weight`, …) without its `logits`, so that its weights load.
Architecture: Carreira and Zisserman, Quo Vadis, Action Recognition?, CVPR 2017 (arXiv:1705.07750), Fig. 3;
the branch widths are those of Szegedy et al., Going Deeper with Convolutions, CVPR 2015, Table 1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinevec.models.conv import Conv3d
from kinevec.models.encoder import Encoder, Stages, Widths

Triple = tuple[int, int, int]


class SamePad(nn.Module):
    """Zeros around (N, C, T, H, W), as TensorFlow's "same": ⌈size / stride⌉ outputs, the odd zero at the end."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) → the same with a border."""
        border: list[int] = []
        for size in reversed(x.shape[2:]):  # F.pad begins with the last axis
            total = same_padding(size, self.kernel, self.stride)
            border += [total // 2, total - total // 2]
        return F.pad(x, border)


class SameMaxPool(nn.Module):
    """Max-pooling with TensorFlow's "same" borders, for kernels of at most 3 and strides of at most 2."""

    def __init__(self, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) → (N, C, ⌈T / stride⌉, ⌈H / stride⌉, ⌈W / stride⌉)."""
        # ceil_mode lets the last window hang over the end: the odd element of the border, without a padded copy.
        sizes = zip(x.shape[2:], self.kernel, self.stride, strict=True)
        before = [same_padding(size, kernel, stride) // 2 for size, kernel, stride in sizes]
        return F.max_pool3d(x, self.kernel, self.stride, before, ceil_mode=True)


def same_padding(size: int, kernel: int, stride: int) -> int:
    """Border elements, both ends together, that make ⌈size / stride⌉ windows fit."""
    windows = -(-size // stride)
    return max((windows - 1) * stride + kernel - size, 0)


class Unit(nn.Module):
    """Convolution with "same" borders, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        # At stride 1 the border is symmetric and known beforehand; at stride 2 it depends on the input's size.
        self.pad = SamePad(kernel, stride) if stride > 1 else nn.Identity()
        padding = 0 if stride > 1 else kernel // 2
        self.conv3d = Conv3d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=1e-3, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) → (N, C', T', H', W'), not negative."""
        return F.relu(self.bn(self.conv3d(self.pad(x))), inplace=True)


class Inception(nn.Module):
    """Four branches side by side: 1³; 1³ then 3³; 1³ then 3³; max-pool then 1³.

    Args:
        inputs: channels.
        widths: channels of the branches' convolutions in that order, six in all.
    """

    def __init__(self, inputs: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        self.b0 = Unit(inputs, widths[0], 1)
        self.b1a = Unit(inputs, widths[1], 1)
        self.b1b = Unit(widths[1], widths[2], 3)
        self.b2a = Unit(inputs, widths[3], 1)
        self.b2b = Unit(widths[3], widths[4], 3)
        self.b3a = SameMaxPool((3, 3, 3), (1, 1, 1))
        self.b3b = Unit(inputs, widths[5], 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) → (N, C', T, H, W)."""
        branches = self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))
        return torch.cat(branches, dim=1)


class I3D(Encoder):
    """I3D up to its last feature map: 12.3 M parameters, C = 1024; 16×224² → 2×7×7, 16×112² → 2×4×4.

    Fresh convolutions keep PyTorch's initialisation, as in FIMA's released code: batch norm makes their scale
    irrelevant to the output, but not to the step size that a learning rate amounts to.
    """

    widths: Widths = (192, 480, 832, 1024)

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(3, 64, 7, stride=2)
        self.MaxPool3d_2a_3x3 = SameMaxPool((1, 3, 3), (1, 2, 2))
        self.Conv3d_2b_1x1 = Unit(64, 64, 1)
        self.Conv3d_2c_3x3 = Unit(64, 192, 3)
        self.MaxPool3d_3a_3x3 = SameMaxPool((1, 3, 3), (1, 2, 2))
        self.Mixed_3b = Inception(192, (64, 96, 128, 16, 32, 32))
        self.Mixed_3c = Inception(256, (128, 128, 192, 32, 96, 64))
        self.MaxPool3d_4a_3x3 = SameMaxPool((3, 3, 3), (2, 2, 2))
        self.Mixed_4b = Inception(480, (192, 96, 208, 16, 48, 64))
        self.Mixed_4c = Inception(512, (160, 112, 224, 24, 64, 64))
        self.Mixed_4d = Inception(512, (128, 128, 256, 24, 64, 64))
        self.Mixed_4e = Inception(512, (112, 144, 288, 32, 64, 64))
        self.Mixed_4f = Inception(528, (256, 160, 320, 32, 128, 128))
        self.MaxPool3d_5a_2x2 = SameMaxPool((2, 2, 2), (2, 2, 2))
        self.Mixed_5b = Inception(832, (256, 160, 320, 32, 128, 128))
        self.Mixed_5c = Inception(832, (384, 192, 384, 48, 128, 128))

    def stages(self, x: Tensor) -> Stages:
        """The feature maps at 1/4, 1/8, 1/16 and 1/32 of the frame: 192, 480, 832 and 1024 channels.

        Args:
            x: (N, 3, T, H, W).

        Returns:
            (N, C_i, T_i, H_i, W_i) each; T_i is T/2, T/2, T/4 and T/8. All sizes are rounded up.
        """
        two = self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(self.MaxPool3d_2a_3x3(self.Conv3d_1a_7x7(x))))
        three = self.Mixed_3c(self.Mixed_3b(self.MaxPool3d_3a_3x3(two)))
        four = self.Mixed_4c(self.Mixed_4b(self.MaxPool3d_4a_3x3(three)))
        four = self.Mixed_4f(self.Mixed_4e(self.Mixed_4d(four)))
        return two, three, four, self.Mixed_5c(self.Mixed_5b(self.MaxPool3d_5a_2x2(four)))
