"""Prepared videos, listed: `read_manifest` opens a million in a moment and keeps next to nothing of them.

The table is mapped into memory, so that its pages are shared by all processes and go when memory is short.

>>> train = read_manifest(Path("data")).select("train")
>>> source = FileSource(train)
"""

import base64
import json
import logging
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from kinevec.data.decode import VideoInfo
from kinevec.data.files import held_out
from kinevec.data.frametable import FrameTable
from kinevec.data.manifest_file import (
    ARROW,
    PARQUET,
    SCHEMA,
    TABLE_COLUMNS,
    identify,
    map_manifest,
    state_of,
    tail_identity,
)
from kinevec.data.records import Record
from kinevec.data.source import Rejected
from kinevec.errors import DataError, InputError

log = logging.getLogger(__name__)


class Manifest:
    """The rows of a manifest, or some of them; row i is one prepared video. See `kinevec.data.source.Videos`.

    Attributes:
        folder: where the manifest is; paths in it are relative to it.
        complete: False where `prepare` was interrupted before it had seen all files.
        identity: what tells this state of the manifest from others.
        frames: (N,) number of frames of each video.
        rejected: videos that turned out to be damaged after they were prepared.
    """

    def __init__(
        self,
        folder: Path,
        table: pa.Table,
        rows: NDArray[np.int64] | None = None,
        *,
        test: NDArray[np.bool_] | None = None,
        rejected: tuple[Rejected, ...] = (),
    ) -> None:
        facts = _facts(table)
        self.folder = folder
        self.complete = bool(facts.get("complete", True))
        self.identity = str(facts.get("parquet"))
        self.rejected = rejected
        self._table = table
        self._rows = rows  # places in the table, ascending; None: all
        self._test = test  # (rows of the table,) which are held out, where the table names no split
        self.frames: NDArray[np.int32] = self.numbers("frames").astype(np.int32)

    def __len__(self) -> int:
        return self._table.num_rows if self._rows is None else len(self._rows)

    def __repr__(self) -> str:
        return (
            f"Manifest({self.folder}: {len(self):,} videos, {int(self.frames.sum(dtype=np.int64)):,} frames)"
        )

    def __reduce__(self) -> tuple[Any, ...]:  # another process maps the file itself
        return _reopen, (self.folder, self.identity, self._rows, self._test)

    @property
    def sizes(self) -> NDArray[np.int32]:
        """(N, 2) height and width of each video."""
        return np.stack([self.numbers("height"), self.numbers("width")], 1)

    def names(self) -> Iterator[str]:
        """The names of all, in order; a few thousand are held in memory."""
        for chunk in self._column("name").chunks:
            yield from chunk.to_pylist()

    def record(self, index: int) -> Record:
        """The record of a video; its path is that of the file to be read."""
        name, path, label, group, split = self._values(index, ("name", "path", "label", "group", "split"))
        if self._test is not None:
            split = "test" if self._test[self._place(index)] else "train"
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

        See `kinevec.data.prepare.meter.MotionMeter`.
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

    def with_split(self, share: float) -> "Manifest":
        """Holds out a share as "test" where no video names its split; see `kinevec.data.files.with_split`."""
        named = pc.sum(pc.fill_null(pc.not_equal(self._column("split"), ""), False)).as_py() or 0
        if named:
            if named < len(self):
                log.warning("%d of %d videos name no split and belong to none", len(self) - named, len(self))
            return self
        order = np.asarray(pc.sort_indices(self._column("name")))
        labels, groups = (self._ranks(name)[order] for name in ("label", "group"))
        test = np.zeros(self._table.num_rows, dtype=bool)
        places = np.arange(len(test)) if self._rows is None else self._rows
        held = held_out(labels.tolist(), groups.tolist(), share, np.random.default_rng(0))
        test[places[order[held]]] = True
        return Manifest(self.folder, self._table, self._rows, test=test, rejected=self.rejected)

    def take(self, places: ArrayLike) -> "Manifest":
        """The videos at some places of this manifest, in the order of the manifest."""
        chosen = np.sort(np.asarray(places, dtype=np.int64))
        if len(chosen) and not 0 <= chosen[0] <= chosen[-1] < len(self):
            raise ValueError(f"places {chosen[0]} to {chosen[-1]} of {len(self)} videos")
        rows = chosen if self._rows is None else self._rows[chosen]
        return Manifest(self.folder, self._table, rows, test=self._test, rejected=self.rejected)

    def without(self, failed: Mapping[int, str]) -> "Manifest":
        """The others than those at these places, which are listed as rejected with these reasons."""
        part = self.take(np.delete(np.arange(len(self)), list(failed)))
        part.rejected += tuple(Rejected(self.record(i).name, reason) for i, reason in failed.items())
        return part

    def shard(self, rank: int, world: int, seed: int) -> "Manifest":
        """The part of one of `world` processes: drawn by the seed, disjoint, together all, even to one video.

        Raises:
            ValueError: there is no such rank.
        """
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world}")
        return self.take(np.random.default_rng(seed).permutation(len(self))[rank::world])

    def listing(self) -> dict[str, Any]:
        """The manifest, and which of its rows these are: one bit for each, packed."""
        chosen = np.ones(len(self), bool) if self._rows is None else np.zeros(self._table.num_rows, bool)
        if self._rows is not None:
            chosen[self._rows] = True
        bits = zlib.compress(np.packbits(chosen).tobytes(), 9)
        return {
            "manifest": str(self.folder.resolve()),
            "identity": self.identity,
            "videos": len(self),
            "rows": base64.b64encode(bits).decode(),
        }

    def holds(self, paths: Sequence[Path]) -> NDArray[np.bool_]:
        """(len(paths),) whether each is the prepared file or the original of one of these videos."""
        root = str(self.folder.resolve())
        asked = [str(path.resolve()) for path in paths]
        inside = [os.path.relpath(path, root) if path.startswith(root + os.sep) else path for path in asked]
        original = [os.path.abspath(path) for path in paths]
        found = np.zeros(len(asked), dtype=bool)
        for column, values in (("path", inside), ("source", original), ("source", asked)):
            found |= np.asarray(pc.is_in(pa.array(values, pa.string()), self._column(column)))
        return found

    def _place(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"video {index} of {len(self)}")
        return index if self._rows is None else int(self._rows[index])

    def _values(self, index: int, columns: Sequence[str]) -> list[Any]:
        place = self._place(index)
        return [self._table.column(name)[place].as_py() for name in columns]

    def _ranks(self, name: str) -> NDArray[np.int64]:
        """(N,) the place of each text among all of its column in order, from 1; 0: empty or none."""
        encoded = self._column(name).combine_chunks().dictionary_encode()
        texts = encoded.dictionary.to_pylist()
        ranks = np.zeros(len(texts) + 1, dtype=np.int64)  # the last one is for those that have none
        ranks[sorted(range(len(texts)), key=texts.__getitem__)] = np.arange(1, len(texts) + 1)
        ranks[[i for i, text in enumerate(texts) if not text]] = 0
        places: NDArray[np.int64] = np.asarray(encoded.indices.fill_null(len(texts)), dtype=np.int64)
        return ranks[places]

    def _column(self, name: str) -> pa.ChunkedArray:
        if name == "split" and self._test is not None:
            test = self._test if self._rows is None else self._test[self._rows]
            return pa.chunked_array([pc.if_else(pa.array(test), "test", "train")])
        column = self._table.column(name)
        return column if self._rows is None else column.take(pa.array(self._rows))


