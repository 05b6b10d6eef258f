"""How a run is going: sums gathered without waiting for the device, and read out now and then."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor

from kinevec.methods.method import Losses


@dataclass(frozen=True)
class Status:
    """Where a run stands; what a progress bar shows."""

    epoch: int
    step: int
    total: int
    clips_per_second: float
    waiting: float  # share of the time spent waiting for the loader
    seconds_left: float
    values: dict[str, float]  # means since the last status: loss terms, "spread", "gradient"


class Meter:
    """Sums the values of steps and the time between them.

    Args:
        step: from which the run goes on, of `total`.
    """

    def __init__(self, step: int, total: int) -> None:
        self.total = total
        self.first = step
        self.begun = time.perf_counter()
        self._reset(self.begun)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time inside as waiting for the loader."""
        start = time.perf_counter()
        yield
        self.waited += time.perf_counter() - start

    def add(self, losses: Losses, gradient: Tensor, clips: int) -> None:
        """Takes in one step: its losses, the norm of its gradient, and the clips it saw."""
        values = {name: term.detach() for name, term in (losses.terms | losses.figures).items()}
        values["loss"] = losses.total.detach()
        # 1: queries spread over the sphere; 0: all queries are one point, the encoder has collapsed
        values["spread"] = losses.embedding.std(0).mean() * math.sqrt(losses.embedding.shape[1])
        values["gradient"] = gradient
        for name, value in values.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.count += 1
        self.clips += clips

    def status(self, epoch: int, step: int) -> Status:
        """Means since the last call, which waits for the device."""
        values = {name: float(value) / self.count for name, value in self.sums.items()}
        now = time.perf_counter()
        spent = now - self.since
        left = (now - self.begun) / (step - self.first) * (self.total - step)
        status = Status(epoch, step, self.total, self.clips / spent, self.waited / spent, left, values)
        self._reset(now)
        return status

    def _reset(self, now: float) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0
        self.clips = 0
        self.waited = 0.0
        self.since = now
