"""One run in progress: model, optimiser, loader, and the position in it."""

import logging
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from kinevec.config import Config
from kinevec.data.batch import Batch
from kinevec.data.loader import EpochSampler, Samples, make_loader
from kinevec.data.source import fingerprint
from kinevec.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    Interrupted,
    TrainingError,
    UsageError,
)
from kinevec.methods.method import Losses, Method
from kinevec.models.conv import channels_last
from kinevec.models.guard import guard_bf16
from kinevec.runtime import autocast, default_workers, pick_precision, seeded
from kinevec.train.checkpoint import CHECKPOINT, save_checkpoint, save_encoder
from kinevec.train.clips import example_clips, step_seed, to_clips
from kinevec.train.log import RunLog
from kinevec.train.meter import Meter, Status
from kinevec.train.schedule import learning_rate
from kinevec.train.supply import Supply

log = logging.getLogger(__name__)

LOG_EVERY = 10  # steps; loss values leave the device only then
FEW_CLIPS = 200  # no verdict on the share of failing clips before so many were asked for


class Trainer:
    """Trains from a position to the last epoch.

    Args:
        supply: of the clips.
        folder: of the run.

    Attributes:
        facts: what "auto" came to: device, precision, batch.
    """

    def __init__(self, config: Config, supply: Supply, folder: Path, device: torch.device) -> None:
        self.config = config
        self.supply = supply
        self.videos = supply.videos
        self.fingerprint = fingerprint(supply.videos)  # of a million names: once, not at every save
        self.folder = folder
        self.device = device
        self.batch = min(config.train.batch, len(supply.source))
        if self.batch < config.train.batch:
            log.warning("%d videos: the batch is lowered from %d to that", self.batch, config.train.batch)
        workers = config.data.workers
        self.sampler = EpochSampler(len(supply.source), self.batch, config.train.seed)
        self.loader = make_loader(
            Samples(
                supply.source,
                config,
                color_here=_color_in_workers(config, device),
                flows=supply.flows,
                change=supply.change,
            ),
            self.sampler,
            workers=default_workers(device) if workers < 0 else workers,
            pin=device.type == "cuda",
        )
        self.steps_per_epoch = len(self.sampler)
        self.total = config.train.epochs * self.steps_per_epoch
        self.step = 0
        self.failures: Counter[str] = Counter()
        with seeded(config.train.seed):
            self.model = Method(config)
        channels_last(self.model.to(device))
        self.optimizer = _optimizer(config, self.model)
        self.precision = pick_precision(config.train.precision, device)
        if self.precision == "bf16":
            self._guard()
        self.facts = {"device": str(device), "precision": self.precision, "batch": self.batch}

    def run(self, on_status: Callable[[Status], None] | None, stopped: threading.Event) -> None:
        """Trains to the end, or until `stopped` is set; then saves and raises `Interrupted`."""
        journal = RunLog(self.folder, self.step)
        meter = Meter(self.step, self.total)
        try:
            while self.step < self.total:
                epoch = self.step // self.steps_per_epoch
                for batch in self._batches(epoch, meter, stopped):
                    losses, gradient = self.train_step(batch)
                    meter.add(losses, gradient, 2 * len(batch))
                    last = self.step % self.steps_per_epoch == 0
                    if self.step % LOG_EVERY == 0 or last or stopped.is_set():
                        status = meter.status(epoch + 1, self.step)
                        self._check_finite(status.values)
                        journal.write(self.step, status.values | {"lr": self._rate(self.step - 1)})
                        if on_status:
                            on_status(status)
                    if stopped.is_set():
                        self._leave()
                self.save()
                self._report_failures(epoch + 1)
        finally:
            journal.close()

    def train_step(self, batch: Batch) -> tuple[Losses, Tensor]:
        """One step: losses, gradients, optimiser, and last the key side and the queue.

        Returns:
            The losses, and the norm of the gradient before it is clipped, ().
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(self.step)
        clips = to_clips(batch, self.config, self.device, self.step)
        random = seeded(step_seed(self.config, self.step), self.device)  # dropout
        with random, autocast(self.device, self.precision):
            losses: Losses = self.model(clips)
        self.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]
        most = self.config.train.clip_norm or math.inf
        gradient = torch.nn.utils.clip_grad_norm_(self.model.parameters(), most)
        self.optimizer.step()
        self.model.advance(losses, self.step, self.total)
        self.step += 1
        return losses, gradient

    def save(self) -> None:
        """Writes checkpoint and encoder."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "videos": {"count": len(self.videos), "fingerprint": self.fingerprint},
            "failures": dict(self.failures),
            "supply": self.supply.facts,
        }
        save_checkpoint(self.folder, state, self.config)
        save_encoder(self.folder, self.model.encoder, self.config, self.step)

    def restore(self, state: dict[str, Any]) -> None:
        """Takes up the position of a checkpoint.

        Raises:
            CheckpointError: the run was made on other videos.
        """
        before, now = state["videos"]["count"], len(self.videos)
        if (before, state["videos"]["fingerprint"]) != (now, self.fingerprint):
            there = f"now there are {now}" if now != before else "of which some have other names now"
            raise CheckpointError(
                f"{self.folder}: was made on {before} videos, {there}; resume with the same data"
            )
        supply = state.get("supply", {})
        if supply != self.supply.facts:
            raise CheckpointError(
                f"{self.folder}: was made from {_words(supply) or 'an older version'}, now it would read "
                f"{_words(self.supply.facts)}; set data.store and flow.store as they were"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.failures = Counter(state["failures"])

    def _save_finite(self) -> None:
        """Saves between two looks at the losses; NaN must not overwrite the last whole checkpoint."""
        finite = [bool(parameter.isfinite().all()) for parameter in self.model.parameters()]
        self._check_finite({"a weight of the model": 0.0 if all(finite) else math.nan})
        self.save()

    def _leave(self) -> NoReturn:
        self._save_finite()
        raise Interrupted(
            f"stopped at step {self.step} of {self.total}; everything is saved in {self.folder}, "
            "and resuming goes on from here"
        )

    def _batches(self, epoch: int, meter: Meter, stopped: threading.Event) -> Iterator[Batch]:
        self.sampler.epoch = epoch
        self.sampler.skip = self.step - epoch * self.steps_per_epoch
        with self._loader_words(stopped):
            batches = iter(self.loader)
        while True:
            with meter.waiting(), self._loader_words(stopped):
                batch: Batch | None = next(batches, None)
            if batch is None:
                return
            self._count_failures(batch)
            yield batch

    @contextmanager
    def _loader_words(self, stopped: threading.Event) -> Iterator[None]:
        """What goes wrong in a loader process comes out in its own words."""
        try:
            yield
        except (ConfigError, DataError, UsageError) as error:
            # PyTorch wraps the message into the worker's traceback.
            last = str(error).strip().splitlines()[-1]
            raise type(error)(last.partition(f"{type(error).__name__}: ")[2] or last) from error
        except (RuntimeError, OSError, EOFError) as error:  # OSError, EOFError: it died while handing over
            if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                raise
            if stopped.is_set():  # whoever asked us to stop asked them too
                self._leave()
            self._save_finite()
            raise TrainingError(
                f"a loader process died at step {self.step} of {self.total} (out of memory?); everything is "
                f"saved in {self.folder}: lower data.workers and --resume"
            ) from error

    def _rate(self, step: int) -> float:
        warmup = round(self.config.train.warmup_epochs * self.steps_per_epoch)
        return learning_rate(step, self.total, warmup, self.config.train.lr)

    def _guard(self) -> None:
        example = example_clips(self.config, min(4, self.batch), self.device)
        with seeded(self.config.train.seed, self.device):  # dropout must not draw from the caller's generator
            changed = guard_bf16(self.model, example.rgb[0], lambda _: self.model(example))
        for route in sorted(set(changed.values())):
            names = [name for name, other in changed.items() if other == route]
            log.info("bf16 is wrong on this machine for %s: computed %s instead", ", ".join(names), route)

    def _check_finite(self, values: dict[str, float]) -> None:
        wrong = [name for name, value in values.items() if not math.isfinite(value)]
        if wrong:
            saved = (self.folder / CHECKPOINT).exists()
            kept = "the last checkpoint is whole" if saved else "nothing was saved yet"
            raise TrainingError(
                f"{', '.join(wrong)} is not finite by step {self.step} of {self.total}; {kept}. "
                f"Lower train.lr (now {self.config.train.lr}) or set train.precision=fp32"
            )

    def _count_failures(self, batch: Batch) -> None:
        for place, reason in batch.failures:
            name = self.videos.record(place).name
            if name not in self.failures:
                log.warning("%s: %s; another video takes its place", name, reason)
            self.failures[name] += 1
        failed, asked = sum(self.failures.values()), (self.step + 1) * self.batch
        if asked >= FEW_CLIPS and failed > self.config.data.failed_share * asked:
            worst = ", ".join(name for name, _ in self.failures.most_common(5))
            raise DataError(
                f"{failed} of {asked} videos asked for could not be read ({len(self.failures)} files: {worst}, "
                f"…), more than data.failed_share = {self.config.data.failed_share}"
            )

    def _report_failures(self, epoch: int) -> None:
        if self.failures:
            log.warning(
                "after epoch %d: %d clips of %d files were replaced because they could not be read",
                epoch,
                sum(self.failures.values()),
                len(self.failures),
            )


def _words(facts: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _color_in_workers(config: Config, device: torch.device) -> bool:
    where = config.views.color_on
    return where == "worker" or (where == "auto" and device.type == "cpu")


def _optimizer(config: Config, model: Method) -> torch.optim.Optimizer:
    parameters = [p for p in model.parameters() if p.requires_grad]
    train = config.train
    if train.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=train.lr, momentum=0.9, weight_decay=train.weight_decay, fused=True
        )
    return torch.optim.AdamW(parameters, lr=train.lr, weight_decay=train.weight_decay, fused=True)
