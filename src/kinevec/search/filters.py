"""Which clips are asked for: by folder, label, split, words in the name, group of a clustering, and time."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Filter:
    """Clips that satisfy all that is given; `Filter()` is all clips.

    Attributes:
        folder: of the video, as in its name: "a/b" is the folder a/b and all below it.
        labels: the video's label, or the one given to the clip, is one of these; "" is no label.
        splits: likewise "train", "val", "test", "".
        text: stands somewhere in the video's name, whatever the case of its letters.
        after, before: the clip lies between these seconds of its video.
        cluster: number of the group that `kinevec cluster` put it in.
        video: number of the video.
    """

    folder: str = ""
    labels: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    text: str = ""
    after: float | None = None
    before: float | None = None
    cluster: int | None = None
    video: int | None = None

    def where(self) -> tuple[str, list[Any]]:
        """A condition in SQL on `clips c JOIN videos v LEFT JOIN labels l`, and its parameters."""
        parts: list[tuple[str, list[Any]]] = []
        if self.folder.strip("/"):
            parts.append(("substr(v.name, 1, ?) = ?", _prefix(self.folder)))
        if self.labels:
            marks = ", ".join("?" * len(self.labels))
            parts.append((f"coalesce(l.label, v.label, '') IN ({marks})", list(self.labels)))
        if self.splits:
            marks = ", ".join("?" * len(self.splits))
            parts.append((f"coalesce(v.split, '') IN ({marks})", list(self.splits)))
        if self.text:
            parts.append(("instr(folded(v.name), ?) > 0", [self.text.casefold()]))
        for condition, value in (
            ("c.start >= ?", self.after),
            ("c.stop <= ?", self.before),
            ("c.cluster = ?", self.cluster),
            ("v.id = ?", self.video),
        ):
            if value is not None:
                parts.append((condition, [value]))
        return " AND ".join(part for part, _ in parts) or "1", [x for _, values in parts for x in values]

    def __bool__(self) -> bool:
        """Whether anything is asked for."""
        return self != Filter()


def _prefix(folder: str) -> list[Any]:
    prefix = folder.strip("/") + "/"
    return [len(prefix), prefix]
