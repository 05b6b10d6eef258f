"""Any encoder by the place it lies in, with all that using it needs."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from kinevec.config import Config
from kinevec.models import build_encoder
from kinevec.models.encoder import Encoder
from kinevec.runtime import seeded
from kinevec.train.checkpoint import load_encoder as load_run

UNTRAINED = "untrained:"


@dataclass(frozen=True)
class Loaded:
    """An encoder and how clips are made for it.

    Attributes:
        encoder: frames (N, 3, T, H, W) → feature map (N, C, T', H', W').
        config: of the clips and of their normalisation (`clip`, `views`), and how it was trained.
        source: the place as it was named.
        step: training steps behind it; None where that is not known.
    """

    encoder: Encoder
    config: Config
    source: str
    step: int | None

    @cached_property
    def identity(self) -> str:
        """A digest of the weights and of how clips are made for them: equal where features would be equal."""
        digest = hashlib.sha256()
        config = self.config
        digest.update(repr((config.model, config.clip, config.views.mean, config.views.std)).encode())
        for name, value in self.encoder.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:32]


def load(place: str | Path) -> Loaded:
    """The encoder of a run's folder, or `untrained:NAME`, an encoder of that name before any training.

    Raises:
        InputError: nothing is there.
        CheckpointError: the file is damaged or does not fit the encoder it names.
        ConfigError: no encoder has this name.
    """
    name = str(place)
    if name.startswith(UNTRAINED):
        config = Config()
        with seeded(config.train.seed):
            encoder = build_encoder(name.removeprefix(UNTRAINED))
        return Loaded(encoder, config, name, 0)
    encoder, config, step = load_run(Path(place))
    return Loaded(encoder, config, name, step)
