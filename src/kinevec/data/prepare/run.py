"""Videos once checked, transcoded, measured and listed, whatever interrupts it.

The output folder holds `prepare.json` (settings and versions), `videos/` (the prepared files),
`manifest.parquet` (what is there; read it with `kinevec.data.manifest`), `rejected.csv` (what was left out
and why), `duplicates.csv`, and `journal.jsonl`, from which the next run goes on.
"""

import logging
import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from functools import cache
from pathlib import Path

from kinevec.cluster import Cluster, Lost
from kinevec.data.duplicates import find_copies, write_copies
from kinevec.data.manifest import read_manifest
from kinevec.data.manifest_file import Row, write_manifest
from kinevec.data.prepare.check import Stamp
from kinevec.data.prepare.entries import Entry, Prepared, Refusal
from kinevec.data.prepare.folder import Folder
from kinevec.data.prepare.journal import Journal
from kinevec.data.prepare.on_ray import run_on_ray
from kinevec.data.prepare.plan import PrepareConfig
from kinevec.data.prepare.summary import Summary, write_rejected
from kinevec.data.prepare.transcode import Job, Outcome, Transcoder
from kinevec.data.prepare.workers import Died, run_jobs
from kinevec.data.reasons import Kind, Unusable
from kinevec.data.records import Record, some
from kinevec.data.source import Progress
from kinevec.errors import DataError, InputError, Interrupted, OutputError, WorkError
from kinevec.runtime import stop_requests

log = logging.getLogger(__name__)

# These may be mended without the file changing: they are tried again in every run.
_RETRIED: frozenset[Kind] = frozenset({"missing", "unreadable", "bad-name", "failed"})


