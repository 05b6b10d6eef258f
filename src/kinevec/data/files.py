"""From a folder or a list to records: which videos there are, and what is known of each.

Understood: a tree with one folder per class, the same below `train/`, `val/`, `test/`, a flat folder
without labels, a single video, and a CSV with the columns `path[,label][,group][,split]`
(a folder that holds a `labels.csv` is read by it).
"""

import csv
import io
import logging
import os
import posixpath
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinevec.data.records import Record, some
from kinevec.errors import DataError, InputError

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset(
    [
        ".mp4",
        ".m4v",
        ".mov",
        ".avi",
        ".mkv",
        ".webm",
        ".mpg",
        ".mpeg",
        ".wmv",
        ".flv",
        ".3gp",
        ".ts",
        ".mts",
        ".m2ts",
        ".ogv",
        ".gif",
    ]
)
LOOK, FILM = (
    "look.json",
    "activation.mp4",
)  # of `kinevec show`; the film shows a video, and is none to learn from
PREPARED = "prepare.json"  # lies in every folder that `kinevec prepare` made
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


def find_records(source: Path) -> tuple[Record, ...]:
    """Lists the videos of a folder, a CSV or a single file, sorted by name.

    Labels come from folders or the list; nothing is opened or decoded. Names are relative to the
    folder (of the list) and unique, whatever the base names are.

    Raises:
        InputError: the source is not there, or holds no video file.
        DataError: the list cannot be understood; names the line.
    """
    if source.is_file():
        records = _read_csv(source) if source.suffix.lower() == ".csv" else (Record(source, source.name),)
    elif source.is_dir():
        listed = source / "labels.csv"
        records = _read_csv(listed) if listed.is_file() else _read_tree(source)
    else:
        raise InputError(f"{source}: no such folder, list or video")
    if not records:
        known = " ".join(sorted(suffix.lstrip(".") for suffix in VIDEO_SUFFIXES))
        raise InputError(f"{source}: no video files found (looked for {known})")
    return records


def with_split(records: Sequence[Record], share: float) -> tuple[Record, ...]:
    """Marks every record as "train" or "test" where the data name no split; else leaves them as they are.

    The choice depends on names, labels and groups of all listed videos: pretraining and evaluation agree
    on it where they are given the same list.
    """
    named = sum(bool(record.split) for record in records)
    if named:
        if named < len(records):
            log.warning(
                "%d of %d videos name no split and belong to none", len(records) - named, len(records)
            )
        return tuple(records)
    ordered = sorted(records, key=lambda record: record.name)
    held = held_out(
        [record.label or "" for record in ordered],
        [record.group for record in ordered],
        share,
        np.random.default_rng(0),
    )
    test = {record.name for record, out in zip(ordered, held, strict=True) if out}
    return tuple(replace(record, split="test" if record.name in test else "train") for record in records)


