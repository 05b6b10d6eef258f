"""What every place of an encoder gives."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kinevec.config import Config
from kinevec.models.encoder import Encoder, weight_bytes


@dataclass(frozen=True, repr=False)
class Loaded:
    """An encoder and how clips are made for it.

    Attributes:
        encoder: frames (N, 3, T, H, W) → feature map (N, C, T', H', W').
        config: of the clips and of their normalisation (`clip`, `views`), and how it was trained.
        source: the place as it was named.
        step: training steps behind it; None where that is not known.
        facts: what else is known of its making and may be told to others: counts, never paths.
    """

    encoder: Encoder
    config: Config
    source: str
    step: int | None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def identity(self) -> str:
        """A digest of the weights and of how clips are made for them: equal where features would be equal."""
        clip, views = self.config.clip, self.config.views
        seen = (self.config.model.name, clip.frames, clip.stride, clip.size, views.mean, views.std)
        digest = hashlib.sha256(repr(seen).encode())
        for part in weight_bytes(self.encoder.state_dict().items()):
            digest.update(part)
        return digest.hexdigest()[:32]

    @property
    def parameters(self) -> int:
        """Numbers that training changed."""
        return sum(parameter.numel() for parameter in self.encoder.parameters())

    def __repr__(self) -> str:
        return f"Loaded({self.words} from {self.source!r})"

    @property
    def words(self) -> str:
        """What it is, in shapes and counts."""
        clip = self.config.clip
        steps = "" if self.step is None else f", {self.step:,} training steps"
        return (
            f"{self.config.model.name}: {clip.frames} frames of {clip.size}×{clip.size} at stride {clip.stride} → "
            f"{self.encoder.channels} numbers; {self.parameters / 1e6:.1f} M parameters{steps}"
        )
