"""The I3D of FIMA's released code, stated a second time: the entries of its state dict, and the forward pass on them.

Written from the widths of Inception-v1 and the names in a checkpoint; float64, no modules. Sizes that the strides
divide are assumed, as 224 and 112 are.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

Shape = tuple[int, ...]
EPSILON = 1e-5
MIXED = {
    "3b": (192, (64, 96, 128, 16, 32, 32)),
    "3c": (256, (128, 128, 192, 32, 96, 64)),
    "4b": (480, (192, 96, 208, 16, 48, 64)),
    "4c": (512, (160, 112, 224, 24, 64, 64)),
    "4d": (512, (128, 128, 256, 24, 64, 64)),
    "4e": (512, (112, 144, 288, 32, 64, 64)),
    "4f": (528, (256, 160, 320, 32, 128, 128)),
    "5b": (832, (256, 160, 320, 32, 128, 128)),
    "5c": (832, (384, 192, 384, 48, 128, 128)),
}


def state_shapes() -> dict[str, Shape]:
    """Name → shape of every entry of the encoder."""
    shapes: dict[str, Shape] = {}

    def unit(name: str, inputs: int, outputs: int, kernel: int) -> None:
        shapes[f"{name}.conv3d.weight"] = (outputs, inputs, kernel, kernel, kernel)
        for entry in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.batch3d.{entry}"] = (outputs,)
        shapes[f"{name}.batch3d.num_batches_tracked"] = ()

    unit("conv3d_1a_7x7", 3, 64, 7)
    unit("conv3d_2b_1x1", 64, 64, 1)
    unit("conv3d_2c_3x3", 64, 192, 3)
    for block, (inputs, widths) in MIXED.items():
        unit(f"mixed_{block}.branch_0", inputs, widths[0], 1)
        for branch in (1, 2):
            reduced, outputs = widths[2 * branch - 1 : 2 * branch + 1]
            unit(f"mixed_{block}.branch_{branch}.0", inputs, reduced, 1)
            unit(f"mixed_{block}.branch_{branch}.1", reduced, outputs, 3)
        unit(f"mixed_{block}.branch_3.1", inputs, widths[5], 1)
    return shapes


def forward(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """(N, 3, T, H, W) → the last feature map, by stored statistics."""

    def unit(name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = state[f"{name}.conv3d.weight"]
        total = weight.shape[-1] - stride
        x = F.pad(x, (total // 2, total - total // 2) * 3)
        norm = [
            state[f"{name}.batch3d.{entry}"] for entry in ("running_mean", "running_var", "weight", "bias")
        ]
        return F.batch_norm(F.conv3d(x, weight, stride=stride), *norm, eps=EPSILON).relu()

    def mixed(block: str, x: Tensor) -> Tensor:
        name = f"mixed_{block}"
        pairs = [unit(f"{name}.branch_{i}.1", unit(f"{name}.branch_{i}.0", x)) for i in (1, 2)]
        pooled = unit(f"{name}.branch_3.1", F.max_pool3d(F.pad(x, (1,) * 6), 3, 1))
        return torch.cat([unit(f"{name}.branch_0", x), *pairs, pooled], dim=1)

    def halve(x: Tensor) -> Tensor:
        return F.max_pool3d(F.pad(x, (0, 1, 0, 1, 0, 0)), (1, 3, 3), (1, 2, 2))

    x = unit("conv3d_2c_3x3", unit("conv3d_2b_1x1", halve(unit("conv3d_1a_7x7", x, 2))))
    x = mixed("3c", mixed("3b", halve(x)))
    x = F.max_pool3d(F.pad(x, (0, 1) * 3), 3, 2)
    for block in ("4b", "4c", "4d", "4e", "4f"):
        x = mixed(block, x)
    return mixed("5c", mixed("5b", F.max_pool3d(x, 2, 2)))
