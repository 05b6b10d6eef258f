"""Changes to an index. Each is done whole or not at all: vectors first, then one transaction of the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinevec.data.prepare.check import Stamp
from kinevec.data.records import Record
from kinevec.errors import VideoError
from kinevec.search.embed import VideoVectors
from kinevec.search.state import FULL, STATIC, vector_file
from kinevec.search.store import Store
from kinevec.search.vectors import VectorFile

DEAD_SHARE = 0.25  # of all rows: with more of removed clips among them, the vectors are packed
PACKED_ROWS = 16_384  # copied at once


@dataclass(frozen=True)
class Known:
    """A video of the index, as far as telling whether it has changed needs it."""

    id: int
    path: str
    name: str
    stamp: Stamp
    hash: str


class Writer:
    """Changes an index; only one at a time, see `Index.writer`.

    Args:
        folder: of the index.
        channels: C, length of its vectors.
        appearance: whether it holds vectors of static clips too.
    """

    def __init__(self, folder: Path, store: Store, channels: int, *, appearance: bool) -> None:
        self.folder = folder
        self.store = store
        self.channels = channels
        self.kinds = (FULL, STATIC) if appearance else (FULL,)

    def file(self, kind: str) -> VectorFile:
        """The vectors of a kind that count at present."""
        return vector_file(self.folder, kind, self.store.meta("generation"), self.channels)

    def root(self, folder: str) -> int:
        """The number of a folder that videos come from; it is noted if it is new."""
        found = self.store.query("SELECT id FROM roots WHERE path = ?", (folder,))
        if found:
            return int(found[0][0])
        with self.store.transaction() as database:
            return int(database.execute("INSERT INTO roots (path) VALUES (?)", (folder,)).lastrowid or 0)

    def known(self) -> list[Known]:
        """All videos."""
        rows = self.store.query("SELECT id, path, name, size, mtime_ns, hash FROM videos ORDER BY id")
        return [Known(id, path, name, Stamp(size, mtime), hash) for id, path, name, size, mtime, hash in rows]

    def put(self, record: Record, root: int, stamp: Stamp, digest: str, vectors: VideoVectors) -> int:
        """Adds a video with its clips; one with the same path is replaced, but lives on in a copy. Returns its number.

        Raises:
            OutputError: it cannot be written; the index is as before.
        """
        blocks = {FULL: vectors.full, STATIC: vectors.static}
        at, path = self.store.meta("rows"), str(record.path)
        for kind in self.kinds:
            block = blocks[kind]
            if block is None or block.shape != (len(vectors), self.channels):
                raise ValueError(
                    f"{kind} vectors are {None if block is None else block.shape}, not N × {self.channels}"
                )
            self.file(kind).append(at, block)
        with self.store.transaction() as database:
            self._replace(path)
            database.execute("DELETE FROM copies WHERE path = ?", (path,))
            database.execute("DELETE FROM rejected WHERE path = ?", (path,))
            video = database.execute(
                'INSERT INTO videos (root, path, name, size, mtime_ns, hash, label, "group", split, seconds, fps, '
                "frames, width, height) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(root, path, record.name, stamp.size, stamp.mtime_ns, digest),
                    *(record.label, record.group, record.split),
                    *(vectors.seconds, vectors.fps, vectors.frames, vectors.width, vectors.height),
                ),
            ).lastrowid
            places = zip(vectors.starts.tolist(), vectors.ends.tolist(), strict=True)
            database.executemany(
                "INSERT INTO clips (video, row, start, stop) VALUES (?, ?, ?, ?)",
                [(video, at + i, start, stop) for i, (start, stop) in enumerate(places)],
            )
            for kind in self.kinds:
                self._add(kind, np.asarray(blocks[kind]).sum(0, dtype=np.float64))
            self.store.set_meta("rows", at + len(vectors))
        return int(video or 0)

    def describe(self, id: int, record: Record, root: int, stamp: Stamp) -> None:
        """Notes where a video is now and what is said of it; its content has not changed."""
        values = (str(record.path), root, record.name, record.label, record.group, record.split)
        wanted = (*values, stamp.size, stamp.mtime_ns)
        question = 'SELECT path, root, name, label, "group", split, size, mtime_ns FROM videos WHERE id = ?'
        refused = self.store.query("SELECT 1 FROM rejected WHERE path = ?", (str(record.path),))
        if not refused and self.store.query(question, (id,)) == [wanted]:
            return
        with self.store.transaction() as database:
            database.execute("DELETE FROM copies WHERE path = ?", (str(record.path),))
            database.execute("DELETE FROM rejected WHERE path = ?", (str(record.path),))
            self._replace(str(record.path), but=id)
            database.execute(
                'UPDATE videos SET path = ?, root = ?, name = ?, label = ?, "group" = ?, split = ?, size = ?, '
                "mtime_ns = ? WHERE id = ?",
                (*wanted, id),
            )

    def copy(self, id: int, record: Record, root: int, stamp: Stamp) -> None:
        """Notes a file with the content of a video that is in the index; what it was before is let go of."""
        with self.store.transaction() as database:
            self._replace(str(record.path))
            database.execute("DELETE FROM rejected WHERE path = ?", (str(record.path),))
            database.execute(
                "INSERT OR REPLACE INTO copies VALUES (?, ?, ?, ?, ?, ?)",
                (str(record.path), root, record.name, id, stamp.size, stamp.mtime_ns),
            )

    def reject(self, record: Record, stamp: Stamp | None, reason: str) -> None:
        """Notes a file that cannot be used. Where it was read, what the index holds of it was of another content,
        and goes, unless there is a copy of that.

        Args:
            stamp: None: it could not even be looked at, which may pass.
        """
        path = str(record.path)
        with self.store.transaction() as database:
            if stamp is not None:
                database.execute("DELETE FROM copies WHERE path = ?", (path,))
                self._replace(path)
            seen = (stamp.size, stamp.mtime_ns) if stamp else (-1, -1)
            database.execute(
                "INSERT OR REPLACE INTO rejected VALUES (?, ?, ?, ?, ?)", (path, record.name, *seen, reason)
            )

    def remove(self, videos: Sequence[int]) -> None:
        """Takes videos out; one of which the index knows a copy stays, as that copy."""
        with self.store.transaction():
            self._let_go(videos)

    def pack(self, *, always: bool = False) -> None:
        """Writes the vectors anew without the rows of removed clips, where these are many."""
        rows = self.store.meta("rows")
        live = np.array([row for (row,) in self.store.query("SELECT row FROM clips ORDER BY row")], np.int64)
        if rows - len(live) <= (0 if always else DEAD_SHARE * rows):
            return
        generation = self.store.meta("generation") + 1
        sums = {kind: np.zeros(self.channels) for kind in self.kinds}
        for kind in self.kinds:
            old = self.file(kind).rows(rows)
            new = vector_file(self.folder, kind, generation, self.channels)
            for at in range(0, len(live), PACKED_ROWS):
                block = old[live[at : at + PACKED_ROWS]]
                sums[kind] += block.sum(0, dtype=np.float64)
                new.append(at, block)
        with self.store.transaction() as database:
            moved = [(new, old) for new, old in enumerate(live.tolist()) if new != old]
            database.execute("CREATE TEMP TABLE moved (new INTEGER, old INTEGER PRIMARY KEY)")
            database.executemany("INSERT INTO moved VALUES (?, ?)", moved)
            database.execute(
                "UPDATE clips SET row = (SELECT new FROM moved WHERE old = row) WHERE row IN (SELECT old FROM moved)"
            )
            database.execute("DROP TABLE moved")
            for kind, value in sums.items():
                self.store.set_meta(f"sum {kind}", value.tobytes())
            self.store.set_meta("rows", len(live))
            self.store.set_meta("generation", generation)
        self.sweep()

    def sweep(self) -> None:
        """Removes vectors of other generations: old ones, and new ones whose packing was interrupted."""
        current = {self.file(kind).path for kind in self.kinds}
        for kind in self.kinds:
            for path in self.folder.glob(f"{kind}-*.f32"):
                if path not in current:
                    path.unlink()

    def _replace(self, path: str, but: int = -1) -> None:
        """Lets go of the video at a path, whose content is another now, unless it is `but`; inside a transaction."""
        there = self.store.query("SELECT id FROM videos WHERE path = ? AND id <> ?", (path, but))
        self._let_go([id for (id,) in there])

    def _let_go(self, videos: Sequence[int]) -> None:
        """Deletes videos; one of which there is a copy goes on as that copy. Inside a transaction."""
        gone = []
        for id in videos:
            copies = self.store.query("SELECT * FROM copies WHERE video = ? ORDER BY path", (id,))
            there = next((copy for copy in copies if as_seen(copy[0], Stamp(*copy[4:6]))), None)
            if there is None:
                gone.append(id)
                continue
            path, root, name, _, size, mtime_ns = there
            self.store.connection.execute("DELETE FROM copies WHERE path = ?", (path,))
            self.store.connection.execute(
                "UPDATE videos SET path = ?, root = ?, name = ?, size = ?, mtime_ns = ? WHERE id = ?",
                (path, root, name, size, mtime_ns, id),
            )
        self._forget(gone)

    def _forget(self, videos: Sequence[int]) -> None:
        """Deletes videos and takes their clips out of the sums; inside a transaction."""
        for id in videos:
            found = self.store.query("SELECT row FROM clips WHERE video = ? ORDER BY row", (id,))
            rows = np.array([row for (row,) in found], dtype=np.int64)
            for kind in self.kinds:
                vectors = self.file(kind).rows(int(rows[-1]) + 1)
                self._add(kind, -vectors[rows].sum(0, dtype=np.float64))
            self.store.connection.execute("DELETE FROM videos WHERE id = ?", (id,))

    def _add(self, kind: str, change: NDArray[np.float64]) -> None:
        total = np.frombuffer(self.store.meta(f"sum {kind}")) + change
        self.store.set_meta(f"sum {kind}", total.tobytes())


def as_seen(path: str, stamp: Stamp) -> bool:
    """Whether a file is there and as it was when it was last looked at."""
    try:
        return Stamp.of(Path(path)) == stamp
    except VideoError:
        return False
