"""The batches of this rank, in steps that all ranks take together, and what can go wrong with their loader."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from kinevec import ranks
from kinevec.config import Config
from kinevec.data.batch import Batch
from kinevec.data.loader import EpochSampler, Samples, make_loader
from kinevec.errors import ConfigError, DataError, KinevecError, UsageError
from kinevec.runtime import default_workers
from kinevec.train.failures import Failures
from kinevec.train.meter import Meter
from kinevec.train.supply import Supply

# What a rank says before a step.
GO = 0
LAST = 1  # it was asked to stop
LEAVE = 2  # likewise, and its loader was stopped too
DIED = 3  # a loader process of its own died
FAILED = 4


class LoaderStoppedError(Exception):
    """A rank was asked to stop, and its loader with it: there is no batch for another step."""


class LoaderDiedError(Exception):
    """A loader process of some rank died."""


class Feed:
    """The loader of a run.

    No rank begins a step before all have their batch and have said whether they were asked to stop. So all of them
    stop after the same step, and none waits in the middle of one for another that has nothing to compute. That costs
    one message of 16 bytes between processors, and no wait for a GPU; a process that is alone sends none.

    Args:
        batch: videos per step, of all ranks together.

    Attributes:
        failures: of this rank's clips.
    """

    def __init__(self, config: Config, supply: Supply, device: torch.device, batch: int) -> None:
        self.failures = Failures(supply.videos, config.data.failed_share)
        mine = batch // ranks.world()
        self.sampler = EpochSampler(
            len(supply.source), mine, config.train.seed, rank=ranks.rank(), world=ranks.world()
        )
        automatic = max(1, default_workers(device) // ranks.neighbours())
        self.loader = make_loader(
            Samples(
                supply.source,
                config,
                color_here=_color_in_workers(config, device),
                flows=supply.flows,
                change=supply.change,
            ),
            self.sampler,
            workers=automatic if config.data.workers < 0 else config.data.workers,
            pin=device.type == "cuda",
        )
        self.said = GO

    def __len__(self) -> int:
        """Steps in an epoch."""
        return len(self.sampler)

    def batches(self, epoch: int, first: int, stopped: threading.Event, meter: Meter) -> Iterator[Batch]:
        """This rank's batches of an epoch, from step `first` of it; all ranks have to ask for them.

        Args:
            stopped: set where this rank was asked to stop.
            meter: is told of the time spent waiting.

        Raises:
            LoaderStoppedError, LoaderDiedError: on all ranks before the same step.
            DataError, ConfigError, UsageError: of a loader process, or too many videos cannot be read.
            TrainingError: one of these on another rank.
        """
        self.sampler.epoch, self.sampler.skip = epoch, first
        batches: Iterator[Batch] | None = None
        while True:
            batch: Batch | None = None
            wrong: Exception | None = None
            with meter.waiting():
                try:
                    with _own_words():
                        batches = iter(self.loader) if batches is None else batches
                        batch = next(batches, None)
                    if batch is not None:
                        first += 1
                        self.failures.add(batch)
                except KinevecError as error:
                    wrong = error
                except (RuntimeError, OSError, EOFError) as error:  # the last two: it died while handing over
                    if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                        raise
                    wrong = error
                failed = self._agree(wrong, stopped)
            self.failures.judge(failed, (epoch * len(self) + first) * self.sampler.batch * ranks.world())
            if batch is None:
                return
            yield batch

    def ends(self, stopped: threading.Event) -> bool:
        """Whether the ranks agreed that the step just made is the last one before they stop."""
        return stopped.is_set() if ranks.world() == 1 else self.said == LAST

    def close(self) -> None:
        """Ends the loader processes now, not whenever the garbage collector finds that nobody asks them any more."""
        batches, self.loader._iterator = self.loader._iterator, None
        if batches is not None:
            batches._shutdown_workers()  # type: ignore[attr-defined]  # there is no public way

    def _agree(self, wrong: Exception | None, stopped: threading.Event) -> int:
        """Whether all ranks go on; the number of clips that were replaced on all of them so far."""
        word = LAST if stopped.is_set() else GO
        if wrong is not None:  # whoever asked us to stop asked the loader processes too
            word = FAILED if isinstance(wrong, KinevecError) else LEAVE if stopped.is_set() else DIED
        told = ranks.exchange([word, self.failures.counts.total()])
        words = [said for said, _ in told]
        self.said = max(words)
        if wrong is not None and word == FAILED:
            raise wrong
        ranks.refuse_failed([said == FAILED for said in words])
        if self.said == DIED:
            raise LoaderDiedError from wrong
        if self.said == LEAVE:
            raise LoaderStoppedError from wrong
        return sum(failed for _, failed in told)


@contextmanager
def _own_words() -> Iterator[None]:
    """What goes wrong in a loader process comes out in its own words, without the traceback PyTorch wraps it into."""
    try:
        yield
    except (ConfigError, DataError, UsageError) as error:
        last = str(error).strip().splitlines()[-1]
        raise type(error)(last.partition(f"{type(error).__name__}: ")[2] or last) from error


def _color_in_workers(config: Config, device: torch.device) -> bool:
    where = config.views.color_on
    return where == "worker" or (where == "auto" and device.type == "cpu")
