"""FIMA's motion decoder: cross-attention that predicts one clip's motion from another clip's features."""

import torch
from torch import Tensor, nn


class MotionDecoder(nn.Module):
    """Predicts clip n's motion keys from clip m's features (target) and clip n's features (memory).

    A 1×1 convolution C → width; sine-cosine positions added to the tokens of both; a learnt class token without a
    position in front of the target; pre-norm layers of cross-attention and feed-forward; a 1×1 convolution
    width → C. There is no self-attention and no final norm, so that each token is decoded on its own: the class
    token sees nothing but the memory. Works at any feature size H×W.

    Args:
        channels: C of the backbone's feature map.
        width: token width inside the decoder.
        heads: attention heads; `width` must be a multiple of it.
        feedforward: hidden width of the feed-forward blocks.
        layers: number of layers.
        dropout: probability, on attention weights, in the feed-forward blocks and on what each block adds.

    Raises:
        ValueError: the width is odd or no multiple of the heads.

    Source: FIMA (arXiv:2309.00297), motion decoder.
    """

    def __init__(
        self,
        channels: int,
        width: int = 512,
        heads: int = 4,
        feedforward: int = 512,
        layers: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if width % 2 or width % heads:
            raise ValueError(f"width must be even and a multiple of heads; got width {width}, heads {heads}")
        self.input = nn.Conv2d(channels, width, kernel_size=1)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.layers = nn.ModuleList(DecoderLayer(width, heads, feedforward, dropout) for _ in range(layers))
        self.output = nn.Conv2d(width, channels, kernel_size=1)

    def forward(self, query: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Predicts the memory clip's motion features, before the projector.

        Args:
            query: (N, C, H, W) features of clip m at one time step.
            memory: (N, C, H, W) features of clip n at the same time step.

        Returns:
            (N, C) prediction of clip n's local motion, and (N, C, H, W) prediction of its dense motion in m's cells.

        Raises:
            ValueError: the two are not feature maps of the same shape.
        """
        if query.ndim != 4 or query.shape != memory.shape:
            raise ValueError(
                "query and memory must be (N, C, H, W), the same; "
                f"got {tuple(query.shape)} and {tuple(memory.shape)}"
            )
        target, source = (self.input(x).flatten(2).transpose(1, 2) for x in (query, memory))
        tokens = self.decode_tokens(target, source)  # (N, 1 + HW, width)
        # As columns of a (1 + HW) × 1 map, the class token passes through the convolution with the cells.
        out = self.output(tokens.transpose(1, 2).unsqueeze(3)).squeeze(3)  # (N, C, 1 + HW)
        return out[:, :, 0], out[:, :, 1:].unflatten(2, query.shape[2:])

    def decode_tokens(self, target: Tensor, memory: Tensor) -> Tensor:
        """What happens between the two convolutions: positions, class token and layers.

        Args:
            target: (N, L, width) tokens of clip m.
            memory: (N, M, width) tokens of clip n.

        Returns:
            (N, 1 + L, width): the class token's output, then the target tokens'.
        """
        target = target + sine_positions(target.shape[1], target.shape[2], target)
        memory = memory + sine_positions(memory.shape[1], memory.shape[2], memory)
        class_token = self.class_token.expand(len(target), -1, -1)
        tokens = torch.cat((class_token, target), dim=1)
        for layer in self.layers:
            tokens = layer(tokens, memory)
        return tokens


class DecoderLayer(nn.Module):
    """x + attention(norm(x), memory), then x + feedforward(norm(x)); the memory is used as it is, without a norm."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.attention_dropout = nn.Dropout(dropout)
        self.feedforward_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(feedforward, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """(N, L, width) tokens and (N, M, width) memory → (N, L, width)."""
        attended, _ = self.attention(self.attention_norm(x), memory, memory, need_weights=False)
        x = x + self.attention_dropout(attended)
        y: Tensor = x + self.feedforward(self.feedforward_norm(x))
        return y


def sine_positions(length: int, width: int, like: Tensor) -> Tensor:
    """Sine-cosine positions: sin(p / 10000^(2i / width)) in channel 2i of position p, the cosine in 2i + 1.

    Args:
        length: number of positions.
        width: channels; even.
        like: gives the device and the dtype.

    Returns:
        (length, width).

    Source: Attention Is All You Need, §3.5.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)  # bfloat16 cannot count beyond 256
    position = torch.arange(length, device=like.device, dtype=dtype)
    exponent = torch.arange(0, width, 2, device=like.device, dtype=dtype) / width
    angle = position[:, None] / 10000.0**exponent
    return torch.stack((angle.sin(), angle.cos()), dim=2).flatten(1).to(like.dtype)
