"""What every encoder offers: the feature maps of four stages, the last of which is its result."""

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from kinevec.errors import ConfigError

Stages = tuple[Tensor, Tensor, Tensor, Tensor]
Widths = tuple[int, int, int, int]


class Encoder(nn.Module, ABC):
    """Frames (N, 3, T, H, W) → feature map (N, C, T', H', W').

    Attributes:
        widths: channels of the four stages.
    """

    widths: Widths

    @property
    def channels(self) -> int:
        """C of the last feature map."""
        return self.widths[-1]

    @abstractmethod
    def stages(self, x: Tensor) -> Stages:
        """The feature maps of all four stages, (N, C_i, T_i, H_i, W_i) each; x is (N, 3, T, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Frames (N, 3, T, H, W) → the last feature map (N, C, T', H', W')."""
        return self.stages(x)[-1]


def weight_bytes(weights: Iterable[tuple[str, Tensor]]) -> Iterator[bytes]:
    """The names and values of weights one after the other, for a digest of them."""
    for name, value in weights:
        yield name.encode()
        yield value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def compile_encoders(model: nn.Module, device: torch.device) -> None:
    """Lets `torch.compile` rewrite the passes of all encoders in a model, where they are called the next time.

    Parameters, buffers and their names stay as they are; so does what `guard_bf16` and `grouped_statistics` set.

    Raises:
        ConfigError: there is no C++ compiler, which a CPU needs.
    """
    compilers = [os.environ.get("CXX", "g++"), "g++", "clang++"]
    if device.type == "cpu" and not any(shutil.which(name) for name in compilers):
        raise ConfigError(
            "train.compile needs a C++ compiler such as g++ on a CPU; install one or set it to false"
        )
    encoders = [module for module in model.modules() if isinstance(module, Encoder)]
    # Encoders of one class share their code, of which PyTorch by default keeps 8 versions.
    torch._dynamo.config.recompile_limit = 8 * max(1, len(encoders))
    for module in encoders:
        # An instance's own method goes before its class's; it is no part of its state.
        module.stages = torch.compile(module.stages, dynamic=False)  # type: ignore[method-assign]
