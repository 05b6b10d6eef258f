"""SlowOnly-50, stated a second time: its entries under two names, and the forward pass on them.

Written from Feichtenhofer et al., ICCV 2019, Table 1 (slow pathway), and He et al., CVPR 2016, Table 1.
"""

from collections.abc import Iterator

from torch import Tensor
from torch.nn import functional as F

Shape = tuple[int, ...]
# blocks, channels inside, kernel in time of the first convolution of a block
STAGES = ((3, 64, 1), (4, 128, 1), (6, 256, 3), (3, 512, 3))
BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def layers() -> Iterator[tuple[str, str, str, str, Shape]]:
    """(mmaction2's convolution, its batch norm, pytorchvideo's two, shape of the weight) of every layer."""
    yield "conv1.conv", "conv1.bn", "blocks.0.conv", "blocks.0.norm", (64, 3, 1, 7, 7)
    inputs = 64
    for stage, (blocks, inside, depth) in enumerate(STAGES, 1):
        for block in range(blocks):
            ours, theirs = f"layer{stage}.{block}", f"blocks.{stage}.res_blocks.{block}"
            shapes = [
                (inside, inputs, depth, 1, 1),
                (inside, inside, 1, 3, 3),
                (4 * inside, inside, 1, 1, 1),
            ]
            for number, (letter, shape) in enumerate(zip("abc", shapes, strict=True), 1):
                conv, norm = f"{theirs}.branch2.conv_{letter}", f"{theirs}.branch2.norm_{letter}"
                yield f"{ours}.conv{number}.conv", f"{ours}.conv{number}.bn", conv, norm, shape
            if block == 0:
                names = f"{ours}.downsample.conv", f"{ours}.downsample.bn"
                yield (
                    *names,
                    f"{theirs}.branch1_conv",
                    f"{theirs}.branch1_norm",
                    (4 * inside, inputs, 1, 1, 1),
                )
            inputs = 4 * inside


def state_shapes(*, pytorchvideo: bool = False) -> dict[str, Shape]:
    """Name → shape of everything but the classifier, in mmaction2's names or in pytorchvideo's."""
    shapes: dict[str, Shape] = {}
    for conv, norm, other_conv, other_norm, shape in layers():
        shapes[f"{other_conv if pytorchvideo else conv}.weight"] = shape
        name = other_norm if pytorchvideo else norm
        shapes |= {f"{name}.{entry}": (shape[0],) for entry in BATCH_NORM[:-1]}
        shapes[f"{name}.num_batches_tracked"] = ()
    return shapes


def forward(state: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    """(N, 3, T, H, W) → the feature maps of the four stages, by stored statistics."""

    def layer(name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = state[f"{name}.conv.weight"]
        padding = [size // 2 for size in weight.shape[2:]]
        y = F.conv3d(x, weight, None, (1, stride, stride), padding)
        mean, variance, scale, shift = (
            state[f"{name}.bn.{entry}"].view(-1, 1, 1, 1)
            for entry in ("running_mean", "running_var", "weight", "bias")
        )
        return (y - mean) / (variance + 1e-5).sqrt() * scale + shift

    x = F.max_pool3d(layer("conv1", x, 2).relu(), (1, 3, 3), (1, 2, 2), (0, 1, 1))
    maps = []
    for stage, (blocks, _, _) in enumerate(STAGES, 1):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = layer(f"{name}.conv2", layer(f"{name}.conv1", x).relu(), stride).relu()
            shortcut = layer(f"{name}.downsample", x, stride) if block == 0 else x
            x = (layer(f"{name}.conv3", y) + shortcut).relu()
        maps.append(x)
    return maps