def held_out(
    labels: Sequence[str] | Sequence[int],
    groups: Sequence[str | None] | Sequence[int],
    share: float,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Chooses videos to hold out: whole groups where there are any, else the share of each label.

    Where the share of each label rounds to nothing, it is taken of all videos together. At least one video
    stays on each side, if there are two.

    Args:
        labels: of each video: names, or numbers in the order of the names.
        groups: likewise; None, "" or 0: the video is a group by itself.

    Returns:
        (V,), True where a video is held out.
    """
    held = np.zeros(len(labels), dtype=bool)
    named: list[Any] = sorted({group for group in groups if group})
    alone = [place for place, group in enumerate(groups) if not group]
    total = len(named) + len(alone)
    if named and total > 1:
        count = min(max(1, round(share * total)), total - 1)
        chosen = rng.permutation(total)[:count]
        groups_held = {named[i] for i in chosen if i < len(named)}
        held[:] = [group in groups_held for group in groups]
        held[[alone[i - len(named)] for i in chosen if i >= len(named)]] = True
        return held
    if named:
        log.warning("all videos belong to one group ('%s'), which is split between train and test", named[0])
    by_label: dict[Any, list[int]] = defaultdict(list)
    for place, label in enumerate(labels):
        by_label[label].append(place)
    for _, places in sorted(by_label.items()):
        held[rng.permutation(places)[: round(share * len(places))]] = True
    if len(labels) > 1 and not held.any():
        held[rng.permutation(len(labels))[: max(1, round(share * len(labels)))]] = True
    if len(labels) > 1 and held.all():
        held[0] = False
    return held


def _read_tree(root: Path) -> tuple[Record, ...]:
    names = sorted(_walk(root))
    parts = [name.split("/") for name in names]
    splits = {part[0].lower() for part in parts}
    depth = 0
    if names and splits <= set(SPLITS) and all(len(part) > 1 for part in parts):
        depth = 1  # train/…, test/…
    elif splits & set(SPLITS) and len(splits) > 1:
        log.warning(
            "%s: folders named like splits (%s) stand beside others (%s): all are taken for classes, and none for a split. "
            "Move the others away, or give a list with a column 'split'",
            root,
            ", ".join(sorted(splits & set(SPLITS))),
            some(sorted(splits - set(SPLITS))),
        )
    labels = {part[depth] for part in parts if len(part) > depth + 1}
    outside = sum(len(part) == depth + 1 for part in parts)
    labelled = len(labels) > 1 and not outside
    if len(labels) == 1 and not outside:
        log.warning(
            "%s: there is only one class folder, '%s', and scores need at least two; reading it without labels",
            root,
            *labels,
        )
    elif labels and not labelled:
        log.warning(
            "%s: not one folder per class (videos outside a class folder: %d; class folders: %d); "
            "reading it without labels",
            root,
            outside,
            len(labels),
        )
    return tuple(
        Record(
            path=root / name,
            name=name,
            label=part[depth] if labelled else None,
            split=SPLITS[part[0].lower()] if depth else None,
        )
        for name, part in zip(names, parts, strict=True)
    )


def _walk(root: Path) -> Iterator[str]:
    """Names of all video files below a folder, but for our own films; follows links, enters every real folder once."""
    entered: set[str] = set()

    def unreadable(error: OSError) -> None:
        log.warning("%s: cannot be read: %s; its videos are missing", error.filename, error.strerror)

    for folder, subfolders, files in os.walk(str(root), onerror=unreadable, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:
            subfolders.clear()
            continue
        entered.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if PREPARED in files and folder != str(root):
            log.info("%s: holds prepared videos, which are copies; not taken", folder)
            subfolders.clear()
            continue
        for name in files:
            if name == FILM and LOOK in files:
                continue
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES:
                yield os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/")


def _read_csv(path: Path) -> tuple[Record, ...]:
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}); save the list as UTF-8") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = [(name or "").strip().lower() for name in reader.fieldnames or []]
    reader.fieldnames = columns
    if "path" not in columns and any(";" in column for column in columns):
        raise DataError(f"{path}: its columns are separated by ';'; separate them by commas")
    if "path" not in columns:
        raise DataError(
            f"{path}: the first line must name the columns, among them 'path'; found: {', '.join(columns) or 'nothing'}"
        )
    group_column = next((name for name in GROUP_COLUMNS if name in columns), "group")
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
    return tuple(records[name] for name in sorted(records))


def _rows(reader: "csv.DictReader[str]", path: Path) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Where each row of a list ends, and its fields by column; a row may lack the last ones.

    Raises:
        DataError: it is no CSV, has more fields than columns, or a field that goes on in the next line.
    """
    try:
        for row in reader:
            where = f"{path} line {reader.line_num}"
            if None in row:
                raise DataError(
                    f"{where}: more fields than the first line has columns; put a field that holds a comma in "
                    "quotation marks"
                )
            if any("\n" in (value or "").strip() for value in row.values()):
                raise DataError(f"{where}: a quotation mark is not closed before the end of its line")
            yield where, row
    except csv.Error as error:  # a quotation mark that is never closed, for one
        raise DataError(f"{path} line {reader.line_num}: not CSV ({error})") from error
