"""Videos into an index: only what is new or changed is embedded, each video is kept as soon as it is done."""

import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

from kinevec.data.prepare.check import Stamp, content_hash
from kinevec.data.reasons import Unusable
from kinevec.data.records import Record
from kinevec.data.source import Progress, Rejected, write_rejected
from kinevec.errors import DataError, Interrupted, VideoError
from kinevec.runtime import stop_requests
from kinevec.search.added import REJECTED, Added
from kinevec.search.embed import VideoVectors, count_clips
from kinevec.search.executor import Executor, Here, Job
from kinevec.search.index import Index
from kinevec.search.writer import Known, Writer, as_seen
from kinevec.show.letters import drawable

log = logging.getLogger(__name__)

TINY = 1e-6  # relative: what rounding does to seconds


def add(
    index: Index,
    records: Iterable[Record],
    root: Path,
    executor: Executor | None = None,
    *,
    prune: bool = False,
    device: str = "auto",
    on_look: Progress | None = None,
    on_clips: Progress | None = None,
) -> Added:
    """Embeds those of some videos that the index does not hold yet, or in another version.

    A file is taken for unchanged where size and time of change are. A file at a new path whose content the index
    knows is a move where the old path is gone, else a copy: copies get no vectors of their own, so that no result
    appears twice.

    Args:
        records: the videos.
        root: the folder they come from. Videos of the index from there whose files are gone have vanished.
        executor: who embeds; None: this process.
        prune: take vanished videos out.
        on_look: is told how many files were looked at, of how many.
        on_clips: is told how many clips are done, of how many.

    Raises:
        Interrupted: by Ctrl-C or SIGTERM; what was finished is kept.
        OutputError: the index cannot be written, or another process is changing it.
        DataError: there is not one usable video, in the index or among these.
    """
    with index.writer() as writer, stop_requests() as stop:
        look = _Look(index, writer, root)
        everything = [replace(record, path=Path(os.path.abspath(record.path))) for record in records]
        for done, record in enumerate(everything, 1):
            look.at(record)
            if on_look:
                on_look(done, len(everything))
            if stop.is_set():
                raise Interrupted("stopped before anything was embedded")
        look.belong(everything)
        added = look.added
        _vanished(writer, look, prune=prune)
        total = sum(job.clips for job in look.jobs)
        finished = 0

        def tell(more: int) -> None:
            nonlocal finished
            finished += more
            if on_clips:
                on_clips(finished, total)
            if stop.is_set():
                raise Interrupted(
                    f"stopped: {added.embedded:,} of {len(look.jobs):,} videos are embedded and safe; "
                    "run the same again to go on from there"
                )

        run = executor or Here(index.settings, index.encoder(device))
        listed = {drawable(str(record.path)) for record in everything}
        try:
            for job, result in run(look.jobs, tell):
                look.take(job, result)
        except Interrupted:
            _write_rejected(index, listed)
            raise
        look.settle()
        added.rejected = _write_rejected(index, listed)
        writer.pack()
    if not len(index):
        raise DataError(_nothing(len(everything), added.rejected))
    return added


