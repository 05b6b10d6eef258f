"""Source files with the same content: wasted work within a split, a wrong score across two."""

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinevec.data.manifest import Manifest
from kinevec.data.records import Record
from kinevec.data.whole import write_text


@dataclass(frozen=True)
class Copies:
    """Two or more files with the same content.

    Attributes:
        hash: of the content.
        records: of the files, in the order of the manifest.
        sources: where the originals were.
    """

    hash: str
    records: tuple[Record, ...]
    sources: tuple[Path, ...]

    @property
    def leak(self) -> bool:
        """Whether they stand in different splits, so that a model is tested on what it was trained on."""
        return len({record.split for record in self.records if record.split}) > 1

    @property
    def contradict(self) -> bool:
        """Whether they have different labels."""
        return len({record.label for record in self.records}) > 1

    def __str__(self) -> str:
        return " = ".join(
            record.name + (f" ({record.split or 'no split'})" if self.leak else "") for record in self.records
        )


def find_copies(manifest: Manifest) -> tuple[Copies, ...]:
    """Groups of videos whose originals have the same content, in the order of the manifest."""
    codes = manifest.codes("hash")
    groups: dict[int, list[int]] = defaultdict(list)
    for place in np.flatnonzero(np.bincount(codes)[codes] > 1):
        groups[int(codes[place])].append(int(place))
    return tuple(
        Copies(
            manifest.hash(places[0]),
            tuple(manifest.record(place) for place in places),
            tuple(manifest.source(place) for place in places),
        )
        for places in groups.values()
    )


def write_copies(copies: Sequence[Copies], path: Path) -> None:
    """Writes a line `hash,name,label,split,source` for each file that has a copy; a header if there is none.

    Raises:
        OutputError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["hash", "name", "label", "split", "source"])
    for group in copies:
        for record, source in zip(group.records, group.sources, strict=True):
            writer.writerow([group.hash, record.name, record.label, record.split, source])
    write_text(path, text.getvalue())
