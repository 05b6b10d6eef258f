"""The manifest on the disk: a Parquet file for everybody, and beside it the same table to be mapped.

`manifest.parquet` is the one that counts: any tool may read it, and may change labels, splits or the choice
of rows. `manifest.arrow` is made from it; one that does not belong to it is made anew on opening.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kinevec.data.frametable import FrameTable
from kinevec.data.whole import write_whole, writing
from kinevec.errors import DataError

PARQUET = "manifest.parquet"
ARROW = "manifest.arrow"

TICK = 0.02  # seconds: times of change of files are no finer than this
# Rows are written in groups of at most so many, and of at most so many values in their lists.
_GROUP_ROWS = 16_384
_GROUP_VALUES = 2_000_000

SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), False),  # relative to the videos' folder: the key
        pa.field("path", pa.string(), False),  # of the file to be read, relative to the manifest's folder
        pa.field("label", pa.string()),
        pa.field("group", pa.string()),
        pa.field("split", pa.string()),
        pa.field("source", pa.string(), False),  # where the original was
        pa.field("hash", pa.string(), False),  # of its content: BLAKE2b, 128 bits
        pa.field("size", pa.int64(), False),  # bytes of the file to be read
        pa.field("seconds", pa.float64(), False),  # from the first frame to the last
        pa.field("fps", pa.float64(), False),  # mean; 0 for a single frame
        # the frame table; see kinevec.data.frametable.FrameTable
        pa.field("frames", pa.int32(), False),
        pa.field("width", pa.int32(), False),
        pa.field("height", pa.int32(), False),
        pa.field("codec", pa.string(), False),
        pa.field("time_base_num", pa.int64(), False),
        pa.field("time_base_den", pa.int64(), False),
        pa.field("timed", pa.bool_(), False),
        pa.field("pts_first", pa.int64(), False),
        pa.field("pts_step", pa.int64(), False),
        pa.field("pts_steps", pa.list_(pa.int64())),
        pa.field("key_every", pa.int32(), False),
        pa.field("keys", pa.list_(pa.int64())),
        # motion statistics of each frame; see kinevec.data.prepare.meter.MotionMeter
        pa.field("energy", pa.list_(pa.float32())),
        pa.field("change", pa.list_(pa.float32())),
    ]
)
TABLE_COLUMNS = tuple(field.name for field in fields(FrameTable))
Row = dict[str, Any]


def write_manifest(folder: Path, rows: Iterable[Row], *, complete: bool) -> int:
    """Writes both files of a manifest; each is whole or as it was before. Returns the number of rows.

    Args:
        rows: one after the other; only some thousands are held in memory.
        complete: False where the work that makes the rows was interrupted.

    Raises:
        OutputError: they cannot be written.
    """
    schema = SCHEMA.with_metadata({"kinevec": json.dumps({"complete": complete})})
    count = 0

    def write(aside: Path) -> None:
        nonlocal count
        with pq.ParquetWriter(aside, schema, compression="zstd") as writer:
            for batch in _batches(rows, schema):
                writer.write_batch(batch)
                count += batch.num_rows

    write_whole(folder / PARQUET, write)
    map_manifest(folder)
    return count


def map_manifest(folder: Path) -> None:
    """Makes `manifest.arrow` from `manifest.parquet`.

    Raises:
        DataError: the manifest lacks a column, or is no Parquet file.
        OutputError: the folder cannot be written.
    """
    path = folder / PARQUET
    with writing(path):
        time.sleep(TICK)  # whatever is changed from now on has another time of change
        state = state_of(path)
        identity = identify(path)
    try:
        source = pq.ParquetFile(path)
        missing = [name for name in SCHEMA.names if name not in source.schema_arrow.names]
        if missing:
            raise DataError(f"{path}: lacks the columns {', '.join(missing)}; prepare the videos again")
        kept = json.loads((source.schema_arrow.metadata or {}).get(b"kinevec", b"{}"))
        schema = SCHEMA.with_metadata({"kinevec": json.dumps(kept | {"parquet": identity, "state": state})})

        def write(aside: Path) -> None:
            with pa.OSFile(str(aside), "wb") as file, pa.ipc.new_file(file, schema) as writer:
                for group in range(source.num_row_groups):
                    table = source.read_row_group(group, columns=SCHEMA.names)
                    writer.write_table(table.select(SCHEMA.names).cast(schema))

        with source:
            write_whole(folder / ARROW, write)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{path}: is damaged, or not a manifest ({error})") from error


def state_of(path: Path) -> list[int]:
    """Size and time of change of a file, by which one that was not touched is known without being read.

    Raises:
        OSError: it is not there.
    """
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def tail_identity(path: Path) -> str:
    """What `identify` was in earlier versions: the size, and the hash of the last 64 KiB."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - (1 << 16)))
        return f"{size}-{hashlib.blake2b(file.read(), digest_size=8).hexdigest()}"


def identify(path: Path) -> str:
    """What tells one state of a Parquet file from another: its size, and the hash of all of it.

    A corrected label changes some bytes near the beginning and often nothing else, not even the size.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8))
        return f"{size}-{digest.hexdigest()}"


def _batches(rows: Iterable[Row], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    group: list[Row] = []
    values = 0
    for row in rows:
        group.append(row)
        values += row["frames"]
        if len(group) == _GROUP_ROWS or values > _GROUP_VALUES:
            yield pa.RecordBatch.from_pylist(group, schema)
            group, values = [], 0
    if group:
        yield pa.RecordBatch.from_pylist(group, schema)
