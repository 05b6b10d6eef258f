"""What decides a fine-tuning, its presets, and its learning rate."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from kinevec.config import check, from_dict, to_dict
from kinevec.config.toml import read_value
from kinevec.errors import ConfigError


@dataclass(frozen=True)
class FinetuneConfig:
    """All that decides a fine-tuning beside the encoder, its clips and its random views."""

    freeze: bool = False  # train the linear layer alone
    dropout: float = 0.7  # before the linear layer; 0.7 for UCF101, 0.5 for HMDB51
    epochs: int = 150
    schedule: Literal["steps", "cosine"] = "steps"  # cosine: lr falls to 0 along half a cosine
    drops: tuple[float, float] = (0.4, 0.8)  # steps: lr falls at these shares of the epochs: 60, 120
    factor: float = 0.1  # steps: by which it falls
    optimizer: Literal["sgd", "adamw"] = "sgd"  # sgd has momentum 0.9
    lr: float = 0.01
    weight_decay: float = 1e-4  # on all parameters
    batch: int = 32  # videos per step
    clips: int = 10  # of a test video, even in time
    crops: int = 1  # of each: 1, or 3 along the longer side
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    workers: int = -1  # loader processes; -1: as in pretraining
    seed: int = 0

    def __post_init__(self) -> None:
        first, second = self.drops
        check(0 <= self.dropout < 1, f"dropout is {self.dropout}; it must lie in 0 to 1, 1 excluded")
        check(self.epochs >= 1, f"epochs is {self.epochs}; it must be at least 1")
        check(0 < first <= second <= 1, f"drops is {self.drops}; it needs 0 < first ≤ second ≤ 1")
        check(0 < self.factor <= 1, f"factor is {self.factor}; it must lie in 0 to 1, 0 excluded")
        check(self.lr > 0, f"lr is {self.lr}; it must be positive")
        check(self.weight_decay >= 0, f"weight_decay is {self.weight_decay}; it cannot be negative")
        check(self.batch >= 2, f"batch is {self.batch}; batch norm needs at least 2")
        check(self.clips >= 1, f"clips is {self.clips}; it must be at least 1")
        check(self.crops in (1, 3), f"crops is {self.crops}; it must be 1 or 3")
        check(self.workers >= -1, f"workers is {self.workers}; use -1 for automatic, 0 for none, or more")
        check(0 <= self.seed < 2**63, f"seed is {self.seed}; it must lie in 0 to 2^63 - 1")

    @property
    def protocol(self) -> str:
        """First word of the scores."""
        return "linear-sgd" if self.freeze else "finetune"


PRESETS: Mapping[str, FinetuneConfig] = {
    "ucf101": FinetuneConfig(),
    "hmdb51": FinetuneConfig(dropout=0.5),
    "small": FinetuneConfig(dropout=0.2, epochs=40, schedule="cosine", optimizer="adamw", lr=0.002),
}


def finetune_config(preset: str, changes: Iterable[str] = ()) -> FinetuneConfig:
    """A preset with changes such as "epochs=20".

    Raises:
        ConfigError: no such preset or key, or a value that makes no sense.
    """
    if preset not in PRESETS:
        raise ConfigError(f"unknown fine-tuning '{preset}'; known: {', '.join(PRESETS)}")
    tree = to_dict(PRESETS[preset])
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise ConfigError(f"cannot read the change '{change}'; write key=value, as in epochs=20")
        tree[key.strip()] = read_value(text)
    return from_dict(FinetuneConfig, tree)


def learning_rate(epoch: int, config: FinetuneConfig) -> float:
    """Of an epoch, counted from 0 (as published: ×0.1 at 60 and 120 of 150).

    In steps: lr, times the factor from each drop on. Cosine: lr · (1 + cos(π · epoch / epochs)) / 2.
    """
    if config.schedule == "cosine":
        return config.lr * 0.5 * (1 + math.cos(math.pi * epoch / config.epochs))
    passed = sum(epoch >= max(1, round(share * config.epochs)) for share in config.drops)
    return config.lr * config.factor**passed
