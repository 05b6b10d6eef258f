"""How a run is going: figures gathered without waiting for the device, and read out now and then."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinevec import ranks
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
    values: dict[str, float]  # means since the last status: loss terms, "loss", "gradient"
    health: dict[str, float] = field(default_factory=dict)  # see kinevec.train.health
    ailing: tuple[str, ...] = ()  # names of what is wrong for a while now, see kinevec.train.alarms

    @property
    def figures(self) -> dict[str, float]:
        """What is logged of it."""
        speed = {"clips_per_second": self.clips_per_second, "waiting": self.waiting}
        return self.values | self.health | speed

    def with_ailing(self, names: tuple[str, ...]) -> "Status":
        """The same, with what is wrong for a while now."""
        return replace(self, ailing=names)


@dataclass(frozen=True)
class Window:
    """The figures of some steps in a row.

    Attributes:
        names: of the figures: loss terms, "loss", and "gradient", the norm before it is clipped.
        steps: their numbers, from 0.
        values: (steps, figures).
        videos: of each step, the places in the collection of the videos in its batch.
    """

    names: tuple[str, ...]
    steps: tuple[int, ...]
    values: NDArray[np.float64]
    videos: tuple[tuple[int, ...], ...]

    def means(self) -> dict[str, float]:
        """Name → mean over the steps."""
        return dict(zip(self.names, self.values.mean(0).tolist(), strict=True)) if self.steps else {}

    def fault(self) -> "Fault | None":
        """The first step with a figure that is not finite."""
        for step, row, videos in zip(self.steps, self.values, self.videos, strict=True):
            names = tuple(
                name for name, value in zip(self.names, row, strict=True) if not math.isfinite(value)
            )
            if names:
                return Fault(step, names, videos)
        return None


@dataclass(frozen=True)
class Fault:
    """A step in which something was not finite.

    Attributes:
        step: its number, from 0.
        names: of the figures that were not.
        videos: places in the collection of the videos in its batch.
    """

    step: int
    names: tuple[str, ...]
    videos: tuple[int, ...]


class Meter:
    """Gathers the figures of steps, and the time between them.

    Args:
        step: from which the run goes on, of `total`.

    Attributes:
        fresh: the step from which on every queue holds only keys of the run, known after the first step.
    """

    def __init__(self, step: int, total: int) -> None:
        self.total = total
        self.first = step
        self.begun = self.since = time.perf_counter()
        self.waited = 0.0
        self.clips = 0
        self.fresh = 0
        self.names: tuple[str, ...] = ()
        self.rows: list[Tensor] = []
        self.steps: list[int] = []
        self.videos: list[tuple[int, ...]] = []
        self.last: tuple[int, ...] = ()
        self.epoch_sum, self.epoch_count = 0.0, 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time inside as waiting for the loader."""
        start = time.perf_counter()
        yield
        self.waited += time.perf_counter() - start

    def add(self, step: int, losses: Losses, gradient: Tensor, videos: Tensor) -> None:
        """Takes in one step: its number from 0, its losses, the norm of its gradient, and the videos it saw."""
        values = losses.terms | losses.figures | {"loss": losses.total, "gradient": gradient}
        self.names = tuple(values)
        self.rows.append(torch.stack([value.detach().float() for value in values.values()]))
        self.steps.append(step)
        self.last = tuple(videos.tolist())
        self.videos.append(self.last)
        self.clips += 2 * len(videos) * ranks.world()
        turns = (
            math.ceil(queue.keys.shape[1] / (len(keys) * ranks.world())) for queue, keys in losses.remember
        )
        self.fresh = max(turns, default=0)

    def window(self) -> Window:
        """The steps since the last `take`, the same on all ranks: means of figures, all videos; waits for the device."""
        mine = torch.stack(self.rows).cpu() if self.rows else torch.zeros(0, len(self.names))
        parts = ranks.collected((mine.double().numpy(), self.videos))
        values = np.mean([values for values, _ in parts], axis=0)
        videos = tuple(sum(of_ranks, ()) for of_ranks in zip(*(videos for _, videos in parts), strict=True))
        return Window(self.names, tuple(self.steps), values, videos)

    def take(self, window: Window) -> None:
        """Begins the next window, once this one was found to be sound."""
        if window.steps:
            self.epoch_sum += float(window.values[:, window.names.index("loss")].sum())
            self.epoch_count += len(window.steps)
        self.rows, self.steps, self.videos = [], [], []

    def epoch_loss(self) -> float:
        """The mean loss of the epoch's steps, once the last window is taken; a new epoch begins."""
        loss = self.epoch_sum / self.epoch_count if self.epoch_count else math.inf
        self.epoch_sum, self.epoch_count = 0.0, 0
        return loss

    def status(
        self,
        epoch: int,
        step: int,
        values: dict[str, float],
        health: Mapping[str, float],
    ) -> Status:
        """Figures and speed since the last status."""
        now = time.perf_counter()
        spent = max(now - self.since, 1e-9)
        left = (now - self.begun) / max(step - self.first, 1) * (self.total - step)
        speed, waiting = self.clips / spent, self.waited / spent
        self.since, self.clips, self.waited = now, 0, 0.0
        return Status(epoch, step, self.total, speed, waiting, left, values, dict(health))

    def state(self) -> dict[str, Any]:
        """For a checkpoint: what a run that goes on from it must know to log what this one would."""
        return {
            "names": list(self.names),
            "rows": [row.cpu() for row in self.rows],
            "steps": list(self.steps),
            "videos": [list(videos) for videos in self.videos],
            "epoch": [self.epoch_sum, self.epoch_count],
        }

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Takes up a state."""
        self.names = tuple(state["names"])
        self.rows = [row.to(device) for row in state["rows"]]
        self.steps = list(state["steps"])
        self.videos = [tuple(videos) for videos in state["videos"]]
        self.epoch_sum, self.epoch_count = state["epoch"]
