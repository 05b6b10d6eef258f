"""Prepared videos, listed: `read_manifest` opens a million in a moment and keeps next to nothing of them.

The table is mapped into memory, so that its pages are shared by all processes and go when memory is short.

>>> train = read_manifest(Path("data")).select("train")
>>> source = ManifestSource(train.shard(rank=0, world=8, seed=0))
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from kinevec.data.decode import Clip, VideoInfo, read_clip
from kinevec.data.frametable import FrameTable
from kinevec.data.manifest_file import ARROW, PARQUET, SCHEMA, TABLE_COLUMNS, identify, map_manifest
from kinevec.data.records import Record
from kinevec.errors import DataError, InputError


class Manifest:
    """The rows of a manifest, or some of them; row i is one prepared video.

    Attributes:
        folder: where the manifest is; paths in it are relative to it.
        complete: False where `prepare` was interrupted before it had seen all files.
        frames: (N,) number of frames of each video.
    """

    def __init__(self, folder: Path, table: pa.Table, rows: NDArray[np.int64] | None = None) -> None:
        facts = json.loads((table.schema.metadata or {}).get(b"kinevec", b"{}"))
        self.folder = folder
        self.complete = bool(facts.get("complete", True))
        self._identity = str(facts.get("parquet"))
        self._table = table
        self._rows = rows  # places in the table, ascending; None: all
        self.frames: NDArray[np.int32] = self.numbers("frames").astype(np.int32)

    def __len__(self) -> int:
        return self._table.num_rows if self._rows is None else len(self._rows)

    def __repr__(self) -> str:
        return (
            f"Manifest({self.folder}: {len(self):,} videos, {int(self.frames.sum(dtype=np.int64)):,} frames)"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.folder, self._identity, self._rows)  # another process maps the file itself

    def record(self, index: int) -> Record:
        """The record of a video; its path is that of the file to be read."""
        name, path, label, group, split = self._values(index, ("name", "path", "label", "group", "split"))
        return Record(self.folder / path, name, label, group, split)

    def info(self, index: int) -> VideoInfo:
        """The frame table of a video, as `probe` would give it, without touching the file."""
        path, *values = self._values(index, ("path", *TABLE_COLUMNS))
        table = FrameTable(**dict(zip(TABLE_COLUMNS, values, strict=True)))
        return table.info(self.folder / path)

    def source(self, index: int) -> Path:
        """Where the original of a video was when it was prepared."""
        return Path(*self._values(index, ("source",)))

    def hash(self, index: int) -> str:
        """BLAKE2b of the content of a video's original, 128 bits as hexadecimal digits."""
        return str(*self._values(index, ("hash",)))

    def motion(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Motion energy and change of motion, (F,) each; None where they were not measured.

        See `kinevec.data.meter.MotionMeter`.
        """
        scores = [self._table.column(name)[self._place(index)] for name in ("energy", "change")]
        if not all(score.is_valid for score in scores):
            return None
        energy, change = (np.asarray(score.values, dtype=np.float32) for score in scores)
        return energy, change

    def numbers(self, column: str) -> NDArray[Any]:
        """(N,) values of a column of numbers, such as "width" or "fps"."""
        return np.asarray(self._column(column).to_numpy())

    def texts(self, column: str) -> list[str | None]:
        """The N values of a column of text, such as "label"."""
        values: list[str | None] = self._column(column).to_pylist()
        return values

    def codes(self, column: str) -> NDArray[np.int64]:
        """(N,) numbers that are equal where the values of a column are."""
        encoded = self._column(column).combine_chunks().dictionary_encode()
        return np.asarray(encoded.indices, dtype=np.int64)

    def select(self, split: str) -> "Manifest":
        """The videos of one split, "train", "val" or "test".

        Raises:
            DataError: there are none; says which splits there are.
        """
        splits = self._column("split")
        found = pc.equal(splits, split).fill_null(False).to_numpy()
        if not found.any():
            known = ", ".join(sorted(str(value or "none") for value in splits.unique().to_pylist()))
            raise DataError(f"{self.folder}: no video belongs to the split '{split}' (found: {known})")
        return self.take(np.flatnonzero(found))

    def take(self, places: ArrayLike) -> "Manifest":
        """The videos at some places of this manifest, in the order of the manifest."""
        chosen = np.sort(np.asarray(places, dtype=np.int64))
        if len(chosen) and not 0 <= chosen[0] <= chosen[-1] < len(self):
            raise ValueError(f"places {chosen[0]} to {chosen[-1]} of {len(self)} videos")
        return Manifest(self.folder, self._table, chosen if self._rows is None else self._rows[chosen])

    def shard(self, rank: int, world: int, seed: int) -> "Manifest":
        """The part of one of `world` processes: drawn by the seed, disjoint, together all, even to one video.

        Raises:
            ValueError: there is no such rank.
        """
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world}")
        return self.take(np.random.default_rng(seed).permutation(len(self))[rank::world])

    def _place(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"video {index} of {len(self)}")
        return index if self._rows is None else int(self._rows[index])

    def _values(self, index: int, columns: Sequence[str]) -> list[Any]:
        place = self._place(index)
        return [self._table.column(name)[place].as_py() for name in columns]

    def _column(self, name: str) -> pa.ChunkedArray:
        column = self._table.column(name)
        return column if self._rows is None else column.take(pa.array(self._rows))


class ManifestSource:
    """Clips of prepared videos; see `kinevec.data.source.Source`. Cheap to send to another process."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    def __len__(self) -> int:
        return len(self.manifest)

    def frames(self, index: int) -> int:
        """Number of frames of video `index`."""
        return int(self.manifest.frames[index])

    def read(self, index: int, numbers: Sequence[int]) -> Clip:
        """The frames with these numbers of video `index`.

        Raises:
            VideoError: the prepared file is not there or damaged.
        """
        info = self.manifest.info(index)
        return read_clip(info.path, numbers, info=info)


def read_manifest(folder: Path) -> Manifest:
    """Opens the manifest of a folder that `kinevec prepare` wrote.

    Raises:
        InputError: there is none.
        DataError: it is damaged, or is not a manifest.
        OutputError: it was changed since it was prepared, and its folder cannot be written.
    """
    path = folder / PARQUET
    try:
        identity = identify(path)
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}; a folder of prepared videos is made by: kinevec prepare"
        ) from error
    table = _map(folder / ARROW)
    if table is None or _identity(table) != identity:
        map_manifest(folder)
        table = _map(folder / ARROW)
        if table is None:
            raise DataError(f"{folder / ARROW}: cannot be read")
    return Manifest(folder, table)


def _map(path: Path) -> pa.Table | None:
    """The table in an Arrow file, mapped into memory; None where that cannot be done."""
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (OSError, pa.ArrowInvalid):
        return None
    return table if table.schema.equals(SCHEMA) else None


def _identity(table: pa.Table) -> object:
    return json.loads((table.schema.metadata or {}).get(b"kinevec", b"{}")).get("parquet")


def _reopen(folder: Path, identity: str, rows: NDArray[np.int64] | None) -> Manifest:
    manifest = read_manifest(folder)
    if manifest._identity != identity:
        raise DataError(f"{folder / PARQUET}: was changed while it was in use")
    return Manifest(folder, manifest._table, rows)
