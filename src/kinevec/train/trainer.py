"""One run in progress: model, optimiser, loader, and the position in it."""

import logging
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from kinevec import ranks
from kinevec.config import Config
from kinevec.data.batch import Batch
from kinevec.errors import Interrupted, TrainingError
from kinevec.methods.method import Losses, Method, joint
from kinevec.models.conv import channels_last
from kinevec.models.encoder import compile_encoders
from kinevec.runtime import autocast, seeded
from kinevec.train.checkpoint import has_checkpoint, load_checkpoint
from kinevec.train.clips import step_seed, to_clips
from kinevec.train.compute import agreed_precision, guard, learnt, make_optimizer
from kinevec.train.feed import Feed, LoaderDiedError, LoaderStoppedError
from kinevec.train.finite import NotFinite, check_skip, check_weights, describe
from kinevec.train.gradients import GradientMean
from kinevec.train.heap import keep_freed_memory
from kinevec.train.keeper import Keeper
from kinevec.train.log import RunLog
from kinevec.train.meter import Fault, Status, Window
from kinevec.train.parts import count_parts, cut, videos_per_step
from kinevec.train.resume import check_entries, check_fits, check_supply, check_videos, known_of, say_how
from kinevec.train.schedule import learning_rate
from kinevec.train.supply import Supply
from kinevec.train.watch import Watch

log = logging.getLogger(__name__)

LOG_EVERY = 10  # steps; loss values leave the device only then


