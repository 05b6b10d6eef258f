"""What the local motion loss looks at: stage 2 of an encoder, with or without help of the stages above (MSCL)."""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from kinevec.models.conv import Conv3d
from kinevec.models.encoder import Stages, Widths


class PyramidNeck(nn.Module):
    """Finest level of a feature pyramid after one scale-equivalent pyramid convolution (MSCL).

    Laterals L_i of 1×1×1 bring stages 2–4 to D channels; top-down, M_4 = L_4, M_i = L_i + up(M_{i+1}); output
    convolutions of 1×3×3 give P_2 and P_3. The pyramid convolution of a level adds up a convolution of its
    own, one of the level above and one of the level below, and ends in a ReLU. Nothing is below the finest
    level, whose result is relu(own * P_2 + up(above * P_3)), with kernels of 3×3×3. What does not reach it
    (P_4, the other levels) is not built. 1.30 M parameters at D = 128 on R3D-18, 1.21 M on the tiny encoder.

    Sources: Lin et al., Feature Pyramid Networks, CVPR 2017; Wang et al., Scale-Equalizing Pyramid
    Convolution, CVPR 2020, Eq. 3. MSCL's released code enlarges linearly within the pyramid convolution and,
    for R3D-18 but not for SlowOnly, stacks two of these; here `up` repeats cells throughout, once.

    Args:
        channels: of stages 2, 3 and 4.
        dim: D.
    """

    def __init__(self, channels: tuple[int, int, int], dim: int) -> None:
        super().__init__()
        self.lateral2, self.lateral3, self.lateral4 = (Conv3d(width, dim, 1) for width in channels)
        self.output2, self.output3 = (Conv3d(dim, dim, (1, 3, 3), padding=(0, 1, 1)) for _ in range(2))
        self.own, self.above = (Conv3d(dim, dim, 3, padding=1) for _ in range(2))
        _initialise(self)

    def forward(self, stages: Stages) -> Tensor:
        """An encoder's `stages(x)` → (N, D, T_2, H_2, W_2), not negative."""
        _, two, three, four = stages
        merged3 = self.lateral3(three) + _enlarge(self.lateral4(four), three)
        merged2 = self.lateral2(two) + _enlarge(merged3, two)
        level2, level3 = self.output2(merged2), self.output3(merged3)
        return F.relu(self.own(level2) + _enlarge(self.above(level3), two))


class LinearNeck(nn.Module):
    """A 1×1×1 convolution of stage 2 alone: C·D + D parameters (4 k at D = 128 on the tiny encoder).

    Args:
        channels: C of stage 2.
        dim: D.
    """

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.lateral2 = Conv3d(channels, dim, 1)
        _initialise(self)

    def forward(self, stages: Stages) -> Tensor:
        """An encoder's `stages(x)` → (N, D, T_2, H_2, W_2)."""
        result: Tensor = self.lateral2(stages[1])
        return result


def build_neck(kind: Literal["pyramid", "linear"], channels: Widths, dim: int) -> PyramidNeck | LinearNeck:
    """A fresh neck for an encoder.

    Args:
        kind: "pyramid" for `PyramidNeck`, "linear" for `LinearNeck`.
        channels: the encoder's `widths`.
        dim: D.

    Raises:
        ValueError: another kind.
    """
    if kind == "pyramid":
        return PyramidNeck(channels[1:], dim)
    if kind == "linear":
        return LinearNeck(channels[1], dim)
    raise ValueError(f"a neck is 'pyramid' or 'linear', not {kind!r}")


def _enlarge(x: Tensor, like: Tensor) -> Tensor:
    """(N, C, t, h, w) → (N, C, T, H, W), the size of `like`, by repeating cells."""
    return F.interpolate(x, size=like.shape[2:], mode="nearest")


def _initialise(neck: nn.Module) -> None:
    """Xavier-uniform kernels and zero biases: no ReLU stands between the layers."""
    for module in neck.modules():
        if isinstance(module, Conv3d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
