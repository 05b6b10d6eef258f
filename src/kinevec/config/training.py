"""The sections on how the learning goes on: the optimisation, and where its figures go."""

from dataclasses import dataclass
from typing import Literal

from kinevec.config.refusal import check


@dataclass(frozen=True)
class Train:
    """The optimisation."""

    epochs: int = 200
    batch: int = 128  # videos per step, of all ranks together: lr and schedule do not depend on their number
    accumulate: int = (
        1  # equal parts in which a rank's videos of a step are passed one by one, to save memory
    )
    optimizer: Literal["sgd", "adamw"] = "sgd"  # sgd has momentum 0.9
    lr: float = 0.02  # the peak of the cosine schedule
    weight_decay: float = 1e-4  # on all parameters
    warmup_epochs: float = 5.0  # linear rise of lr from 0
    clip_norm: float = 40.0  # gradients are scaled down to this norm; 0: never
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 where the hardware has it
    compile: bool = False  # encoders by torch.compile: slower on a CPU, a minute to start (docs/speed.md)
    seed: int = 0
    device: str = "auto"  # auto: cuda where there is one, else cpu
    save_every: int = 0  # steps between checkpoints; there is one at the end of each epoch anyway
    keep: int = 2  # checkpoints: the newest and those before it; that of the best epoch is kept beside them
    on_nan: Literal["stop", "skip"] = "stop"  # skip: back to the last checkpoint, and on without that batch

    def __post_init__(self) -> None:
        check(self.epochs >= 1, f"train.epochs is {self.epochs}; it must be at least 1")
        check(self.batch >= 2, f"train.batch is {self.batch}; batch norm needs at least 2")
        check(self.accumulate >= 1, f"train.accumulate is {self.accumulate}; it must be at least 1")
        check(
            self.batch % self.accumulate == 0 and self.batch >= 2 * self.accumulate,
            f"train.batch is {self.batch}; it must divide into train.accumulate = {self.accumulate} parts of at least 2",
        )
        check(self.lr > 0, f"train.lr is {self.lr}; it must be positive")
        check(self.weight_decay >= 0, f"train.weight_decay is {self.weight_decay}; it cannot be negative")
        check(self.save_every >= 0, f"train.save_every is {self.save_every} steps; it cannot be negative")
        check(self.keep >= 1, f"train.keep is {self.keep}; at least the newest checkpoint is kept")
        check(self.clip_norm >= 0, f"train.clip_norm is {self.clip_norm}; it cannot be negative")
        check(0 <= self.seed < 2**63, f"train.seed is {self.seed}; it must lie in 0 to 2^63 - 1")
        check(
            0 <= self.warmup_epochs < self.epochs,
            f"train.warmup_epochs is {self.warmup_epochs}; it must be below train.epochs = {self.epochs}; set it too",
        )


@dataclass(frozen=True)
class Log:
    """Where figures go beside the run's `log.jsonl` and TensorBoard."""

    wandb: str = ""  # project on Weights & Biases, which needs kinevec[wandb]; "": none