def prepare(
    records: Sequence[Record],
    out: Path,
    config: PrepareConfig | None = None,
    *,
    workers: int = 1,
    cluster: Cluster | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Summary:
    """Checks, transcodes, measures and lists videos; goes on where an earlier run on the same folder ended.

    A file is done again only if its size, or its time of change and its content, are others than before.
    Prepared files depend on the source's name and content and on the settings, not on `workers`.

    Args:
        records: all videos for the manifest, in its order; see `find_records` and `read_official`.
        out: the output folder: new, empty, or prepared with the same settings.
        workers: processes of 0.12 GB, with motion statistics 0.42 GB; they are spawned, so a script needs
            the usual `if __name__ == "__main__"`. 0: this process.
        cluster: work there instead; a file whose worker is lost is tried again.
        progress: called with (files done, files in all).
        stop: set it to stop early; without it, SIGINT and SIGTERM do, if this is the main thread.

    Raises:
        DataError: two records have the same name, or not one video can be used.
        OutputError: the folder belongs to something else, is in use, holds the videos themselves, or cannot
            be written (disk full?).
        Interrupted: it was stopped. What is finished is safe and in the manifest.
        WorkError: a worker died; names its file. What is finished is safe and in the manifest.
        ValueError: fewer than no workers.
    """
    if workers < 0:
        raise ValueError(f"workers is {workers}; it must be at least 0")
    folder, config = Folder(out.absolute()), config or PrepareConfig()
    mine = _outside(records, folder)
    _check_names(mine)
    with (
        nullcontext(stop) if stop else stop_requests() as asked,
        folder.claimed(config),
        Journal(folder.root) as journal,
    ):
        run = _Run(folder, config, mine, journal)
        run.work(workers, cluster, progress, asked)
        summary = run.conclude(complete=True)
    summary.inside = len(records) - len(mine)
    leaks = [str(copies) for copies in summary.copies if copies.leak]
    if leaks:
        log.warning(
            "%d videos stand in more than one split, so that scores will be too good: %s. "
            "Leave them out of one; all are in %s",
            len(leaks),
            some(leaks),
            out / "duplicates.csv",
        )
    return summary


class _Run:
    """One run over all records: what is known of each, and how it is put down."""

    def __init__(
        self, folder: Folder, config: PrepareConfig, records: Sequence[Record], journal: Journal
    ) -> None:
        self.folder = folder
        self.config = config
        self.records = records
        self.journal = journal
        self.refused: dict[str, Refusal] = {}  # by this run, to be tried again by the next
        self.done = 0
        self.new = 0

    def work(
        self, workers: int, cluster: Cluster | None, progress: Progress | None, stop: threading.Event
    ) -> None:
        """Does all files that are not done yet."""
        total = len(self.records)
        jobs = [job for job in map(self._job, self.records) if job]
        self.done = total - len(jobs)
        if progress:
            progress(self.done, total)
        task = Transcoder(self.folder, self.config)
        try:
            with closing(
                run_on_ray(task, jobs, cluster, stop) if cluster else run_jobs(task, jobs, workers, stop)
            ) as results:
                for job, outcome in results:
                    self._take(job, outcome)
                    self.done += 1
                    if progress:
                        progress(self.done, total)
        except OutputError as error:
            raise OutputError(f"{error}; {self._safe()}") from error
        except WorkError:
            self.conclude(complete=False)
            raise
        if self.done < total:
            self.conclude(complete=False)
            raise Interrupted(f"stopped: {self._safe()}")

    def conclude(self, *, complete: bool) -> Summary:
        """Writes the manifest and the lists from all that is finished, and sums up."""
        root = self.folder.root
        now = {record.name for record in self.records}
        vanished = [str(name) for name in self._listed() if name not in now]
        summary = Summary(root, new=self.new, vanished=tuple(vanished))
        rejected: list[tuple[Record, Refusal]] = []
        summary.videos = write_manifest(root, self._rows(summary, rejected), complete=complete)
        summary.rejected = Counter(why.kind for _, why in rejected)
        write_rejected(rejected, root / "rejected.csv")
        summary.copies = find_copies(read_manifest(root))
        write_copies(summary.copies, root / "duplicates.csv")
        if complete:
            for file in self.journal.superseded:
                (root / file).unlink(missing_ok=True)
            if not summary.videos:
                record, why = rejected[0]
                first = f"{record.name}: {why.reason}"
                raise DataError(f"not one of {len(self.records):,} files can be used; the first, {first}")
        return summary

    def _job(self, record: Record) -> Job | None:
        """The job of a record; None where there is nothing to do."""
        try:
            os.path.join(record.path, record.name).encode()
            stamp = Stamp.of(record.path)
        except UnicodeEncodeError:
            self.refused[record.name] = Refusal("bad-name", "has a name that is not UTF-8: rename it")
            return None
        except Unusable as error:
            self.refused[record.name] = Refusal(error.kind, error.reason)
            return None
        if self.journal.is_done(record.name, stamp):
            return None
        known = self.journal.entry(record.name)
        digest = known.result.hash if known and isinstance(known.result, Prepared) else ""
        return Job(record.name, Path(os.path.abspath(record.path)), digest)

    def _take(self, job: Job, outcome: Outcome | Died | Lost) -> None:
        """Puts down what came of a job."""
        if isinstance(outcome, Lost):
            self.refused[job.name] = Refusal("failed", str(outcome))
            return
        if isinstance(outcome, Died):
            if not outcome.crashed:
                raise WorkError(
                    f"a worker died ({outcome}) while it prepared {job.source}; {self._safe()}, "
                    "with fewer workers if memory was short, or without that file"
                )
            self.refused[job.name] = Refusal("failed", f"brought the decoder down ({outcome})")
            return
        result = outcome.result
        if result is None:
            known = self.journal.entry(job.name)
            assert known is not None  # a job without a known hash has a result
            result = known.result
        elif isinstance(result, Prepared):
            self.new += 1
        if isinstance(result, Refusal) and result.kind in _RETRIED:
            self.refused[job.name] = result
            return
        self.journal.append(Entry(job.name, outcome.stamp, result))
        if outcome.part and isinstance(result, Prepared):
            self.folder.accept(outcome.part, result.file)

    def _rows(self, summary: Summary, rejected: list[tuple[Record, Refusal]]) -> Iterator[Row]:
        """The rows of the manifest; counts and lists what goes by."""
        for record in self.records:
            why = self.refused.get(record.name)
            entry = None if why else self.journal.entry(record.name)
            result = why or (entry.result if entry else None)
            if isinstance(result, Refusal):
                rejected.append((record, result))
            elif result is not None:
                row = result.row(record)
                summary.frames += row["frames"]
                summary.seconds += row["seconds"]
                summary.size += row["size"]
                summary.single += row["frames"] == 1
                yield row

    def _listed(self) -> list[str | None]:
        """Names in the manifest of an earlier run."""
        try:
            return read_manifest(self.folder.root).texts("name")
        except (InputError, DataError):  # there is none, or it is damaged: this run writes a new one
            return []

    def _safe(self) -> str:
        return (
            f"{self.done:,} of {len(self.records):,} files are finished and safe; "
            "run the same again to go on from there"
        )


def _outside(records: Sequence[Record], folder: Folder) -> list[Record]:
    """The records that are not prepared files themselves, as found where the output lies among the videos."""
    real = cache(os.path.realpath)
    inside = os.path.join(real(folder.root), "")
    found = [
        record for record in records if not os.path.join(real(record.path.parent), "").startswith(inside)
    ]
    if records and not found:
        raise OutputError(f"{folder.root}: the videos lie in the output folder itself; choose another one")
    return found


def _check_names(records: Sequence[Record]) -> None:
    names = Counter(record.name for record in records)
    twice = [name for name, count in names.items() if count > 1]
    if not records:
        raise DataError("there are no videos to prepare")
    if twice:
        raise DataError(f"{len(twice):,} names stand for two files each: {some(twice)}")
