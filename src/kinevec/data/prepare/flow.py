"""The optical flow of prepared videos, computed once and cached, whatever interrupts it."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from kinevec import config
from kinevec.data.decode import Clip
from kinevec.data.lock import alone
from kinevec.data.manifest import Manifest, read_manifest
from kinevec.data.prepare.workers import Died, Stopped, run_jobs
from kinevec.data.records import some
from kinevec.data.source import FileSource, Progress, Rejected
from kinevec.data.whole import writing
from kinevec.errors import DataError, Interrupted, OutputError, UsageError, VideoError, WorkError
from kinevec.motion.cache import (
    SUFFIX,
    cache_folder,
    entry_names,
    entry_path,
    stored,
    write_entry,
    write_rejected,
)
from kinevec.motion.cache_settings import Settings
from kinevec.runtime import stop_requests

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FlowSummary:
    """What `build_cache` did and found.

    Attributes:
        folder: of the cached flow.
        videos: whose flow is cached.
        new: computed by this run; copies of a video count once.
        size: bytes of all cached flow of these videos.
        seconds: of all these videos.
        rejected: videos whose flow could not be computed, and why.
    """

    folder: Path
    videos: int
    new: int
    size: int
    seconds: float
    rejected: tuple[Rejected, ...]

    def lines(self) -> list[str]:
        """The summary in words."""
        hourly = (
            f", {self.size / 1e9 / (self.seconds / 3600):,.1f} GB an hour of video" if self.seconds else ""
        )
        lines = [
            f"the flow of {self.videos:,} videos is cached ({self.new:,} new) in {self.folder}: "
            f"{self.size / 1e6:,.1f} MB{hourly}"
        ]
        if self.rejected:
            names = some([item.name for item in self.rejected])
            lines.append(
                f"{len(self.rejected):,} videos cannot be read (see {self.folder / 'rejected.csv'}): {names}"
            )
        return lines


def build_cache(
    folder: Path,
    flow: config.Flow,
    *,
    workers: int = 1,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> FlowSummary:
    """Computes the flow of all videos of a prepared folder; goes on where an earlier run ended.

    What is there is not computed again. Videos that could not be read are tried again in every run.

    Args:
        folder: that `prepare` made; the flow goes to `flow/` in it, see `kinevec.motion.cache`.
        flow: method, gap and short side.
        workers: processes of some 0.4 GB; they are spawned, so a script needs the usual
            `if __name__ == "__main__"`. 0: this process.
        progress: called with (videos done, videos in all), copies counted once.
        stop: set it to stop early; without it, SIGINT and SIGTERM do, if this is the main thread.

    Raises:
        InputError: the folder was not prepared.
        OutputError: another process is at work in it, or it cannot be written (disk full?).
        DataError: the flow of not one video can be computed.
        Interrupted: it was stopped. What is finished is safe.
        WorkError: a worker died; names its file. What is finished is safe.
        ValueError: fewer than no workers.
    """
    if workers < 0:
        raise ValueError(f"workers is {workers}; it must be at least 0")
    manifest = read_manifest(folder)
    settings = Settings.of(flow)
    root = cache_folder(folder, settings)
    with nullcontext(stop) if stop else stop_requests() as asked, _claimed(root):
        settings.write(root)
        entries, there = list(entry_names(manifest)), stored(root)
        places = {entry: index for index, entry in enumerate(entries)}  # copies have one entry
        sizes = manifest.numbers("size")
        jobs = [
            _Job(index, entry, int(sizes[index])) for entry, index in places.items() if entry not in there
        ]
        run = _Run(manifest, root, len(places), len(places) - len(jobs))
        run.work(_Compute(manifest, root, flow), jobs, workers, progress, asked)
        return run.conclude(entries, new=len(jobs) - len(run.rejected))


@dataclass(frozen=True)
class _Job:
    index: int
    entry: str
    size: int  # bytes of the prepared file, as it was prepared


@dataclass(frozen=True)
class _Compute:
    """The task of the workers; returns why a video has no flow, or None."""

    manifest: Manifest
    root: Path
    flow: config.Flow

    def __call__(self, job: _Job, stopped: Callable[[], bool]) -> str | None:
        path, video = entry_path(self.root, job.entry), self.manifest.info(job.index).path
        try:
            if video.stat().st_size != job.size:
                return "was changed since it was prepared: run kinevec prepare again"
            write_entry(path, _Stoppable(self.manifest, stopped), job.index, self.flow)
        except VideoError as error:
            return error.reason
        except (UsageError, Stopped):
            raise
        except Exception as error:  # one odd video among a million must not stop the rest
            log.debug("%s", path, exc_info=True)
            return f"{type(error).__name__}: {error}"
        return None


class _Stoppable(FileSource):
    """Videos that stop being read on request, also in the middle of one."""

    def __init__(self, manifest: Manifest, stopped: Callable[[], bool]) -> None:
        super().__init__(manifest)
        self.stopped = stopped

    def read(self, index: int, numbers: Sequence[int]) -> Clip:
        if self.stopped():
            raise Stopped
        return super().read(index, numbers)


class _Run:
    """One run over all videos that have no flow yet."""

    def __init__(self, manifest: Manifest, root: Path, total: int, done: int) -> None:
        self.manifest = manifest
        self.root = root
        self.total = total
        self.done = done
        self.rejected: dict[str, Rejected] = {}  # entry → video

    def work(
        self,
        task: _Compute,
        jobs: Sequence[_Job],
        workers: int,
        progress: Progress | None,
        stop: threading.Event,
    ) -> None:
        if progress:
            progress(self.done, self.total)
        for shard in {job.entry[:2] for job in jobs}:
            with writing(self.root):
                (self.root / shard).mkdir(exist_ok=True)
        try:
            with closing(run_jobs(task, jobs, workers, stop)) as results:
                for job, reason in results:
                    self._take(job, reason)
                    self.done += 1
                    if progress:
                        progress(self.done, self.total)
        except OutputError as error:
            raise OutputError(f"{error}; {self._safe()}, or lower the short side") from error
        if self.done < self.total:
            raise Interrupted(f"stopped: {self._safe()}")

    def conclude(self, entries: Sequence[str], *, new: int) -> FlowSummary:
        """Writes `rejected.csv` and sums up."""
        write_rejected(self.root, [(entry, item.name, item.reason) for entry, item in self.rejected.items()])
        if len(self.rejected) == self.total:
            first = next(iter(self.rejected.values()))
            raise DataError(
                f"the flow of none of {self.total:,} videos can be computed; {first.name}: {first.reason}"
            )
        there = [index for index, entry in enumerate(entries) if entry not in self.rejected]
        size = sum(
            entry_path(self.root, entry).stat().st_size for entry in {entries[index] for index in there}
        )
        seconds = float(self.manifest.numbers("seconds")[there].sum())
        return FlowSummary(self.root, len(there), new, size, seconds, tuple(self.rejected.values()))

    def _take(self, job: _Job, reason: str | Died | None) -> None:
        record = self.manifest.record(job.index)
        if isinstance(reason, Died):
            if not reason.crashed:
                raise WorkError(
                    f"a worker died ({reason}) at the flow of {record.path}; {self._safe()}, "
                    "with fewer workers if memory was short"
                )
            reason = f"brought the decoder down ({reason})"
        if reason is not None:
            self.rejected[job.entry] = Rejected(record.name, reason)
            log.warning("no flow of %s: %s", record.name, reason)

    def _safe(self) -> str:
        return f"{self.done:,} of {self.total:,} videos are finished and safe; run the same again to go on from there"


@contextmanager
def _claimed(root: Path) -> Iterator[None]:
    """Makes a folder of cached flow ours alone while open, and tidies what a killed run left in it."""
    with alone(root, "computing flow here"):
        for aside in root.glob(f"*/.*{SUFFIX}.*.part"):
            aside.unlink(missing_ok=True)
        yield
