"""All that is gathered about a run while it goes on: figures of its steps, health, warnings, the best epoch."""

import math
from typing import Any

import torch
from torch import Tensor

from kinevec.config import Config
from kinevec.methods.memory import Queue
from kinevec.methods.method import Losses
from kinevec.train.alarms import Alarms, collapsed, signs
from kinevec.train.health import ASKED, Recent, ends, figures, staleness
from kinevec.train.meter import Meter, Status, Window


class Watch:
    """Gathers on the device; waits for it only where a figure is read.

    Args:
        queue: of the method's RGB branch.
        step: from which the run goes on, of `total`.

    Attributes:
        best: "loss" and "step" at the end of the epoch with the lowest mean loss; None before there is one.
    """

    def __init__(self, config: Config, queue: Queue, step: int, total: int) -> None:
        self.config = config
        self.queue = queue
        self.meter = Meter(step, total)
        self.recent = Recent()
        self.alarms = Alarms()
        self.health: dict[str, float] = {}
        self.best: dict[str, Any] | None = None

    def add(self, step: int, losses: Losses, gradient: Tensor, videos: Tensor) -> None:
        """Takes in step number `step`: its losses, the norm of its gradient, and the places of its videos."""
        self.meter.add(step, losses, gradient, videos)
        self.recent.add(losses.embedding, losses.positive)

    def look(self, window: Window, epoch: int, step: int) -> tuple[Status, list[str]]:
        """How the run stands after `step` steps, and what is to be warned of.

        Args:
            window: of the meter, found to be finite; the next one begins.
        """
        self.meter.take(window)
        queries, keys = self.recent.read()
        stale = staleness(queries[:ASKED], *ends(self.queue), self.config.method.temperature)
        self.health = figures(queries, keys) | {"stale": stale}
        status = self.meter.status(epoch, step, window.means(), self.health)
        words = self.alarms.heed(signs(status, self.config, self.meter.fresh))
        return status.with_ailing(self.alarms.ailing), words

    def end_epoch(self, step: int, steps: int) -> None:
        """Judges the epoch of `steps` steps that ended after step `step`: is it the best so far?

        The lowest mean loss counts. An epoch in which a queue still held random vectors does not take part,
        since those are easy to tell from keys; nor does a collapsed encoder, or an epoch of which every batch was left
        out.
        """
        loss = self.meter.epoch_loss()
        if not self.health or not math.isfinite(loss):
            return
        if step - steps < self.meter.fresh or collapsed(self.health, self.config.method.dim):
            return
        if self.best is None or loss < self.best["loss"]:
            self.best = {"loss": loss, "step": step}

    @property
    def best_step(self) -> int | None:
        """The step at the end of the best epoch so far."""
        return None if self.best is None else int(self.best["step"])

    def state(self) -> dict[str, Any]:
        """For a checkpoint: what a run that goes on from it must know to log and judge as this one would."""
        return {
            "meter": self.meter.state(),
            "recent": self.recent.state(),
            "alarms": self.alarms.counts,
            "health": self.health,
            "best": self.best,
        }

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Takes up a state."""
        self.meter.restore(state["meter"], device)
        self.recent.restore(state["recent"], device)
        self.alarms = Alarms(state["alarms"])
        self.health = state["health"]
        self.best = state["best"]
