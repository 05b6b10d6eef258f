"""What `prepare` has finished, kept so that nothing is done twice and nothing half-written is believed.

Every finished file is a line in an append-only file. The line is written first and the prepared file moved
to its place after it; both must be there to be believed. So it does not matter when the power goes.
"""

import errno
import logging
import os
import time
from pathlib import Path
from typing import NamedTuple, Self

from kinevec.data.prepare.check import Stamp
from kinevec.data.prepare.entries import Entry, Prepared
from kinevec.data.whole import writing

log = logging.getLogger(__name__)

_SYNC_SECONDS = 1.0  # at most so much finished work is done again after a power failure


class _Mark(NamedTuple):
    size: int
    mtime_ns: int
    offset: int  # of the line


class Journal:
    """The journal of an output folder. Keeps some hundred bytes a file in memory, the rest on the disk.

    Args:
        folder: the output folder; prepared files are looked up in it.

    Raises:
        OutputError: the journal cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "journal.jsonl"
        self.superseded: set[str] = set()  # prepared files that later ones replaced
        self._marks: dict[str, _Mark] = {}
        self._synced = 0.0
        with writing(self.path):
            self._file = self.path.open("ab", buffering=0)
            self._reader = self.path.open("rb")
            self._scan()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        """Makes sure that all lines are on the disk; where work has failed, that failure is the news."""
        with self._file, self._reader:
            if kind is None:
                with writing(self.path):
                    os.fsync(self._file.fileno())

    def entry(self, name: str) -> Entry | None:
        """What is known of a source file."""
        mark = self._marks.get(name)
        if mark is None:
            return None
        self._reader.seek(mark.offset)
        return Entry.from_line(self._reader.readline())

    def is_done(self, name: str, stamp: Stamp) -> bool:
        """Whether the file was looked at when it had this very size and time of change."""
        mark = self._marks.get(name)
        return mark is not None and (mark.size, mark.mtime_ns) == (stamp.size, stamp.mtime_ns)

    def append(self, entry: Entry) -> None:
        """Notes what became of a file.

        Raises:
            OutputError: the line cannot be written; earlier ones are safe.
        """
        line = entry.to_line()
        offset = self._file.seek(0, os.SEEK_END)
        with writing(self.path):
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if time.monotonic() - self._synced > _SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        self._note(entry, offset)

    def _scan(self) -> None:
        offset = 0
        with self.path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):  # cut off while it was written
                    self._file.truncate(offset)
                    return
                try:
                    entry = Entry.from_line(line)
                except ValueError:
                    log.warning(
                        "%s: the line at byte %d is damaged; its file is done again", self.path, offset
                    )
                else:
                    if self._is_there(entry):
                        self._note(entry, offset)
                offset += len(line)

    def _is_there(self, entry: Entry) -> bool:
        """Whether the prepared file that an entry names, if any, is in its place and as long as it was."""
        if not isinstance(entry.result, Prepared) or not entry.result.file:
            return True
        try:
            return (self.folder / entry.result.file).stat().st_size == entry.result.size
        except FileNotFoundError:
            return False

    def _note(self, entry: Entry, offset: int) -> None:
        before = self.entry(entry.name)
        if before and isinstance(before.result, Prepared) and before.result.file:
            self.superseded.add(before.result.file)
        if isinstance(entry.result, Prepared):
            self.superseded.discard(entry.result.file)
        self._marks[entry.name] = _Mark(entry.stamp.size, entry.stamp.mtime_ns, offset)
