"""Video ResNets with basic blocks: R3D-18, R(2+1)D-18 and a tiny one for CPUs.

Parameter names and shapes of the first two are torchvision's (`r3d_18`, `r2plus1d_18`) without `fc`.
Architecture: Tran et al., A Closer Look at Spatiotemporal Convolutions, CVPR 2018.
"""

from collections.abc import Callable

from torch import Tensor, nn

from kinevec.models.conv import Conv3d
from kinevec.models.encoder import Encoder, Stages, Widths

Triple = tuple[int, int, int]
Stride = tuple[int, int]  # in time, and in height and width
ConvMaker = Callable[[int, int, int, Stride], nn.Module]  # (in, out, middle, stride)


def full_conv(inputs: int, outputs: int, middle: int, stride: Stride) -> nn.Module:
    """A 3×3×3 convolution; `middle` is not used."""
    time, space = stride
    return Conv3d(inputs, outputs, 3, (time, space, space), 1, bias=False)


def flat_conv(inputs: int, outputs: int, middle: int, stride: Stride) -> nn.Module:
    """A 1×3×3 convolution; `middle` is not used."""
    time, space = stride
    return Conv3d(inputs, outputs, (1, 3, 3), (time, space, space), (0, 1, 1), bias=False)


def split_conv(inputs: int, outputs: int, middle: int, stride: Stride) -> nn.Module:
    """A 1×3×3 convolution to `middle` channels, then a 3×1×1 one."""
    time, space = stride
    return nn.Sequential(
        Conv3d(inputs, middle, (1, 3, 3), (1, space, space), (0, 1, 1), bias=False),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        Conv3d(middle, outputs, (3, 1, 1), (time, 1, 1), (1, 0, 0), bias=False),
    )


def full_stem(width: int, kernel: Triple, stride: Triple) -> nn.Sequential:
    """One convolution on the frames."""
    padding = tuple(k // 2 for k in kernel)
    conv = Conv3d(3, width, kernel, stride, padding, bias=False)  # type: ignore[arg-type]
    return nn.Sequential(conv, nn.BatchNorm3d(width), nn.ReLU(inplace=True))


def split_stem() -> nn.Sequential:
    """R(2+1)D's stem: 1×7×7 to 45 channels, then 3×1×1 to 64."""
    return nn.Sequential(
        Conv3d(3, 45, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
        nn.BatchNorm3d(45),
        nn.ReLU(inplace=True),
        Conv3d(45, 64, (3, 1, 1), (1, 1, 1), (1, 0, 0), bias=False),
        nn.BatchNorm3d(64),
        nn.ReLU(inplace=True),
    )


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: Stride, conv: ConvMaker) -> None:
        super().__init__()
        middle = (inputs * outputs * 27) // (inputs * 9 + 3 * outputs)  # as many weights as the full conv
        self.conv1 = nn.Sequential(
            conv(inputs, outputs, middle, stride), nn.BatchNorm3d(outputs), nn.ReLU(inplace=True)
        )
        # torchvision computes `middle` once a block, from its inputs, and uses it for both convolutions.
        self.conv2 = nn.Sequential(conv(outputs, outputs, middle, (1, 1)), nn.BatchNorm3d(outputs))
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride != (1, 1) or inputs != outputs:
            self.downsample = nn.Sequential(
                Conv3d(inputs, outputs, 1, (stride[0], stride[1], stride[1]), bias=False),
                nn.BatchNorm3d(outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) → (N, C', T', H', W')."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(self.conv2(self.conv1(x)) + shortcut)
        return out


class VideoResNet(Encoder):
    """A stem and four stages.

    Args:
        stem: frames → feature map, with as many channels as the first stage.
        widths: channels of the four stages.
        blocks: blocks in each stage.
        strides: of each stage, in time and in height and width.
        conv: makes the convolutions of a block.
    """

    def __init__(
        self,
        stem: nn.Sequential,
        widths: Widths,
        blocks: tuple[int, int, int, int],
        strides: tuple[Stride, Stride, Stride, Stride],
        conv: ConvMaker,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.widths = widths
        inputs, stages = widths[0], []
        for outputs, count, stride in zip(widths, blocks, strides, strict=True):
            first = BasicBlock(inputs, outputs, stride, conv)
            rest = [BasicBlock(outputs, outputs, (1, 1), conv) for _ in range(count - 1)]
            stages.append(nn.Sequential(first, *rest))
            inputs = outputs
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        initialise(self)

    def stages(self, x: Tensor) -> Stages:
        """The feature maps of all four stages, (N, C_i, T_i, H_i, W_i) each; x is (N, 3, T, H, W)."""
        one = self.layer1(self.stem(x))
        two = self.layer2(one)
        three = self.layer3(two)
        return one, two, three, self.layer4(three)


def initialise(model: nn.Module) -> None:
    """He-normal convolutions (fan out), batch norms at 1 and 0: as torchvision's video ResNets."""
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm3d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


HALVING = ((1, 1), (2, 2), (2, 2), (2, 2))


def r3d18() -> VideoResNet:
    """R3D-18: 33.2 M parameters, C = 512; 16×112² → 2×7×7, 8×112² → 1×7×7."""
    stem = full_stem(64, (3, 7, 7), (1, 2, 2))
    return VideoResNet(stem, (64, 128, 256, 512), (2, 2, 2, 2), HALVING, full_conv)


def r2plus1d18() -> VideoResNet:
    """R(2+1)D-18: 31.3 M parameters, C = 512; 16×112² → 2×7×7."""
    return VideoResNet(split_stem(), (64, 128, 256, 512), (2, 2, 2, 2), HALVING, split_conv)


def tiny() -> VideoResNet:
    """For CPUs: 0.9 M parameters, C = 128; 8×64² → 2×4×4, with four time steps after stage 2."""
    stem = full_stem(16, (3, 7, 7), (1, 2, 2))
    strides = ((1, 1), (2, 2), (2, 2), (1, 2))
    return VideoResNet(stem, (16, 32, 64, 128), (1, 1, 1, 1), strides, full_conv)