class Trainer:
    """Trains from a position to the last epoch; under several ranks, all of them call the same in the same order.

    Args:
        supply: of the clips.
        folder: of the run.

    Attributes:
        facts: what "auto" came to: device, ranks, precision, batch.
    """

    def __init__(self, config: Config, supply: Supply, folder: Path, device: torch.device) -> None:
        self.config = config
        self.supply = supply
        self.videos = supply.videos
        self.videos_known = known_of(supply.videos)  # of a million names: once, not at every save
        self.folder = folder
        self.device = device
        self.batch = videos_per_step(config, len(supply.source))
        if self.batch < config.train.batch:
            now = "that" if self.batch == len(supply.source) else self.batch
            lowered = "%d videos: the batch is lowered from %d to %s"
            log.warning(lowered, len(supply.source), config.train.batch, now)
        self.feed = Feed(config, supply, device, self.batch)
        self.steps_per_epoch = len(self.feed)
        self.total = config.train.epochs * self.steps_per_epoch
        self.step = 0
        self.keeper = Keeper(folder, config)
        self.skipped: set[int] = set()  # steps whose batches are left out
        with seeded(config.train.seed):
            self.model = Method(config)
        channels_last(self.model.to(device))
        self.optimizer = make_optimizer(config, self.model)
        self.gradients = GradientMean(learnt(self.model)) if ranks.world() > 1 else None
        self.precision = agreed_precision(config, device)
        if self.precision == "bf16":
            guard(config, self.model, self.batch, device)
        if config.train.compile:
            compile_encoders(self.model, device)
        if device.type == "cpu":
            keep_freed_memory()
        else:
            torch.backends.cudnn.benchmark = (
                True  # shapes never change: the fastest convolutions are looked for once
            )
        self.watch = Watch(config, self.model.rgb.queue, self.step, self.total)
        self.facts = {
            "device": str(device) if ranks.world() == 1 else device.type,  # each rank has another one
            "ranks": ranks.world(),
            "precision": self.precision,
            "batch": self.batch,
            "steps": self.total,
        }

    def run(self, on_status: Callable[[Status], None] | None, stopped: threading.Event) -> None:
        """Trains to the end, or until `stopped` is set; then saves and raises `Interrupted`."""
        ranks.training_begins()
        if self.config.train.on_nan == "skip" and not ranks.shared(lambda: has_checkpoint(self.folder)):
            self.save()  # something to go back to
        journal = RunLog(self.folder, self.step, self.config) if ranks.first() else None
        try:
            while self.step < self.total:
                try:
                    with self._loader_words():
                        self._epoch(journal, on_status, stopped)
                except NotFinite as found:
                    self._leave_out(found.fault)
                    if journal:
                        journal.rewind(self.step)
        finally:
            self.feed.close()
            if journal:
                journal.close()

    def _epoch(
        self, journal: RunLog | None, on_status: Callable[[Status], None] | None, stopped: threading.Event
    ) -> None:
        """Trains to the end of the epoch, which is saved."""
        epoch, every = self.step // self.steps_per_epoch, self.config.train.save_every
        first = self.step - epoch * self.steps_per_epoch
        for batch in self.feed.batches(epoch, first, stopped, self.watch.meter):
            if self.step in self.skipped:
                self.step += 1
            else:
                losses, gradient = self.train_step(batch)
                self.watch.add(self.step - 1, losses, gradient, batch.index)
            last = self.step % self.steps_per_epoch == 0
            if self.step % LOG_EVERY == 0 or last:
                self._look(epoch + 1, journal, on_status)
            if last:
                self.watch.end_epoch(self.step, self.steps_per_epoch)
            if self.feed.ends(stopped):
                self._leave()
            if last or (every and self.step % every == 0):
                self.save()
        self.feed.failures.report(epoch + 1)

    def _look(self, epoch: int, journal: RunLog | None, on_status: Callable[[Status], None] | None) -> None:
        """Waits for the device, and says and notes how the run stands."""
        window = self._sound_window()
        if not window.steps:  # all were left out
            return
        status, words = self.watch.look(window, epoch, self.step)
        for sentence in words:
            log.warning("step %d: %s", self.step, sentence)
        if journal:
            journal.write(self.step, status.figures | {"lr": self._rate(self.step - 1)}, words)
        if on_status:
            on_status(status)

    def train_step(self, batch: Batch) -> tuple[Losses, Tensor]:
        """One step: losses, gradients, optimiser, and last the key side and the queue.

        The parts of a batch (`train.accumulate`) see the same weights, key side and queue: with parts on other ranks
        they make up one step, whose gradient is the mean of theirs.

        Returns:
            This rank's losses, and the norm of the gradient before it is clipped, ().
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        passes = self.config.train.accumulate
        parts = cut(batch, passes) if passes > 1 else [batch]
        losses = joint([self._learn(part, number, passes) for number, part in enumerate(parts)])
        most = self.config.train.clip_norm or math.inf
        gradient = torch.nn.utils.clip_grad_norm_(self.model.parameters(), most)
        self.optimizer.step()
        self.model.advance(losses, self.step, self.total)
        self.step += 1
        return losses, gradient

    def _learn(self, part: Batch, number: int, passes: int) -> Losses:
        """Losses and gradients of a part of the step, pass `number` of so many on this rank."""
        place = ranks.rank() * passes + number
        clips = to_clips(part, self.config, self.device, self.step, place, count_parts(self.config))
        random = seeded(step_seed(self.config, self.step, place), self.device)  # dropout
        with random, autocast(self.device, self.precision):
            losses: Losses = self.model(clips)
        averaged = self.gradients if number == passes - 1 else None
        if averaged:
            averaged.begin()
        (losses.total / passes if passes > 1 else losses.total).backward()  # type: ignore[no-untyped-call]
        if averaged:
            averaged.finish()
        return losses

    def save(self) -> None:
        """Writes checkpoint and encoder; NaN must not overwrite the last whole one. All ranks wait for the first.

        Raises:
            NotFinite: a figure or a weight is not finite.
            OutputError: they cannot be written; what was there before is whole.
        """
        window = self._sound_window()
        if ranks.world() > 1:  # a run that goes on from here knows only what the first rank saves
            self.watch.meter.rows = list(torch.tensor(window.values, device=self.device))
        check_weights(self.model, self.step - 1, self.watch.meter.last)
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "videos": self.videos_known,
            "failures": dict(self.feed.failures.of_all()),
            "supply": self.supply.facts,
            "facts": self.facts,
            "watch": self.watch.state(),
            "skipped": sorted(self.skipped),
        }
        with ranks.together():
            if ranks.first():
                self.keeper.save(state, self.model.encoder, self.watch.best_step)

    def restore(self, state: dict[str, Any]) -> None:
        """Takes up the position of a checkpoint.

        Raises:
            CheckpointError: the run was made on other videos, from another store, of another architecture, or by a
                version that kept less.
        """
        check_entries(self.folder, state)
        check_videos(self.folder, state["videos"], self.videos_known)
        check_supply(self.folder, state["supply"], self.supply.facts)
        check_fits(self.folder, self.model, state["model"])
        say_how(state, self.facts)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.feed.failures.restore(state["failures"])
        self.skipped |= set(state["skipped"])
        self.watch = Watch(self.config, self.model.rgb.queue, self.step, self.total)
        self.watch.restore(state["watch"], self.device)
        if ranks.first():
            self.keeper.take_up(state, self.model.encoder, self.watch.best_step)

    def _sound_window(self) -> Window:
        """The figures of the steps since the last look.

        Raises:
            NotFinite: one of them is not finite.
        """
        window = self.watch.meter.window()
        fault = window.fault()
        if fault is not None:
            raise NotFinite(fault)
        return window

    def _leave_out(self, fault: Fault) -> None:
        """Goes back to the last checkpoint, from where the run goes on without the batch of a fault.

        Raises:
            TrainingError: that is not asked for, or has been done too often; names step, figures and videos.
        """
        names = [self.videos.record(place).name for place in fault.videos]
        words = describe(self.folder, fault, names, self.total)
        train, saved = self.config.train, has_checkpoint(self.folder)
        check_skip(words, train, saved=saved, skipped=len(self.skipped))
        self.skipped.add(fault.step)
        self.restore(load_checkpoint(self.folder, self.config))
        log.warning("%s: back to step %d, and on without that batch", words, self.step)

    def _leave(self) -> NoReturn:
        self.save()
        raise Interrupted(
            f"stopped at step {self.step} of {self.total}; everything is saved in {self.folder}, "
            "and resuming goes on from here"
        )

    @contextmanager
    def _loader_words(self) -> Iterator[None]:
        """Leaves, with everything saved, where a loader has no more to give."""
        try:
            yield
        except LoaderStoppedError:
            self._leave()
        except LoaderDiedError as error:
            self.save()
            raise TrainingError(
                f"a loader process died at step {self.step} of {self.total} (out of memory?); everything is "
                f"saved in {self.folder}: lower data.workers and --resume"
            ) from error

    def _rate(self, step: int) -> float:
        warmup = round(self.config.train.warmup_epochs * self.steps_per_epoch)
        return learning_rate(step, self.total, warmup, self.config.train.lr)
