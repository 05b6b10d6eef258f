"""Lists of videos: a CSV with the columns `path[,label][,group][,split]`."""

import csv
import io
import logging
import os
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kinevec.data.records import Record
from kinevec.errors import DataError, InputError

log = logging.getLogger(__name__)

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "validate": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
GROUP_COLUMNS = ("group", "subject", "subject_or_group")


def read_csv(path: Path) -> tuple[Record, ...]:
    """The videos that a list names, sorted by name.

    Raises:
        InputError: it cannot be read.
        DataError: it cannot be understood; names the line.
    """
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}); save the list as UTF-8") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [(name or "").strip().lower() for name in reader.fieldnames or []]
    except csv.Error as error:
        raise DataError(f"{path} line 1: not CSV ({error})") from error
    reader.fieldnames = columns
    if "path" not in columns and any(";" in column for column in columns):
        raise DataError(f"{path}: its columns are separated by ';'; separate them by commas")
    if "path" not in columns:
        raise DataError(
            f"{path}: the first line must name the columns, among them 'path'; found: {', '.join(columns) or 'nothing'}"
        )
    group_column = next((name for name in GROUP_COLUMNS if name in columns), "group")
    unread = [name for name in columns if name not in ("path", "label", group_column, "split")]
    if "label" not in columns and unread:
        log.warning(
            "%s: has no column 'label', so that its videos have no labels; not read: %s",
            path,
            ", ".join(unread),
        )
    records: dict[str, Record] = {}
    files: dict[str, str] = {}  # where they lie → how the list names them
    for where, row in _rows(reader, path):
        name = (row["path"] or "").strip().replace("\\", "/")
        if not name:
            raise DataError(f"{where}: the path is empty")
        name = posixpath.normpath(name)  # ./a.mp4 is a.mp4
        split = (row.get("split") or "").strip().lower() or None
        if split and split not in SPLITS:
            raise DataError(f"{where}: split is '{split}'; it must be train, val or test")
        record = Record(
            path=path.parent / name,
            name=name,
            label=(row.get("label") or "").strip() or None,
            group=(row.get(group_column) or "").strip() or None,
            split=SPLITS[split] if split else None,
        )
        if records.setdefault(name, record) != record:
            raise DataError(f"{where}: {name} stands in the list twice with different entries")
        if (other := files.setdefault(os.path.abspath(record.path), name)) != name:
            raise DataError(f"{where}: {name} is the file that the list also names {other}")
    if not records:
        raise DataError(f"{path}: has no line below the one that names the columns; list a video in each")
    return tuple(records[name] for name in sorted(records))


def _rows(reader: "csv.DictReader[str]", path: Path) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Where each row of a list ends, and its fields by column; a row may lack the last ones.

    Raises:
        DataError: it is no CSV, has more fields than columns, or a field that goes on in the next line.
    """
    try:
        for row in reader:
            where = f"{path} line {reader.line_num}"
            beyond: Any = row.pop(None, None)  # a list of fields
            if any(field.strip() for field in beyond or ()):
                raise DataError(
                    f"{where}: more fields than the first line has columns; put a field that holds a comma in "
                    "quotation marks"
                )
            if any("\n" in (value or "").strip() for value in row.values()):
                raise DataError(f"{where}: a quotation mark is not closed before the end of its line")
            yield where, row
    except csv.Error as error:  # a quotation mark that is never closed, for one
        raise DataError(f"{path} line {reader.line_num + 1}: not CSV ({error})") from error
