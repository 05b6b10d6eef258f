"""SlowOnly: a ResNet-50 on sparse frames that looks across time in its last two stages only.

Parameter names and shapes are those of mmaction2's `ResNet3dSlowOnly` (`conv1.conv.weight`,
`layer1.0.conv2.bn.weight`, `layer1.0.downsample.conv.weight`, …); `kinevec.models.convert` has the name map
of pytorchvideo's `slow_r50`, which is the same network.
Architecture: Feichtenhofer et al., SlowFast Networks for Video Recognition, ICCV 2019 (arXiv:1812.03982),
Table 1, the slow pathway alone; bottlenecks: He et al., Deep Residual Learning, CVPR 2016, Table 1.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from kinevec.models.conv import Conv3d
from kinevec.models.encoder import Encoder, Stages, Widths
from kinevec.models.resnet import Triple, initialise


class ConvNorm(nn.Module):
    """A convolution that keeps the size but for its stride, then batch norm."""

    def __init__(self, inputs: int, outputs: int, kernel: Triple, stride: int = 1) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.conv = Conv3d(inputs, outputs, kernel, (1, stride, stride), padding, bias=False)
        self.bn = nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) → (N, C', T, ⌈H / stride⌉, ⌈W / stride⌉)."""
        out: Tensor = self.bn(self.conv(x))
        return out


class Bottleneck(nn.Module):
    """t×1×1 to `middle` channels, 1×3×3 with the stride, 1×1×1 to four times as many; and a shortcut."""

    def __init__(self, inputs: int, middle: int, depth: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * middle
        self.conv1 = ConvNorm(inputs, middle, (depth, 1, 1))
        self.conv2 = ConvNorm(middle, middle, (1, 3, 3), stride)
        self.conv3 = ConvNorm(middle, outputs, (1, 1, 1))
        self.downsample = ConvNorm(inputs, outputs, (1, 1, 1), stride) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) → (N, 4·middle, T, ⌈H / stride⌉, ⌈W / stride⌉), not negative."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.conv1(x), inplace=True)
        out = F.relu(self.conv2(out), inplace=True)
        return F.relu(self.conv3(out) + shortcut, inplace=True)


class SlowOnly50(Encoder):
    """SlowOnly ResNet-50: 31.6 M parameters, C = 2048; 8×224² → 8×7×7. Time is never halved."""

    widths: Widths = (256, 512, 1024, 2048)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvNorm(3, 64, (1, 7, 7), 2)
        self.maxpool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.layer1 = _stage(64, 64, blocks=3, depth=1, stride=1)
        self.layer2 = _stage(256, 128, blocks=4, depth=1, stride=2)
        self.layer3 = _stage(512, 256, blocks=6, depth=3, stride=2)
        self.layer4 = _stage(1024, 512, blocks=3, depth=3, stride=2)
        initialise(self)

    def stages(self, x: Tensor) -> Stages:
        """The feature maps at 1/4, 1/8, 1/16 and 1/32 of the frame: 256, 512, 1024 and 2048 channels.

        Args:
            x: (N, 3, T, H, W).

        Returns:
            (N, C_i, T, H_i, W_i) each; all sizes are rounded up.
        """
        one = self.layer1(self.maxpool(F.relu(self.conv1(x), inplace=True)))
        two = self.layer2(one)
        three = self.layer3(two)
        return one, two, three, self.layer4(three)


def _stage(inputs: int, middle: int, *, blocks: int, depth: int, stride: int) -> nn.Sequential:
    """Bottlenecks one after the other, the first of which has the stride; `depth` is their kernel in time."""
    first = Bottleneck(inputs, middle, depth, stride)
    return nn.Sequential(first, *(Bottleneck(4 * middle, middle, depth, 1) for _ in range(blocks - 1)))
