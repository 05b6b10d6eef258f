"""A frozen encoder as a function: uint8 clips in, feature vectors out."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinevec.config import Config
from kinevec.errors import CheckpointError
from kinevec.models.conv import channels_last
from kinevec.models.guard import guard_bf16
from kinevec.models.heads import pool
from kinevec.runtime import autocast, pick_device, pick_precision
from kinevec.views.pipeline import finish_batch, finish_difference

AT_ONCE = 32  # clips in one pass


def settled(config: Config, device: torch.device) -> Config:
    """A configuration whose precision is named: what "auto" means on this machine, for a kind of device. A device
    that only other machines have gets fp32."""
    precision = pick_precision(config.train.precision, device)
    return replace(config, train=replace(config.train, precision=precision))


class ClipEncoder:
    """Encodes clips in evaluation mode, without gradient, in the precision that is right on the device.

    Args:
        encoder: frames (N, 3, T, H, W) → feature map (N, C, T', H', W'); it is moved to the device and put into
            evaluation mode.
        config: of its clips: shape, normalisation, precision.
        device: where to compute.

    Raises:
        ConfigError: the device is not there.
    """

    def __init__(self, encoder: nn.Module, config: Config, device: str = "auto") -> None:
        self.encoder = encoder
        self.config = config
        self.device = pick_device(device)
        self.precision = pick_precision(config.train.precision, self.device)
        channels_last(encoder.to(self.device).eval())
        if self.precision == "bf16":
            size = config.clip.size
            guard_bf16(encoder, torch.zeros(2, 3, config.clip.frames, size, size, device=self.device))

    def __call__(self, clips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 clips (N, T, S, S, 3) → pooled features (N, C).

        Raises:
            CheckpointError: they are not finite.
        """
        parts = [pool(self.map(clips[i : i + AT_ONCE])).cpu().numpy() for i in range(0, len(clips), AT_ONCE)]
        result: NDArray[np.float32] = np.concatenate(parts)
        if not np.isfinite(result).all():  # one such row would spoil the mean that all others are centred by
            raise CheckpointError(
                "the encoder's features are not finite, so that nothing can be said of it: its weights are damaged or "
                "its training went astray"
            )
        return result

    def map(self, clips: NDArray[np.uint8]) -> Tensor:
        """uint8 clips (N, T, S, S, 3) → the last feature map, float32 (N, C, T', H', W'), on the device."""
        return self._map(finish_batch(self._on_device(clips), self.config.views))

    def difference_map(self, clips: NDArray[np.uint8]) -> Tensor:
        """The same of the clips' frame differences (FIMA, arXiv:2309.00297)."""
        return self._map(finish_difference(self._on_device(clips), self.config.views))

    def _on_device(self, clips: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(clips)).to(self.device)

    @torch.no_grad()
    def _map(self, batch: Tensor) -> Tensor:
        with autocast(self.device, self.precision):
            features: Tensor = self.encoder(batch).float()
        return features
