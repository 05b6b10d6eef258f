"""Momentum contrast between two clips of one video (METHODS §0)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kinevec.config import Config
from kinevec.methods.infonce import info_nce
from kinevec.methods.memory import Queue, cosine_momentum, key_copy, move_towards
from kinevec.models import build_encoder
from kinevec.models.heads import Projector, pool


@dataclass(frozen=True)
class Losses:
    """What one step computes.

    Attributes:
        terms: named scalars; their sum is minimised.
        keys: (N, D) keys to remember once the step is over.
        embedding: (N, D) queries, detached, for the health figures.
    """

    terms: dict[str, Tensor]
    keys: Tensor
    embedding: Tensor

    @property
    def total(self) -> Tensor:
        """The sum of the terms."""
        return torch.stack(list(self.terms.values())).sum()


class Moco(nn.Module):
    """Query and key encoder with projectors, and a queue of keys.

    `forward` computes and changes nothing but batch-norm statistics; `advance` is the one place where
    the key encoder moves and keys are remembered, after all losses of the step.
    """

    def __init__(self, config: Config, generator: torch.Generator | None = None) -> None:
        super().__init__()
        method = config.method
        self.method = method
        self.encoder = build_encoder(config.model.name)
        self.projector = Projector(self.encoder.channels, method.hidden, method.dim, centred=method.centred)
        self.key_encoder = key_copy(self.encoder)
        self.key_projector = key_copy(self.projector)
        self.queue = Queue(method.dim, method.queue, generator)

    def forward(self, first: Tensor, second: Tensor) -> Losses:
        """Losses of a step; `first` and `second` are (N, 3, T, H, W) clips of the same N videos."""
        tau, negatives = self.method.temperature, self.queue.keys
        query = self.projector(pool(self.encoder(first)))
        key = self._key(second)
        loss, keys = info_nce(query, key, negatives, tau), key
        if self.method.symmetric:
            other_query = self.projector(pool(self.encoder(second)))
            other_key = self._key(first)
            loss = (loss + info_nce(other_query, other_key, negatives, tau)) / 2
            keys = torch.cat([key, other_key])
        return Losses({"instance": loss}, keys, query.detach())

    def advance(self, keys: Tensor, step: int, total: int) -> None:
        """Ends step `step` of `total`: moves the key side towards the query side, remembers `keys`."""
        m = self.momentum(step, total)
        move_towards(self.key_encoder, self.encoder, m)
        move_towards(self.key_projector, self.projector, m)
        self.queue.push(keys)

    def momentum(self, step: int, total: int) -> float:
        """m of the key encoder at a step."""
        base = self.method.momentum
        return base if self.method.momentum_schedule == "constant" else cosine_momentum(step, total, base)

    @torch.no_grad()
    def _key(self, clip: Tensor) -> Tensor:
        key: Tensor = self.key_projector(pool(self.key_encoder(clip)))
        return key
