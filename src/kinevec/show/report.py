"""One page that shows what an encoder learned: scores, training curves, and videos beside their neighbours.

The page is a single file that asks nothing of the network: style, script and videos stand inside it, and
its content security policy forbids the rest, also to whatever the names and labels of videos may hold.
"""

import base64
import hashlib
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from kinevec.errors import OutputError
from kinevec.show.curves import BASELINE, figure, line_styles
from kinevec.show.curves import Curve as Curve
from kinevec.show.thumbnails import MAX_SECONDS, Videos

MEANINGS = {
    r"R@\d+": (
        "R@k",
        "Retrieval. For every test video, the k most similar training videos are looked up. R@k is the share "
        "of test videos for which at least one of those k has the same label.",
    ),
    r"linear.*": (
        "Linear probe",
        "The encoder is frozen and one linear layer on top of it learns to name the labels. Its accuracy on "
        "test videos says how much of what the labels mean can be read straight off the features.",
    ),
}


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


def write_report(path: Path, report: Report) -> None:
    """Writes the page to `path`, whole or not at all; an older page there is replaced.

    A video that does not decode is shown as a note that says why.

    Raises:
        OutputError: the page cannot be written there.
    """
    content = _page(report).encode("utf-8", "replace")  # names of files may hold bytes that are no text
    aside = path.with_name(f".{path.name[:50]}.{os.getpid()}")
    try:
        try:
            aside.write_bytes(content)
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)  # there only if something failed
    except OSError as error:
        raise OutputError(f"{path}: the report cannot be written: {error.strerror or error}") from error


def _page(report: Report) -> str:
    encoders = dict.fromkeys([*report.scores, *(name for row in report.rows for name in row.neighbours)])
    styles = line_styles(encoders)
    videos = Videos(file for row in report.rows for file in _files(row))
    parts = {
        "scores": ("Scores", _scores(report, styles)),
        **{section.key: (section.title, section.content) for section in report.sections},
        "neighbours": ("Nearest neighbours", _rows(report.rows, styles, videos)),
        "training": ("Training", "".join(figure(curve, styles) for curve in report.curves)),
        "facts": ("How this was made", _pairs("facts", report.facts)),
    }
    shown = {key: part for key, part in parts.items() if part[1]}
    links = "".join(f'<a href="#{key}">{escape(title)}</a>' for key, (title, _) in shown.items())
    sections = "".join(
        f'<section id="{key}" aria-labelledby="{key}-title">\n<h2 id="{key}-title">{escape(title)}</h2>\n{content}\n</section>\n'
        for key, (title, content) in shown.items()
    )
    script = _package_text("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Template(_package_text("report.html")).substitute(
        title=escape(report.title),
        script_digest=digest,
        style=_package_text("report.css") + "".join(s.style for s in report.sections) + videos.posters(),
        summary="".join(f"<p>{escape(sentence)}</p>\n" for sentence in report.summary),
        links=links,
        sections=sections,
        videos=videos.contents(),
        script=script,
    )


def _package_text(name: str) -> str:
    return resources.files("kinevec.show").joinpath(name).read_text("utf-8")


def _files(row: Row) -> list[Path]:
    return [row.query, *(near.path for found in row.neighbours.values() for near in found)]


def _pairs(style: str, pairs: Mapping[str, str]) -> str:
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in pairs.items()
    )
    return f'<dl class="{style}">{items}</dl>' if items else ""


def _scores(report: Report, styles: Mapping[str, str]) -> str:
    names = dict.fromkeys(name for scores in report.scores.values() for name in scores)
    if not names:
        return (
            '<p class="about">These videos have no labels, so there is nothing to count and no score to give. '
            "The nearest neighbours can be judged by eye: does what an encoder puts beside a video move like it?</p>"
        )
    panels = "".join(_panel(name, report, styles) for name in names)
    return f'<div class="panels">{panels}</div>{_pairs("terms", _terms(names, report))}'


def _terms(names: Iterable[str], report: Report) -> dict[str, str]:
    """What the words and numbers of the scores mean, as far as they appear."""
    terms = {
        term: text
        for pattern, (term, text) in MEANINGS.items()
        if any(re.match(pattern, name) for name in names)
    }
    if BASELINE in report.scores:
        terms["Untrained"] = (
            "The same network with the random weights it started from. Even those tell some videos apart; only "
            "what goes beyond them was learned, so each encoder also shows its difference to it in points."
        )
    if report.intervals:
        terms["Intervals"] = (
            "The small numbers, and the thin lines on the bars: where the score would lie in 95 of 100 draws of as many "
            "test videos. They say nothing about other runs of the training."
        )
    if report.chance:
        terms["Chance"] = (
            "What guessing without looking would reach: the upright line across the bars. A score of 3.0\u00a0× chance is "
            "three times that; an encoder at 1.0\u00a0× chance knows nothing about the labels."
        )
    return terms


