"""Test videos that are training videos under another name: a score on them is of what was learned by heart."""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from kinevec.data.source import Collection
from kinevec.train.seen import VIDEOS

log = logging.getLogger(__name__)


def same_content(asked: Sequence[Path], others: Iterable[Path]) -> list[tuple[Path, Path]]:
    """Files with the content of another file, each with the first such one; other names of one file are left out.

    Only files of equal size are read. Files that are not there have no copies.
    """
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in dict.fromkeys(others):
        by_size[size_of(path)].append(path)
    content: dict[Path, str] = {}

    def digest(path: Path) -> str:
        if path not in content:
            content[path] = _digest(path)
        return content[path]

    found = []
    for path in asked:
        for other in by_size.get(size_of(path), []) if size_of(path) > 0 else []:
            if path.resolve() != other.resolve() and digest(path) and digest(path) == digest(other):
                found.append((path, other))
                break
    return found


def count_copies(collection: Collection, run: Path | None = None) -> int:
    """How many test videos have the content of a training video, or of one that a run was pretrained on; warns.

    Args:
        run: its folder, or a file in it. Of prepared videos only the training split is compared here.
    """
    test = {record.path: record.name for record in collection.records if record.split == "test"}
    train = {record.path: record.name for record in collection.records if record.split == "train"}
    found = same_content(list(test), [*train, *_pretrained(run)])
    for where, pairs in (
        ("training videos", [pair for pair in found if pair[1] in train]),
        ("videos that the encoder was pretrained on", [pair for pair in found if pair[1] not in train]),
    ):
        if pairs:
            path, other = pairs[0]
            log.warning(
                "%d of %d test videos are copies of %s (the same content under another name), such as %s = %s: "
                "scores on them are too high. Take them out; `kinevec prepare` lists all copies in duplicates.csv",
                *(len(pairs), len(test), where, test[path], train.get(other, str(other))),
            )
    return len(found)


def _pretrained(run: Path | None) -> list[Path]:
    """Files that a run was trained on, where it lists them one by one."""
    listed = (run.parent if run.is_file() else run) / VIDEOS if run else None
    try:
        listing = json.loads(listed.read_text("utf-8")) if listed else []
    except (OSError, ValueError):
        return []
    return [Path(path) for path in listing] if isinstance(listing, list) else []


def size_of(path: Path) -> int:
    """Bytes of a file; -1 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _digest(path: Path) -> str:
    """Of the content of a file; "" where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return ""
