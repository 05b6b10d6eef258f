"""Files that were made for the page, up to so many bytes; each is made once, however many ask for it."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

from kinevec.errors import DataError, KinevecError

LIMIT = 256 * 2**20  # bytes
REASONS = 4096  # failures that are remembered


class Cache:
    """Files by key; those that were used longest ago make room.

    Args:
        folder: private; it is there.
        limit: bytes of all files.
    """

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self.folder = folder
        self.limit = limit
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._failed: OrderedDict[str, str] = OrderedDict()
        self._making: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: str, make: Callable[[Path], object]) -> Path:
        """The file of a key; `make` writes it (and perhaps files of the same stem beside it).

        Raises:
            DataError: it cannot be made; asked again, the reason is known.
        """
        stem = blake2b(key.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
        path = self.folder / f"{stem}.mp4"
        with self._lock:
            making = self._making.setdefault(stem, threading.Lock())
        with making:
            with self._lock:
                if stem in self._sizes:
                    self._sizes.move_to_end(stem)
                    return path
                if stem in self._failed:
                    raise DataError(self._failed[stem])
            try:
                make(path)
            except KinevecError as error:
                self._forget(stem, str(error))
                raise
            self._note(stem)
        return path

    def _note(self, stem: str) -> None:
        size = sum(path.stat().st_size for path in self.folder.glob(f"{stem}.*"))
        with self._lock:
            self._sizes[stem] = size
            self._making.pop(stem, None)
            while sum(self._sizes.values()) > self.limit and len(self._sizes) > 1:
                oldest, _ = self._sizes.popitem(last=False)
                for path in self.folder.glob(f"{oldest}.*"):
                    path.unlink(missing_ok=True)

    def _forget(self, stem: str, reason: str) -> None:
        for path in self.folder.glob(f"{stem}.*"):
            path.unlink(missing_ok=True)
        with self._lock:
            self._failed[stem] = reason
            self._making.pop(stem, None)
            if len(self._failed) > REASONS:
                self._failed.popitem(last=False)
