"""The training loop: from a configuration and a collection of videos to a trained encoder in a folder."""

import json
import logging
import math
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from kinevec.config import Config, to_toml
from kinevec.data.loader import Batch, make_loader
from kinevec.data.sampling import is_short
from kinevec.data.source import Collection, FileSource, FrameStore, Progress, Source, write_rejected
from kinevec.errors import DataError, Interrupted, OutputError, TrainingError
from kinevec.methods.moco import Losses, Moco
from kinevec.models import find_encoder
from kinevec.models.conv import channels_last
from kinevec.runtime import (
    Precision,
    autocast,
    default_workers,
    guard_bf16,
    pick_device,
    pick_precision,
    provenance,
    seeded,
)
from kinevec.train.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint, save_encoder, write_text
from kinevec.train.log import RunLog
from kinevec.train.schedule import learning_rate
from kinevec.views.pipeline import finish_batch

log = logging.getLogger(__name__)

LOG_EVERY = 10  # steps; loss values leave the device only then
FEW_CLIPS = 200  # no verdict on the share of failing clips before so many were asked for


@dataclass(frozen=True)
class Status:
    """Where a run stands; what a progress bar shows."""

    epoch: int
    step: int
    total: int
    clips_per_second: float
    waiting: float  # share of the time spent waiting for the loader
    seconds_left: float
    values: dict[str, float]  # loss terms and health figures


def pretrain(
    config: Config,
    collection: Collection,
    folder: Path,
    *,
    resume: bool = False,
    on_status: Callable[[Status], None] | None = None,
    on_decode: Progress | None = None,
) -> Path:
    """Trains an encoder without labels; the folder then holds all that says how it was made.

    Args:
        config: see `kinevec.config.load`.
        collection: videos, from `kinevec.data.open_videos`.
        folder: of the run; must not hold another run unless `resume`.
        resume: go on from the folder's checkpoint; losses are then those of a run never stopped.
        on_status: called every few steps.
        on_decode: called while videos are decoded into a frame store.

    Returns:
        The folder, with `encoder.safetensors`, `checkpoint.pt`, `config.toml`, `run.json`, `log.jsonl`,
        `rejected.csv` and TensorBoard files.

    Raises:
        OutputError: the folder cannot be written, or holds a run.
        DataError: too few videos, or too many that fail.
        TrainingError: the loss is not finite.
        Interrupted: SIGINT or SIGTERM; the checkpoint is written.
    """
    if len(collection) < 2:
        raise DataError(f"pretraining tells videos apart and needs at least 2; found {len(collection)}")
    device = pick_device(config.train.device)
    find_encoder(config.model.name)  # a wrong name is refused before anything is written or decoded
    _claim(folder, resume)
    cache = folder / "frames.raw"
    try:
        source, collection = _open_source(config, collection, cache, on_decode)
        trainer = Trainer(config, source, collection, folder, device)
        if resume:
            trainer.restore()
        _describe(folder, config, collection)
        with _stop_requests() as stopped:
            trainer.run(on_status, stopped)
    finally:
        cache.unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()  # only where it is still empty, because the work failed before it began
    return folder