def _panel(name: str, report: Report, styles: Mapping[str, str]) -> str:
    """One score of all encoders: a table, and a bar under every line."""
    chance = report.chance.get(name, math.nan)
    base = report.scores.get(BASELINE, {}).get(name, math.nan)
    columns = ["percent"]
    columns += ["vs untrained"] if math.isfinite(base) else []
    columns += ["vs chance"] if math.isfinite(chance) else []
    lines = ""
    for encoder, scores in report.scores.items():
        value = scores.get(name, math.nan)
        ends = report.intervals.get(encoder, {}).get(name)
        gain = "" if encoder == BASELINE else _points(value - base)
        cells = {
            "percent": _percent(value) + _ends(ends),
            "vs untrained": gain,
            "vs chance": _times(value, chance),
        }
        lines += (
            f'<tr><th scope="row"><i class="key {styles[encoder]}"></i>{escape(encoder)}</th>'
            + "".join(f"<td>{cells[column]}</td>" for column in columns)
            + f'</tr><tr aria-hidden="true"><td colspan="4">{_bar(value, chance, styles[encoder], ends)}</td></tr>'
        )
    if math.isfinite(chance):
        empty = "<td></td>" * (len(columns) - 1)
        lines += (
            '<tr class="chance"><th scope="row"><i class="key"></i>chance</th>'
            f"<td>{_percent(chance)}</td>{empty}</tr>"
        )
    head = "".join(f'<th scope="col">{column}</th>' for column in ["encoder", *columns])
    return (
        f'<div class="panel"><table><caption>{escape(name)}<small>{_meaning(name)}</small></caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _meaning(name: str) -> str:
    """What a point of a score is given for."""
    if found := re.fullmatch(r"R@(\d+)", name):
        nearest = "the nearest video" if found[1] == "1" else f"at least one of the {found[1]} nearest videos"
        return f"{nearest} has the right label"
    return "a linear layer on the features names the right label" if name.startswith("linear") else ""


def _ends(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f" <small>{ends[0]:.0f}–{ends[1]:.0f}</small>"


def _bar(value: float, chance: float, style: str, ends: tuple[float, float] | None = None) -> str:
    """A bar of `value` percent with a mark at chance and its interval; the numbers beside it say the same in text."""
    share = min(max(value, 0), 100) if math.isfinite(value) else 0
    mark = (
        f'<i class="mark" style="left:{min(max(chance, 0), 100):.2f}%"></i>' if math.isfinite(chance) else ""
    )
    whisker = (
        f'<i class="whisker" style="left:{ends[0]:.2f}%;width:{ends[1] - ends[0]:.2f}%"></i>' if ends else ""
    )
    return f'<div class="bar" aria-hidden="true"><i class="{style}" style="width:{share:.2f}%"></i>{whisker}{mark}</div>'


def _percent(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "–"


def _points(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−") if math.isfinite(value) else "–"


def _times(value: float, chance: float) -> str:
    return f"{value / chance:.1f}\u00a0×" if math.isfinite(value) and chance > 0 else "–"


def _rows(rows: Sequence[Row], styles: Mapping[str, str], videos: Videos) -> str:
    if not rows:
        return ""
    labelled = any(row.label is not None for row in rows)
    about = (
        "Every row starts with a query video. Beside it stand, for each encoder, the videos it finds most similar, "
        "nearest first, with the cosine similarity of their features (1: same direction, 0: unrelated). "
    )
    about += (
        'A green frame and <span class="sign">✓</span> mark those that have the same label as the query. '
        if labelled
        else "Without labels your eyes are the judge: do they move like the query? "
    )
    about += f"Each video loops up to {MAX_SECONDS:.0f} seconds at its real speed, small and without sound."
    return (
        f'<p class="about">{about}</p><div class="rows" style="--shape:{videos.shape:.3f}">'
        '<button type="button" id="playing" hidden></button>'
        + "".join(_row(place, row, styles, videos) for place, row in enumerate(rows, 1))
        + "</div>"
    )


def _row(place: int, row: Row, styles: Mapping[str, str], videos: Videos) -> str:
    query = _tile(videos, row.query, row.name, row.label, "", "")
    strips = ""
    for encoder, found in row.neighbours.items():
        right = [row.label is not None and near.label == row.label for near in found]
        count = f" <span>{sum(right)} of {len(found)} right</span>" if row.label is not None and found else ""
        tiles = "".join(_near(videos, row, near) for near in found) or '<p class="empty">None.</p>'
        spoken = escape(f"nearest to {row.name} by {encoder}")
        strips += (
            f'<h4><i class="key {styles[encoder]}"></i>{escape(encoder)}{count}</h4>'
            f'<div class="strip" role="group" aria-label="{spoken}">{tiles}</div>'
        )
    return f'<article><div class="query"><h3>Query {place}</h3>{query}</div><div class="found">{strips}</div></article>\n'


def _near(videos: Videos, row: Row, near: Neighbour) -> str:
    similarity = f'<span class="number">{near.similarity:.2f}</span>'.replace("-", "−")
    if row.label is None or near.label is None:
        return _tile(videos, near.path, near.name, near.label, "", similarity)
    if near.label == row.label:
        sign = '<span class="sign" aria-hidden="true">✓</span><span class="spoken">same label as the query: </span>'
        return _tile(videos, near.path, near.name, near.label, "right", sign + similarity)
    spoken = '<span class="spoken">another label than the query: </span>'
    return _tile(videos, near.path, near.name, near.label, "wrong", spoken + similarity)


def _tile(videos: Videos, path: Path, name: str, label: str | None, style: str, note: str) -> str:
    """A video with its label (or else its name) below it; `style` and `note` are HTML already."""
    text = (
        f"<b>{escape(label)}</b><small>{escape(name)}</small>"
        if label is not None
        else f"<b>{escape(name)}</b>"
    )
    return (
        f'<figure class="tile {style}" title="{escape(name)}">{videos.element(path, name)}'
        f"<figcaption>{note}{text}</figcaption></figure>"
    )
