"""What a report shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kinevec.show.curves import Curve


@dataclass(frozen=True)
class Neighbour:
    """A video that an encoder finds similar to a query; `similarity` is a cosine."""

    path: Path
    name: str
    label: str | None
    similarity: float


@dataclass(frozen=True)
class Row:
    """A query video, and by encoder name its neighbours, the most similar first."""

    query: Path
    name: str
    label: str | None
    neighbours: Mapping[str, tuple[Neighbour, ...]]


@dataclass(frozen=True)
class Section:
    """A further part of a page.

    Attributes:
        key: of links to it.
        content: HTML.
        style: CSS rules that it needs.
    """

    key: str
    title: str
    content: str
    style: str = ""


@dataclass(frozen=True)
class Report:
    """What a report shows.

    Attributes:
        title: heading of the page.
        summary: plain sentences; the first says the most important.
        scores: encoder name → score name → percent; empty where there are no labels. An encoder named
            "untrained" is the one that the others are compared with.
        chance: score name → percent that guessing would reach.
        curves: of training.
        rows: queries with their neighbours.
        facts: how the report was made: seed, versions, commit, machine, minutes, command.
        intervals: encoder name → score name → ends of its 95 % interval in percent, where they are known.
        sections: further parts, which stand after the scores.
    """

    title: str
    summary: Sequence[str]
    scores: Mapping[str, Mapping[str, float]]
    chance: Mapping[str, float]
    curves: Sequence[Curve]
    rows: Sequence[Row]
    facts: Mapping[str, str]
    intervals: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    sections: Sequence[Section] = ()