def read_manifest(folder: Path) -> Manifest:
    """Opens the manifest of a folder that `kinevec prepare` wrote.

    Raises:
        InputError: there is none.
        DataError: it is damaged, or is not a manifest.
        OutputError: it was changed since it was prepared, and its folder cannot be written.
    """
    path = folder / PARQUET
    try:
        state = state_of(path)
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}; a folder of prepared videos is made by: kinevec prepare"
        ) from error
    table = _map(folder / ARROW)
    if table is None or not _belongs(table, path, state):
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


def _belongs(table: pa.Table, path: Path, state: list[int]) -> bool:
    """Whether a table was made from a Parquet file as it is now; that is read only where it was touched."""
    facts = _facts(table)
    return bool(facts.get("state") == state or facts.get("parquet") == identify(path))


def _facts(table: pa.Table) -> dict[str, Any]:
    return dict(json.loads((table.schema.metadata or {}).get(b"kinevec", b"{}")))


def _reopen(
    folder: Path, identity: str, rows: NDArray[np.int64] | None, test: NDArray[np.bool_] | None
) -> Manifest:
    table = _map(folder / ARROW)  # this is what is read: it need not be held against the Parquet file again
    if table is not None and _facts(table).get("parquet") == identity:
        return Manifest(folder, table, rows, test=test)
    manifest = read_manifest(folder)
    if identity not in (manifest.identity, tail_identity(folder / PARQUET)):
        raise DataError(f"{folder / PARQUET}: was changed while it was in use")
    return Manifest(folder, manifest._table, rows, test=test)


def read_listing(listing: Mapping[str, Any]) -> Manifest:
    """The videos that `Manifest.listing` described.

    Raises:
        InputError: the manifest is gone.
        DataError: it was changed since.
        OutputError: as for `read_manifest`.
    """
    folder = Path(listing["manifest"])
    bits = np.frombuffer(zlib.decompress(base64.b64decode(listing["rows"])), np.uint8)
    return _reopen(folder, listing["identity"], np.flatnonzero(np.unpackbits(bits)), None)