class _Look:
    """Looks at files and sorts them; takes in what came of those that were embedded."""

    def __init__(self, index: Index, writer: Writer, root: Path) -> None:
        self.index = index
        self.writer = writer
        self.root = os.path.abspath(root)
        self.real = cache(os.path.realpath)
        self.roots: dict[str, int] = {}  # that these files belong to: real path → number
        self.jobs: list[Job] = []
        self.added = Added()
        self.known = {known.path: known for known in writer.known()}
        self.by_hash: dict[str, Known] = {known.hash: known for known in reversed(self.known.values())}
        self.as_copies: list[tuple[Record, Stamp]] = []  # files that were known as copies
        self.waiting: dict[str, list[tuple[Record, Stamp]]] = {}  # files with the content of a job
        store = index.store
        self.copies = {p: Stamp(s, m) for p, s, m in store.query("SELECT path, size, mtime_ns FROM copies")}
        self.refused = {
            p: Stamp(s, m) for p, s, m in store.query("SELECT path, size, mtime_ns FROM rejected")
        }

    def at(self, record: Record) -> None:
        """Looks at one file."""
        path = str(record.path)
        stamp = None
        try:
            path.encode()
            stamp = Stamp.of(record.path)
            known = self.known.get(path)
            if known and known.stamp == stamp:
                self.added.unchanged += 1
                self.writer.describe(known.id, record, self._root(record), stamp)
            elif self.copies.get(path) == stamp:
                self.added.copies += 1
                self.as_copies.append((record, stamp))
            elif self.refused.get(path) != stamp:
                self._new(record, stamp, known)
        except UnicodeEncodeError:
            named = replace(record, path=Path(drawable(path)), name=drawable(record.name))
            self.writer.reject(named, None, "has a name that is not UTF-8: rename it")
        except VideoError as error:
            self._reject(record, None if isinstance(error, Unusable) and stamp is None else stamp, error)

    def take(self, job: Job, result: VideoVectors | VideoError) -> None:
        """Keeps what came of a job."""
        waiting = self.waiting.pop(job.hash, [])
        if isinstance(result, VideoError):
            passing = (
                isinstance(result, Unusable) and result.kind == "failed"
            )  # not known to be the file's fault
            for record, stamp in [(job.record, job.stamp), *waiting]:
                self._reject(record, None if passing else stamp, result)
            return
        id = self.writer.put(job.record, self._root(job.record), job.stamp, job.hash, result)
        self.added.embedded += 1
        self.added.clips += len(result)
        self.added.looped += self._looped(result)
        for record, stamp in waiting:
            self.writer.copy(id, record, self._root(record), stamp)
            self.added.copies += 1

    def _looped(self, result: VideoVectors) -> bool:
        """Whether a video is shorter than a clip; a single frame has no length that could be."""
        length = self.index.settings.length or (self.index.clip.window / result.fps if result.fps else 0.0)
        return length > result.seconds * (1 + TINY)

    def _new(self, record: Record, stamp: Stamp, known: Known | None) -> None:
        digest = content_hash(record.path)
        if known and known.hash == digest:  # only its time of change is another
            self.added.unchanged += 1
            self.writer.describe(known.id, record, self._root(record), stamp)
            return
        same = self._now(self.by_hash.get(digest))
        if same and not os.path.exists(same.path):
            self.added.moved += 1
            self.writer.describe(same.id, record, self._root(record), stamp)
            self.known.pop(same.path)
            moved = replace(same, path=str(record.path), name=record.name, stamp=stamp)
            self.known[moved.path] = self.by_hash[digest] = moved
        elif same and as_seen(same.path, same.stamp):
            self.added.copies += 1
            self.writer.copy(same.id, record, self._root(record), stamp)
        elif digest in self.waiting:
            self.waiting[digest].append((record, stamp))
        else:
            clips = count_clips(record.path, self.index.settings, self.index.clip)
            self.jobs.append(Job(record, stamp, digest, clips))
            self.waiting[digest] = []

    def _now(self, known: Known | None) -> Known | None:
        """A video where it is now: it may have gone on as a copy of itself since all were listed."""
        rows = (
            self.index.store.query("SELECT path, name, size, mtime_ns FROM videos WHERE id = ?", (known.id,))
            if known
            else []
        )
        if not known or not rows:
            return None
        path, name, size, mtime_ns = rows[0]
        return replace(known, path=path, name=name, stamp=Stamp(size, mtime_ns))

    def settle(self) -> None:
        """Notes what is said of files that were copies and are videos now, since what they were copies of is gone."""
        for record, stamp in self.as_copies:
            found = self.index.store.query("SELECT id FROM videos WHERE path = ?", (str(record.path),))
            for (id,) in found:
                self.writer.describe(id, record, self._root(record), stamp)

    def belong(self, records: Sequence[Record]) -> None:
        """Notes the folders that all files belong to, also where none of them was looked at for long."""
        for record in records:
            with suppress(UnicodeEncodeError):
                self._root(record)

    def _root(self, record: Record) -> int:
        """The folder that a file belongs to: the one embedded, or its own where a list names it from elsewhere."""
        inside = str(record.path).startswith(os.path.join(self.root, ""))
        folder = self.real(self.root if inside else str(record.path.parent))
        if folder not in self.roots:
            self.roots[folder] = self.writer.root(folder)
        return self.roots[folder]

    def _reject(self, record: Record, stamp: Stamp | None, error: VideoError) -> None:
        log.warning("left out %s: %s", record.name, error.reason)
        self.writer.reject(record, stamp, error.reason)


def _vanished(writer: Writer, look: _Look, *, prune: bool) -> None:
    """Finds videos of these roots whose files are gone, and takes them out if that is wanted."""
    rows = [
        (id, path, name)
        for root in look.roots.values()
        for id, path, name in writer.store.query(
            "SELECT id, path, name FROM videos WHERE root = ? ORDER BY name", (root,)
        )
    ]
    gone = [(id, name) for id, path, name in rows if not os.path.lexists(path)]
    look.added.vanished = [name for _, name in gone]
    if prune:
        writer.remove([id for id, _ in gone])
        look.added.pruned = len(gone)


def _write_rejected(index: Index, listed: set[str]) -> list[Rejected]:
    """Lists the files that cannot be used, and forgets those that are neither listed nor there any more."""
    rows = index.store.query("SELECT path, name, reason FROM rejected ORDER BY name")
    past = [(path,) for path, _, _ in rows if path not in listed and not os.path.exists(path)]
    if past:
        with index.store.transaction() as database:
            database.executemany("DELETE FROM rejected WHERE path = ?", past)
    rejected = [Rejected(name, reason) for path, name, reason in rows if (path,) not in past]
    write_rejected(rejected, index.folder / REJECTED)
    return rejected


def _nothing(count: int, rejected: Sequence[Rejected]) -> str:
    first = f"; the first, {rejected[0].name}: {rejected[0].reason}" if rejected else ""
    return f"not one of {count:,} videos can be used{first}"
