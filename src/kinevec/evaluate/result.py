"""The JSON of an evaluation: how it is written, and what is read from it again."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kinevec.data.records import Record
from kinevec.data.whole import write_text
from kinevec.errors import InputError
from kinevec.evaluate.copies import size_of
from kinevec.evaluate.outcomes import SHOT, TOP1, Outcomes

DIGITS = 6


def outcomes_content(outcomes: Mapping[str, Outcomes]) -> dict[str, Any]:
    """What is kept of every test video.

    Returns:
        `videos` and `labels` (V,), `hits`: encoder → score → (V,), `predicted`: encoder → protocol → for each
        repetition (V,) places in `classes`; not of few-shot, whose many draws would take most of the file.
    """
    first = next(iter(outcomes.values()))
    predicted = {
        encoder: {name: rows for name, rows in found.predicted.items() if not name.endswith(SHOT)}
        for encoder, found in outcomes.items()
    }
    guessed = (
        label for found in predicted.values() for rows in found.values() for row in rows for label in row
    )
    classes = sorted({*first.labels, *guessed})
    place = {label: i for i, label in enumerate(classes)}
    return {
        "classes": classes,
        "videos": list(first.videos),
        "labels": list(first.labels),
        "hits": {
            encoder: {name: [_short(hit) for hit in hits] for name, hits in found.hits.items()}
            for encoder, found in outcomes.items()
        },
        "predicted": {
            encoder: {
                protocol: [[place[label] for label in row] for row in rows]
                for protocol, rows in found.items()
            }
            for encoder, found in predicted.items()
        },
    }


def per_class(outcomes: Outcomes) -> dict[str, dict[str, float]]:
    """Class → "videos", and for each score that says whether the first guess is right, percent of them."""
    labels = np.array(outcomes.labels)
    names = [name for name in outcomes.hits if name.endswith(TOP1) or name == "R@1"]
    return {
        label: {"videos": int((labels == label).sum())}
        | {name: 100 * float(outcomes.hits[name][labels == label].mean()) for name in names}
        for label in sorted(set(outcomes.labels))
    }


def train_fingerprint(records: Sequence[Record]) -> str:
    """The same for the same names and labels in the same order only."""
    digest = hashlib.blake2b(digest_size=16)
    for record in records:
        digest.update(repr((record.name, record.label)).encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def files_fingerprint(records: Sequence[Record]) -> str:
    """The same for files of the same names and sizes only, in any order; no file is read.

    Sets that differ in their pixels alone have the same names, such as colour beside depth, or before and after encoding.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, size in sorted((record.name, size_of(record.path)) for record in records):
        digest.update(repr((name, size)).encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def write_result(path: Path, content: Mapping[str, Any]) -> None:
    """Writes an evaluation as JSON, atomically; long lists take one line each.

    Raises:
        OutputError: it cannot be written.
    """
    write_text(path, _text(content, 0) + "\n")


def read_result(path: Path) -> dict[str, Any]:
    """Reads an evaluation with what it found of every video.

    Raises:
        InputError: there is none, or it holds no outcomes.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is no file; name the JSON file of an evaluation")
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, dict) or not content.get("outcomes"):
        raise InputError(
            f"{path}: holds no outcomes of single videos; write it anew with `kinevec eval` on labelled videos"
        )
    return content


def _short(value: float) -> float | int:
    return int(value) if value in (0, 1) else round(float(value), DIGITS)


def _text(value: Any, depth: int) -> str:
    """JSON with two spaces a level, and every list on one line."""
    if isinstance(value, Mapping) and value:
        pad = "  " * (depth + 1)
        lines = [
            f"{pad}{json.dumps(str(key), ensure_ascii=False)}: {_text(item, depth + 1)}"
            for key, item in value.items()
        ]
        return "{\n" + ",\n".join(lines) + "\n" + "  " * depth + "}"
    return json.dumps(value, ensure_ascii=False)
