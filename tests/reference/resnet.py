"""R3D-18 and R(2+1)D-18, stated a second time: the entries of torchvision's state dicts, and the forward pass.

Written from the architecture (Tran et al., CVPR 2018, Table 1) and torchvision's naming; float64, no modules.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

Shape = tuple[int, ...]
WIDTHS = (64, 128, 256, 512)


def _batch_norm(name: str, channels: int) -> dict[str, Shape]:
    entries: dict[str, Shape] = {
        f"{name}.{entry}": (channels,) for entry in ("weight", "bias", "running_mean", "running_var")
    }
    return entries | {f"{name}.num_batches_tracked": ()}


def _block_conv(name: str, split: bool, inputs: int, outputs: int, middle: int) -> dict[str, Shape]:
    if not split:
        return {f"{name}.weight": (outputs, inputs, 3, 3, 3)}
    return {
        f"{name}.0.weight": (middle, inputs, 1, 3, 3),
        **_batch_norm(f"{name}.1", middle),
        f"{name}.3.weight": (outputs, middle, 3, 1, 1),
    }


def state_shapes(split: bool, classes: int = 0) -> dict[str, Shape]:
    """Name → shape of everything in torchvision's `r3d_18` (or, split, `r2plus1d_18`); 0 classes: without fc."""
    shapes: dict[str, Shape] = {}
    if split:
        shapes["stem.0.weight"] = (45, 3, 1, 7, 7)
        shapes |= _batch_norm("stem.1", 45)
        shapes["stem.3.weight"] = (64, 45, 3, 1, 1)
        shapes |= _batch_norm("stem.4", 64)
    else:
        shapes["stem.0.weight"] = (64, 3, 3, 7, 7)
        shapes |= _batch_norm("stem.1", 64)
    inputs = 64
    for layer, width in enumerate(WIDTHS, 1):
        for block in range(2):
            name = f"layer{layer}.{block}"
            # As many parameters as one 3×3×3 kernel from `inputs` to `width` has; once for both convolutions.
            middle = inputs * width * 27 // (inputs * 9 + width * 3)
            shapes |= _block_conv(f"{name}.conv1.0", split, inputs, width, middle)
            shapes |= _batch_norm(f"{name}.conv1.1", width)
            shapes |= _block_conv(f"{name}.conv2.0", split, width, width, middle)
            shapes |= _batch_norm(f"{name}.conv2.1", width)
            if inputs != width:
                shapes[f"{name}.downsample.0.weight"] = (width, inputs, 1, 1, 1)
                shapes |= _batch_norm(f"{name}.downsample.1", width)
            inputs = width
    if classes:
        shapes |= {"fc.weight": (classes, 512), "fc.bias": (classes,)}
    return shapes


class Forward:
    """The forward pass on a state dict, by name.

    Args:
        state: float64 tensors.
        split: R(2+1)D-18 instead of R3D-18.
        training: normalise by the batch's own statistics instead of the stored ones.
    """

    def __init__(self, state: dict[str, Tensor], split: bool, training: bool) -> None:
        self.state = state
        self.split = split
        self.training = training

    def __call__(self, x: Tensor) -> list[Tensor]:
        """(N, 3, T, H, W) → the feature maps after each of the four layers."""
        if self.split:
            x = self._conv("stem.0", x, (1, 2, 2), (0, 3, 3))
            x = self._conv("stem.3", self._norm("stem.1", x).relu(), (1, 1, 1), (1, 0, 0))
            x = self._norm("stem.4", x).relu()
        else:
            x = self._norm("stem.1", self._conv("stem.0", x, (1, 2, 2), (1, 3, 3))).relu()
        maps = []
        for layer in range(1, 5):
            for block in range(2):
                x = self._block(f"layer{layer}.{block}", x, 2 if layer > 1 and block == 0 else 1)
            maps.append(x)
        return maps

    def _block(self, name: str, x: Tensor, stride: int) -> Tensor:
        y = self._norm(f"{name}.conv1.1", self._block_conv(f"{name}.conv1.0", x, stride)).relu()
        y = self._norm(f"{name}.conv2.1", self._block_conv(f"{name}.conv2.0", y, 1))
        if stride > 1:
            x = self._norm(
                f"{name}.downsample.1", self._conv(f"{name}.downsample.0", x, (stride,) * 3, (0, 0, 0))
            )
        return (x + y).relu()

    def _block_conv(self, name: str, x: Tensor, stride: int) -> Tensor:
        if not self.split:
            return self._conv(name, x, (stride,) * 3, (1, 1, 1))
        x = self._conv(f"{name}.0", x, (1, stride, stride), (0, 1, 1))
        return self._conv(f"{name}.3", self._norm(f"{name}.1", x).relu(), (stride, 1, 1), (1, 0, 0))

    def _conv(self, name: str, x: Tensor, stride: Shape, padding: Shape) -> Tensor:
        return F.conv3d(x, self.state[f"{name}.weight"], None, stride, padding)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        if self.training:
            mean, variance = x.mean((0, 2, 3, 4)), x.var((0, 2, 3, 4), unbiased=False)
        else:
            mean, variance = self.state[f"{name}.running_mean"], self.state[f"{name}.running_var"]
        scale = self.state[f"{name}.weight"] / torch.sqrt(variance + 1e-5)
        shift = self.state[f"{name}.bias"] - mean * scale
        return x * scale.view(-1, 1, 1, 1) + shift.view(-1, 1, 1, 1)
