"""From a folder or a list to records: which videos there are, and what is known of each.

Understood: a tree with one folder per class, the same below `train/`, `val/`, `test/`, a flat folder
without labels, a single video, and a CSV with the columns `path[,label][,group][,split]`
(a folder that holds a `labels.csv` is read by it).
"""

import logging
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinevec.data.lists import SPLITS, read_csv
from kinevec.data.records import Record, some
from kinevec.errors import InputError

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


def find_records(source: Path) -> tuple[Record, ...]:
    """Lists the videos of a folder, a CSV or a single file, sorted by name.

    Labels come from folders or the list; nothing is opened or decoded. Names are relative to the
    folder (of the list) and unique, whatever the base names are.

    Raises:
        InputError: the source is not there, or holds no video file.
        DataError: the list cannot be understood; names the line.
    """
    if source.is_file():
        records = read_csv(source) if source.suffix.lower() == ".csv" else (Record(source, source.name),)
    elif source.is_dir():
        listed = source / "labels.csv"
        records = read_csv(listed) if listed.is_file() else _read_tree(source)
    else:
        raise InputError(f"{source}: no such folder, list or video")
    if not records:
        known = " ".join(sorted(suffix.lstrip(".") for suffix in VIDEO_SUFFIXES))
        prepared = [path.parent.name for path in source.glob(f"*/{PREPARED}")] if source.is_dir() else []
        name = f"; name a folder of prepared videos itself: {some(sorted(prepared))}" if prepared else ""
        raise InputError(f"{source}: no video files found (looked for {known}){name}")
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
        log.warning("all videos belong to one group, which is split between train and test")
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
