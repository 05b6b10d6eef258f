"""One source file to one prepared file: checked to its end, scaled, upright, measured."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kinevec.data.frametable import FrameTable
from kinevec.data.prepare.check import Checked, Stamp, check, content_hash, decode_whole
from kinevec.data.prepare.encode import Encoder
from kinevec.data.prepare.entries import Prepared, Refusal
from kinevec.data.prepare.folder import Folder
from kinevec.data.prepare.plan import LARGEST_SIDE, PrepareConfig, plan_frames, target_size
from kinevec.data.prepare.workers import Stopped
from kinevec.data.reasons import Unusable
from kinevec.errors import OutputError

if TYPE_CHECKING:
    from kinevec.data.prepare.meter import MotionMeter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A source file to be prepared.

    Attributes:
        name: of its record.
        source: where it is.
        known: hash of the content that was prepared under this name before; "": nothing was.
    """

    name: str
    source: Path
    known: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Attributes:
        stamp: of the source before it was read.
        result: None where the content is the one known.
        part: the new file, to be moved to the place that the result names; None: there is none.
    """

    stamp: Stamp
    result: Prepared | Refusal | None
    part: Path | None = None


@dataclass(frozen=True)
class Transcoder:
    """The task of the workers."""

    folder: Folder
    config: PrepareConfig

    def __call__(self, job: Job, stopped: Callable[[], bool]) -> Outcome:
        """Prepares one file.

        Raises:
            OutputError: the folder cannot be written.
            Stopped: `stopped` became true.
        """
        stamp = Stamp(0, 0)
        try:
            stamp = Stamp.of(job.source)
            outcome = self._prepare(job, stamp, stopped)
            if Stamp.of(job.source) != stamp:
                self._drop(outcome.part)
                reason = "changed while it was read: run this again when it is finished"
                return Outcome(stamp, Refusal("unreadable", reason))
            return outcome
        except Unusable as error:
            return Outcome(stamp, Refusal(error.kind, error.reason))
        except (OutputError, Stopped):
            raise
        except Exception as error:  # one odd file among a million must not stop the rest
            log.debug("%s", job.source, exc_info=True)
            return Outcome(stamp, Refusal("failed", f"{type(error).__name__}: {error}"))

    def _prepare(self, job: Job, stamp: Stamp, stopped: Callable[[], bool]) -> Outcome:
        digest = content_hash(job.source)
        if digest == job.known:
            return Outcome(stamp, None)
        checked = check(job.source)
        if self.config.store == "none":
            return Outcome(stamp, self._index(checked, digest, stopped))
        file = self.folder.place_for(job.name, digest)
        part = self.folder.parts / Path(file).name
        try:
            return Outcome(stamp, self._transcode(checked, digest, file, part, stopped), part)
        except BaseException:
            self._drop(part)
            raise

    def _transcode(
        self, checked: Checked, digest: str, file: str, part: Path, stopped: Callable[[], bool]
    ) -> Prepared:
        plan = plan_frames(checked, self.config.fps)
        size = target_size(checked.info, self.config.short_side)
        meter = self._meter()
        with Encoder(part, size, plan, self.config) as encoder:
            for number, frame in enumerate(decode_whole(checked, size)):
                for _ in range(plan.copies[number]):
                    encoder.add(frame)
                    if meter:
                        meter.add(frame)
                if stopped():
                    raise Stopped
        table, written = encoder.finish()
        energy, change = meter.finish() if meter else (None, None)
        return Prepared(file, written, digest, table, energy, change)

    def _index(self, checked: Checked, digest: str, stopped: Callable[[], bool]) -> Prepared:
        meter = self._meter()
        for frame in decode_whole(checked, target_size(checked.info, LARGEST_SIDE)):
            if meter:
                meter.add(frame)
            if stopped():
                raise Stopped
        energy, change = meter.finish() if meter else (None, None)
        table = FrameTable.of(checked.info, checked.time_base)
        return Prepared("", checked.size, digest, table, energy, change)

    def _meter(self) -> "MotionMeter | None":
        if self.config.motion == "none":
            return None
        from kinevec.data.prepare.meter import MotionMeter  # loads torch

        return MotionMeter(self.config.motion)

    def _drop(self, part: Path | None) -> None:
        if part:
            part.unlink(missing_ok=True)
