"""One momentum-contrast branch: query side, key side that follows it, and a queue of keys (MoCo)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kinevec import config, ranks
from kinevec.methods.memory import Queue, key_copy, move_towards
from kinevec.models.encoder import Encoder
from kinevec.models.heads import Projector, pool
from kinevec.models.norm import grouped_statistics


@dataclass(frozen=True)
class Query:
    """What the query side makes of clips.

    Attributes:
        stages: the encoder's four feature maps, (N, C_i, T_i, H_i, W_i) each.
        vector: q, (N, D), unit length.
    """

    stages: tuple[Tensor, ...]
    vector: Tensor

    @property
    def map(self) -> Tensor:
        """The last feature map, (N, C, T', H', W')."""
        return self.stages[-1]


@dataclass(frozen=True)
class Key:
    """What the key side makes of clips, without gradient.

    Attributes:
        map: the last feature map, (N, C, T', H', W').
        vector: k, (N, D), unit length.
    """

    map: Tensor
    vector: Tensor


class Branch(nn.Module):
    """Encoder and projector, their slowly following copies, and the keys of the past.

    Args:
        encoder: of the query side.
        method: sizes of projector and queue.
        generator: of the queue's first vectors.

    Attributes:
        deals: clips of the key side are dealt out over the ranks (`method.key_norm` = shuffled).
    """

    def __init__(self, encoder: Encoder, method: config.Method, generator: torch.Generator | None) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = Projector(encoder.channels, method.hidden, method.dim, centred=method.centred)
        self.key_encoder = key_copy(encoder)
        self.key_projector = key_copy(self.projector)
        self.queue = Queue(method.dim, method.queue, generator, damping=method.damping)
        self.deals = method.key_norm == "shuffled" and ranks.world() > 1

    def query(self, clip: Tensor) -> Query:
        """Clips (N, 3, T, H, W) through the query side, with gradient."""
        stages = self.encoder.stages(clip)
        return Query(stages, self.projector(pool(stages[-1])))

    @torch.no_grad()
    def key(self, clip: Tensor) -> Key:
        """Clips (N, 3, T, H, W) through the key side; changes its batch-norm statistics.

        Under several ranks that deal, a clip is normalised in a batch with clips of every rank, other ones than those
        its query meets (shuffling batch norm, MoCo §3.3), and its key comes home.
        """
        return self._home(self._key(ranks.deal(clip) if self.deals else clip))

    @torch.no_grad()
    def keys(self, clips: Sequence[Tensor], *, together: bool) -> list[Key]:
        """Several kinds of clips, each as if it went through the key side alone.

        Args:
            clips: (N, 3, T, H, W) each.
            together: in one pass, in which batch norms treat each kind by its own statistics.
        """
        if not together or len(clips) < 2:
            return [self.key(clip) for clip in clips]
        kinds = len(clips)
        with grouped_statistics(self.key_encoder, kinds), grouped_statistics(self.key_projector, kinds):
            both = self._key(torch.cat([ranks.deal(clip) for clip in clips] if self.deals else list(clips)))
        parts = zip(both.map.chunk(kinds), both.vector.chunk(kinds), strict=True)
        return [self._home(Key(features, vector)) for features, vector in parts]

    def follow(self, momentum: float) -> None:
        """Moves the key side towards the query side."""
        move_towards(self.key_encoder, self.encoder, momentum)
        move_towards(self.key_projector, self.projector, momentum)

    def _key(self, clip: Tensor) -> Key:
        features = self.key_encoder(clip)
        return Key(features, self.key_projector(pool(features)))

    def _home(self, key: Key) -> Key:
        """The keys of this rank's own clips."""
        return Key(ranks.undeal(key.map), ranks.undeal(key.vector)) if self.deals else key
