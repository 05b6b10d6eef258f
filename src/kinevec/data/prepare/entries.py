"""What is known of each file that was looked at: prepared, or refused; as lines of JSON."""

import base64
import json
import os
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinevec.data.frametable import FrameTable
from kinevec.data.manifest_file import Row
from kinevec.data.prepare.check import Stamp
from kinevec.data.reasons import Kind
from kinevec.data.records import Record

Scores = NDArray[np.float32]  # (F,)


@dataclass(frozen=True)
class Refusal:
    """A file that was left out, and why."""

    kind: Kind
    reason: str


@dataclass(frozen=True)
class Prepared:
    """A file that is ready to be read.

    Attributes:
        file: where the prepared one lies, relative to the output folder; "" where the original is used.
        size: bytes of the file to be read.
        hash: of the source's content.
        table: of the file to be read.
        energy, change: motion statistics of its frames, (F,); None where they were not asked for.
    """

    file: str
    size: int
    hash: str
    table: FrameTable
    energy: Scores | None
    change: Scores | None

    def row(self, record: Record) -> Row:
        """The row of the video in the manifest."""
        source = os.path.abspath(record.path)
        seconds = self.table.seconds
        return {
            "name": record.name,
            "path": self.file or source,
            "label": record.label,
            "group": record.group,
            "split": record.split,
            "source": source,
            "hash": self.hash,
            "size": self.size,
            "seconds": seconds,
            "fps": (self.table.frames - 1) / seconds if seconds > 0 else 0.0,
            **vars(self.table),
            "energy": self.energy,
            "change": self.change,
        }


@dataclass(frozen=True)
class Entry:
    """What became of one source file, and what the file was like then."""

    name: str
    stamp: Stamp
    result: Prepared | Refusal

    def to_line(self) -> bytes:
        """One line of JSON."""
        tree: dict[str, Any] = {"name": self.name, "size": self.stamp.size, "mtime_ns": self.stamp.mtime_ns}
        if isinstance(self.result, Refusal):
            tree["refused"] = asdict(self.result)
        else:
            known = {key: getattr(self.result, key) for key in ("file", "size", "hash")}
            motion = {key: _pack(getattr(self.result, key)) for key in ("energy", "change")}
            tree["prepared"] = known | motion | {"table": vars(self.result.table)}
        return json.dumps(tree, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Entry":
        """Reads what `to_line` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            tree = json.loads(line)
            result: Prepared | Refusal
            if "refused" in tree:
                result = Refusal(**tree["refused"])
            else:
                values = tree["prepared"]
                values["table"] = FrameTable(**values["table"])
                for key in ("energy", "change"):
                    values[key] = _unpack(values[key])
                result = Prepared(**values)
            return cls(tree["name"], Stamp(tree["size"], tree["mtime_ns"]), result)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a line of the journal: {error}") from error


def _pack(scores: Scores | None) -> str | None:
    return None if scores is None else base64.b64encode(scores.astype("<f4").tobytes()).decode()


def _unpack(text: str | None) -> Scores | None:
    return None if text is None else np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32)
