"""The index's database: which videos and clips there are, and, as its last word, which vectors count.

SQLite, since one file that any tool can query holds tables that change together or not at all: a video's clips
and the number of vectors that count are committed in one transaction, whatever is killed when.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinevec.errors import DataError, OutputError

WAIT_SECONDS = 30.0  # for another process's commit
LABELS = "LEFT JOIN labels l ON (l.video, l.start, l.stop) = (c.video, c.start, c.stop)"
JOINED = f"clips c JOIN videos v ON v.id = c.video {LABELS}"


class Store:
    """A database that is open; threads may share it, and take turns.

    Args:
        path: of the file.
        create: make it, with empty tables.

    Raises:
        DataError: the file is damaged or no database.
        OutputError: it cannot be made.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        self.lock = threading.RLock()
        uri = f"{path.resolve().as_uri()}?mode={'rwc' if create else 'rw'}"
        with self._spoken():
            self.connection = sqlite3.connect(
                uri, WAIT_SECONDS, isolation_level=None, check_same_thread=False, uri=True
            )
            # SQLite itself knows the case of ASCII letters alone.
            self.connection.create_function("folded", 1, str.casefold, deterministic=True)
            try:
                self.connection.execute("PRAGMA foreign_keys = ON")
                if create:
                    schema = resources.files("kinevec.search").joinpath("schema.sql").read_text("utf-8")
                    self.connection.executescript(f"BEGIN; {schema} COMMIT;")
                self.connection.execute("SELECT count(*) FROM meta")
            except BaseException:
                self.connection.close()
                raise

    def close(self) -> None:
        """Closes the file; the store cannot be used any more."""
        self.connection.close()

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a question."""
        with self.lock, self._spoken():
            return self.connection.execute(sql, parameters).fetchall()

    def columns(
        self, sql: str, kinds: Sequence[tuple[str, str]], parameters: Sequence[Any] = ()
    ) -> NDArray[Any]:
        """All rows of a question as a structured array, without a Python object for each value.

        Args:
            kinds: name and NumPy type of each column.
        """
        with self.lock, self._spoken():
            return np.fromiter(self.connection.execute(sql, parameters), np.dtype(list(kinds)))

    @contextmanager
    def transaction(self, *, write: bool = True, clips: bool = True) -> Iterator[sqlite3.Connection]:
        """What is done inside happens as a whole or not at all, and others see all of it or nothing.

        Args:
            write: it may change something.
            clips: it changes which clips or vectors there are, and with them `version`.

        Raises:
            OutputError: it cannot be written; nothing has changed.
        """
        with self.lock, self._spoken():
            self.connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                yield self.connection
                if clips:
                    self.connection.execute(
                        "INSERT INTO meta VALUES ('version', 1) ON CONFLICT DO UPDATE SET value = value + 1"
                    )
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def meta(self, key: str, default: Any = None) -> Any:
        """A single value that belongs to the whole index."""
        found = self.query("SELECT value FROM meta WHERE key = ?", (key,))
        return found[0][0] if found else default

    def set_meta(self, key: str, value: Any) -> None:
        """Changes such a value; inside a transaction."""
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    @property
    def version(self) -> int:
        """Rises whenever clips or vectors change."""
        return int(self.meta("version", 0))

    @contextmanager
    def _spoken(self) -> Iterator[None]:
        """What SQLite says becomes an error that names the file."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise OutputError(f"{self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise
            raise DataError(f"{self.path}: is damaged, or no index of kinevec ({error})") from error
