"""What came of preparing videos, in numbers and words."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kinevec.data.duplicates import Copies
from kinevec.data.prepare.entries import Refusal
from kinevec.data.reasons import KINDS, Kind
from kinevec.data.records import Record, some
from kinevec.data.whole import write_text


@dataclass
class Summary:
    """What `prepare` did and found.

    Attributes:
        folder: the output folder.
        videos: in the manifest.
        new: prepared by this run.
        frames, seconds: of all prepared videos.
        size: bytes of the files to be read.
        single: videos of one frame; they are kept.
        rejected: kind → number of the files that were left out.
        copies: files with the same content.
        vanished: names that were in the manifest before and are not among the records any more.
        inside: files that were not taken because they lie in the output folder itself.
    """

    folder: Path
    videos: int = 0
    new: int = 0
    frames: int = 0
    seconds: float = 0.0
    size: int = 0
    single: int = 0
    rejected: Counter[Kind] = field(default_factory=Counter)
    copies: tuple[Copies, ...] = ()
    vanished: tuple[str, ...] = ()
    inside: int = 0

    def lines(self) -> list[str]:
        """The summary in words."""
        minutes, megabytes = self.seconds / 60, self.size / 1e6
        lines = [
            f"{self.videos:,} videos are ready ({self.new:,} of them new): {self.frames:,} frames, "
            f"{minutes:,.1f} minutes, {megabytes:,.1f} MB",
        ]
        if self.single:
            lines.append(f"{self.single:,} of them have a single frame")
        if self.rejected:
            lines.append(
                f"{self.rejected.total():,} files were left out (see {self.folder / 'rejected.csv'}):"
            )
            lines += [f"  {count:,} {kind}: {KINDS[kind]}" for kind, count in self.rejected.most_common()]
        if self.copies:
            extra = sum(len(group.records) - 1 for group in self.copies)
            lines.append(f"{extra:,} files are copies of others (see {self.folder / 'duplicates.csv'})")
        if self.vanished:
            lines.append(
                f"{len(self.vanished):,} videos are gone from the source and from the manifest: "
                f"{some(self.vanished)}"
            )
        if self.inside:
            lines.append(f"{self.inside:,} files lie in the output folder itself and were not taken")
        return lines


def write_rejected(rejected: Sequence[tuple[Record, Refusal]], path: Path) -> None:
    """Writes a line `name,kind,reason,source` for each file that was left out; a header if there is none.

    Raises:
        OutputError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "kind", "reason", "source"])
    writer.writerows((record.name, why.kind, why.reason, record.path) for record, why in rejected)
    write_text(path, text.getvalue())