class Trainer:
    """One run: its model, optimiser, loader and position."""

    def __init__(
        self, config: Config, source: Source, collection: Collection, folder: Path, device: torch.device
    ) -> None:
        self.config = config
        self.collection = collection
        self.folder = folder
        self.device = device
        self.batch = min(config.train.batch, len(source))
        if self.batch < config.train.batch:
            log.warning("%d videos: the batch is lowered from %d to that", self.batch, config.train.batch)
        workers = config.data.workers
        self.color_here = _color_in_workers(config, device)
        self.loader, self.sampler = make_loader(
            source,
            config,
            batch=self.batch,
            workers=default_workers(device) if workers < 0 else workers,
            color_here=self.color_here,
            pin=device.type == "cuda",
        )
        self.steps_per_epoch = len(self.sampler)
        self.total = config.train.epochs * self.steps_per_epoch
        self.step = 0
        self.failures: Counter[str] = Counter()
        with seeded(config.train.seed):
            self.model = Moco(config)
        channels_last(self.model.to(device))
        self.optimizer = _optimizer(config, self.model)
        self.precision: Precision = pick_precision(config.train.precision, device)
        if self.precision == "bf16":
            self._guard()

    def run(self, on_status: Callable[[Status], None] | None, stopped: threading.Event) -> None:
        """Trains from the present position to the last epoch."""
        journal = RunLog(self.folder, self.step)
        meter = _Meter(self.step, self.total)
        try:
            while self.step < self.total:
                epoch = self.step // self.steps_per_epoch
                for batch in self._batches(epoch, meter):
                    losses = self.train_step(batch)
                    meter.add(losses, 2 * len(batch))
                    last = self.step % self.steps_per_epoch == 0
                    if self.step % LOG_EVERY == 0 or last or stopped.is_set():
                        status = meter.status(epoch + 1, self.step)
                        self._check_finite(status.values)
                        journal.write(self.step, status.values | {"lr": self._rate(self.step - 1)})
                        if on_status:
                            on_status(status)
                    if stopped.is_set():
                        self.save()
                        raise Interrupted(
                            f"stopped at step {self.step} of {self.total}; everything is saved in {self.folder}, "
                            "--resume goes on from here"
                        )
                self.save()
                self._report_failures(epoch + 1)
        finally:
            journal.close()

    def train_step(self, batch: Batch) -> Losses:
        """One step: losses, gradients, optimiser, and last the key side and the queue."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(self.step)
        first, second = (self._finish(batch, view) for view in range(2))
        with autocast(self.device, self.precision):
            losses: Losses = self.model(first, second)
        self.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]
        if self.config.train.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.train.clip_norm)
        self.optimizer.step()
        self.model.advance(losses.keys, self.step, self.total)
        self.step += 1
        return losses

    def save(self) -> None:
        """Writes checkpoint and encoder."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "videos": len(self.collection),
            "failures": dict(self.failures),
        }
        save_checkpoint(self.folder, state, self.config)
        save_encoder(self.folder, self.model.encoder, self.config, self.step)

    def restore(self) -> None:
        """Takes up the position of the folder's checkpoint."""
        state = load_checkpoint(self.folder, self.config)
        if state["videos"] != len(self.collection):
            raise DataError(
                f"the run was made on {state['videos']} videos, now there are {len(self.collection)}; "
                "resume with the same data"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.failures = Counter(state["failures"])

    def _batches(self, epoch: int, meter: "_Meter") -> Iterator[Batch]:
        self.sampler.epoch = epoch
        self.sampler.skip = self.step - epoch * self.steps_per_epoch
        batches = iter(self.loader)
        while True:
            with meter.waiting():
                batch = next(batches, None)
            if batch is None:
                return
            self._count_failures(batch)
            yield batch

    def _finish(self, batch: Batch, view: int) -> Tensor:
        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[view].to(self.device, non_blocking=True)

        clips = batch.clips[view].to(self.device, non_blocking=True)
        return finish_batch(clips, self.config.views, moved(batch.matrix), moved(batch.sigma))

    def _rate(self, step: int) -> float:
        warmup = round(self.config.train.warmup_epochs * self.steps_per_epoch)
        return learning_rate(step, self.total, warmup, self.config.train.lr)

    def _guard(self) -> None:
        clip = self.config.clip
        shape = (min(4, self.batch), 3, clip.frames, clip.size, clip.size)
        changed = guard_bf16(self.model.encoder, torch.zeros(shape, device=self.device))
        guard_bf16(self.model.key_encoder, torch.zeros(shape, device=self.device))
        for route in sorted(set(changed.values())):
            names = [name for name, other in changed.items() if other == route]
            log.info("bf16 is wrong on this machine for %s: computed %s instead", ", ".join(names), route)

    def _check_finite(self, values: dict[str, float]) -> None:
        wrong = [name for name, value in values.items() if not math.isfinite(value)]
        if wrong:
            kept = (
                "the last checkpoint is whole"
                if (self.folder / CHECKPOINT).exists()
                else "nothing was saved yet"
            )
            raise TrainingError(
                f"{', '.join(wrong)} is not finite by step {self.step} of {self.total}; {kept}. "
                f"Lower train.lr (now {self.config.train.lr}) or set train.precision=fp32"
            )

    def _count_failures(self, batch: Batch) -> None:
        for place, reason in batch.failures:
            name = self.collection.records[place].name
            if name not in self.failures:
                log.warning("%s: %s; another video takes its place", name, reason)
            self.failures[name] += 1
        failed, asked = sum(self.failures.values()), (self.step + 1) * self.batch
        if asked >= FEW_CLIPS and failed > self.config.data.failed_share * asked:
            worst = ", ".join(name for name, _ in self.failures.most_common(5))
            raise DataError(
                f"{failed} of {asked} videos asked for could not be read ({len(self.failures)} files: {worst}, …), "
                f"more than data.failed_share = {self.config.data.failed_share}"
            )

    def _report_failures(self, epoch: int) -> None:
        if self.failures:
            log.warning(
                "after epoch %d: %d clips of %d files were replaced because they could not be read",
                epoch,
                sum(self.failures.values()),
                len(self.failures),
            )


class _Meter:
    """Sums what a step yields without waiting for the device; says where the run stands."""

    def __init__(self, step: int, total: int) -> None:
        self.total = total
        self.sums: dict[str, Tensor] = {}
        self.count = 0
        self.clips = 0
        self.waited = 0.0
        self.since = self.begun = time.perf_counter()
        self.first = step

    @contextmanager
    def waiting(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.waited += time.perf_counter() - start

    def add(self, losses: Losses, clips: int) -> None:
        values = {name: term.detach() for name, term in losses.terms.items()}
        values["loss"] = losses.total.detach()
        # 1: queries spread over the sphere; 0: all queries are one point, the encoder has collapsed
        values["spread"] = losses.embedding.std(0).mean() * math.sqrt(losses.embedding.shape[1])
        for name, value in values.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.count += 1
        self.clips += clips

    def status(self, epoch: int, step: int) -> Status:
        """Means since the last call."""
        values = {name: float(value) / self.count for name, value in self.sums.items()}
        now = time.perf_counter()
        spent = now - self.since
        left = (now - self.begun) / (step - self.first) * (self.total - step)
        status = Status(epoch, step, self.total, self.clips / spent, self.waited / spent, left, values)
        self.sums, self.count, self.clips, self.waited, self.since = {}, 0, 0, 0.0, now
        return status


def _claim(folder: Path, resume: bool) -> None:
    """Makes the run's folder and checks that it can be written."""
    if not resume and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(
            f"{folder}: exists and is not empty; pass --resume to go on with it, or choose another"
        )
    if resume and not (folder / CHECKPOINT).is_file():
        raise OutputError(f"{folder}: nothing to resume: there is no {CHECKPOINT}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error


def _describe(folder: Path, config: Config, collection: Collection) -> None:
    short = sum(is_short(info.frames, config.clip) for info in collection.infos)
    if short:
        log.warning(
            "%d of %d videos are shorter than a clip (%d frames: %d at stride %d) and are looped",
            short,
            len(collection),
            config.clip.span,
            config.clip.frames,
            config.clip.stride,
        )
    facts: dict[str, Any] = {
        "videos": len(collection),
        "looped": short,
        "rejected": len(collection.rejected),
        "seed": config.train.seed,
    }
    write_text(folder / "config.toml", to_toml(config))
    write_text(folder / "run.json", json.dumps(provenance(**facts), indent=2) + "\n")
    write_rejected(collection.rejected, folder / "rejected.csv")


def _open_source(
    config: Config, collection: Collection, cache: Path, on_decode: Progress | None
) -> tuple[Source, Collection]:
    """Decodes everything once where that is asked for or fits; else clips come from the files."""
    short_side = math.ceil(config.clip.size / math.sqrt(config.views.area[0]))
    _, size = FrameStore.plan(collection.infos, short_side)
    fits = size <= config.data.store_limit_gb * 1e9
    if config.data.store == "frames" or (config.data.store == "auto" and fits):
        return FrameStore.build(collection, cache, short_side, on_decode)
    return FileSource(collection), collection


def _color_in_workers(config: Config, device: torch.device) -> bool:
    where = config.views.color_on
    return where == "worker" or (where == "auto" and device.type == "cpu")


def _optimizer(config: Config, model: Moco) -> torch.optim.Optimizer:
    parameters = [p for p in model.parameters() if p.requires_grad]
    train = config.train
    if train.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=train.lr, momentum=0.9, weight_decay=train.weight_decay, fused=True
        )
    return torch.optim.AdamW(parameters, lr=train.lr, weight_decay=train.weight_decay, fused=True)


@contextmanager
def _stop_requests() -> Iterator[threading.Event]:
    """While open, SIGINT and SIGTERM only set the event; a second SIGINT stops at once."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if stopped.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stopped.set()

    kept = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
