"""Rows of float32 in a plain file that only grows at its end, and is mapped into memory for reading.

The file does not know how many of its rows count: the index's database does, and is told after the rows are on
the disk. What an interrupted write left behind lies beyond them and is overwritten.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinevec.data.whole import writing
from kinevec.errors import DataError

Matrix = NDArray[np.float32]
ROW_TYPE = np.dtype("<f4")


@dataclass(frozen=True)
class VectorFile:
    """Vectors of one kind.

    Attributes:
        path: of the file; it need not be there as long as it has no rows.
        width: C, numbers in a row.
    """

    path: Path
    width: int

    def rows(self, count: int) -> Matrix:
        """The first `count` rows, (count, C), mapped read-only.

        Raises:
            DataError: the file has fewer.
        """
        if not count:
            return np.zeros((0, self.width), np.float32)
        wanted = count * self.width * ROW_TYPE.itemsize
        found = self.path.stat().st_size if self.path.is_file() else 0
        if found < wanted:
            raise DataError(
                f"{self.path}: holds {found:,} bytes, but {count:,} vectors need {wanted:,}: it was cut off or "
                "replaced. Embed the videos again into a new folder"
            )
        return np.asarray(np.memmap(self.path, ROW_TYPE, "r", shape=(count, self.width)))

    def append(self, at: int, block: Matrix) -> None:
        """Writes rows from row `at` on, and makes sure that they are on the disk. What lies beyond `at` is lost.

        Raises:
            OutputError: they cannot be written; the rows before `at` are untouched.
        """
        with writing(self.path), self.path.open("r+b" if self.path.exists() else "w+b") as file:
            file.truncate(at * self.width * ROW_TYPE.itemsize)
            file.seek(0, os.SEEK_END)
            file.write(np.ascontiguousarray(block, ROW_TYPE).data)
            file.flush()
            os.fsync(file.fileno())
