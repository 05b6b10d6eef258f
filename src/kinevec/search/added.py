"""What adding videos to an index did, in numbers and in words."""

from dataclasses import dataclass, field

from kinevec.data.records import some
from kinevec.data.source import Rejected

REJECTED = "rejected.csv"


@dataclass
class Added:
    """What `add` did. Counts are of videos unless they say otherwise."""

    embedded: int = 0
    clips: int = 0  # of these
    looped: int = 0  # of these, shorter than a clip
    unchanged: int = 0
    moved: int = 0  # known content at another path; nothing was embedded
    copies: int = 0  # files with the content of another one that is there too
    vanished: list[str] = field(default_factory=list)  # in the index, but their files are gone
    pruned: int = 0  # of these, taken out
    rejected: list[Rejected] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The same in words."""
        lines = [f"{self.embedded:,} videos embedded ({self.clips:,} clips), {self.unchanged:,} unchanged"]
        if self.looped:
            lines.append(
                f"{self.looped:,} of them are shorter than a clip and are looped; --length makes clips shorter"
            )
        if self.moved:
            lines.append(f"{self.moved:,} videos moved or renamed; their vectors were kept")
        if self.copies:
            lines.append(f"{self.copies:,} files have the content of another one and stand for it")
        if self.pruned:
            lines.append(f"{self.pruned:,} videos that are no longer there taken out")
        elif self.vanished:
            lines.append(
                f"{len(self.vanished):,} videos of the index are no longer there ({some(self.vanished)}); "
                "--prune takes them out"
            )
        if self.rejected:
            lines.append(f"{len(self.rejected):,} files left out; {REJECTED} says why")
        return lines
