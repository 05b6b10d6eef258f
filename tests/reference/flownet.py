"""MSCL's flow encoder as the 2-D network that it is: every second frame is an image of its own."""

from torch import Tensor
from torch.nn import functional as F


def forward(state: dict[str, Tensor], blocks: int, training: bool, clip: Tensor) -> list[Tensor]:
    """Clips (N, 3, T, H, W) → the feature maps of the four stages, (N, C_i, ⌈T/2⌉, H_i, W_i)."""

    def layer(conv: str, norm: str, x: Tensor, stride: int) -> Tensor:
        weight = state[f"{conv}.weight"].squeeze(2)
        y = F.conv2d(x, weight, None, stride, weight.shape[-1] // 2)
        if training:  # all frames of all clips are one batch
            mean, variance = y.mean((0, 2, 3)), y.var((0, 2, 3), unbiased=False)
        else:
            mean, variance = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        scale = state[f"{norm}.weight"] / (variance + 1e-5).sqrt()
        return y * scale.view(-1, 1, 1) + (state[f"{norm}.bias"] - mean * scale).view(-1, 1, 1)

    clips = len(clip)
    x = clip[:, :, ::2].transpose(1, 2).flatten(0, 1)
    x = layer("stem.0", "stem.1", x, 2).relu()
    maps = []
    for stage in range(1, 5):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = layer(f"{name}.conv1.0", f"{name}.conv1.1", x, stride).relu()
            y = layer(f"{name}.conv2.0", f"{name}.conv2.1", y, 1)
            if stride == 2:
                x = layer(f"{name}.downsample.0", f"{name}.downsample.1", x, 2)
            x = (x + y).relu()
        maps.append(x.unflatten(0, (clips, -1)).transpose(1, 2))
    return maps
