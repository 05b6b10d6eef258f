"""Runs side by side: a table of what they are and came to, and their curves as a picture and a page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from kinevec.config import to_dict
from kinevec.data.whole import write_text, write_whole
from kinevec.show.coinciding import Turn, coinciding, turns
from kinevec.show.curves import Curve, figure, line_styles
from kinevec.show.html import part
from kinevec.show.judged import ScoreRow, score_tables
from kinevec.show.letters import boxes_for_letters
from kinevec.show.runs import HEALTH, MEANINGS, SPEED, TITLES, UNKNOWN, Run

COLORS = ("#2563a8", "#c2601a", "#7a4fb5", "#0f7f86", "#b83280", "#8a6f10")  # as .s1 to .s6 of report.css
DASHES = ("-", "-", "--", ":", "--", "-")
ROUND_DASHES = ((0, (9, 2, 2, 2)), (0, (1, 1)), (0, (3, 1, 1, 1, 1, 1)))
DASH = 6  # times a line's width: the dashes of lines that coincide
WIDE = 3  # charts in a row of the picture


@dataclass(frozen=True)
class Row:
    """One line of the table: a value of each run, "" where it has none."""

    section: str
    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Runs that can be compared, and what is wrong with them or with others.

    Attributes:
        runs: those with a configuration.
        remarks: (name of a folder, what is wrong or unfinished).
    """

    runs: tuple[Run, ...]
    remarks: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> "Comparison":
        """Compares what `read_runs` found."""
        kept = tuple(run for run in runs if run.config is not None)
        return cls(kept, tuple((run.name, remark) for run in runs for remark in run.remarks))

    def rows(self) -> list[Row]:
        """The table: what the runs are, where they stand, and the settings in which they differ."""
        configs = [to_dict(run.config) for run in self.runs]
        figures = self._figures()
        terms = [name for name in figures if name not in TITLES]
        found = [
            Row("run", "terms", tuple(", ".join(_weighted(config["terms"])) for config in configs)),
            Row("run", "encoder", tuple(config["model"]["name"] for config in configs)),
            Row("run", "step", tuple(f"{run.step} of {run.total or '?'}" for run in self.runs)),
        ]
        for section, names in (("last loss", (*terms, "loss")), ("speed", SPEED), ("health", HEALTH)):
            found += [
                Row(section, TITLES.get(name, name), tuple(short(run.last(name)) for run in self.runs))
                for name in names
                if name in figures
            ]
        if any(run.warnings for run in self.runs):
            found.append(Row("health", "warnings", tuple(str(run.warnings) for run in self.runs)))
        for data, rows in self._scores().items():
            found += [
                Row(f"score (%), {data}", row.words, tuple(_score(value) for value in row.values))
                for row in rows
            ]
        return found + self._settings(configs)

    def _settings(self, configs: Sequence[Mapping[str, Any]]) -> list[Row]:
        """The settings in which those runs differ whose terms read them; "" for the others."""
        unread = [run.config.unread if run.config else frozenset() for run in self.runs]
        found = []
        for section, keys in configs[0].items():
            reads = [section not in sections for sections in unread]
            for key in keys:
                values = [
                    str(config[section][key]) if read else ""
                    for config, read in zip(configs, reads, strict=True)
                ]
                if len({value for value, read in zip(values, reads, strict=True) if read}) > 1:
                    found.append(Row("setting", f"{section}.{key}", tuple(values)))
        return found

    def curves(self) -> list[Curve]:
        """One chart for each figure that any run has logged."""
        return [
            _curve(name, {run.name: run.series(name) for run in self.runs if name in run.figures})
            for name in self._figures()
        ]

    @property
    def notes(self) -> list[str]:
        """What is to be minded when scores are compared."""
        tables = self._scores()
        notes = []
        if not tables and self.runs:
            notes.append(
                "No scores: no evaluation with scores lies in these folders; `kinevec eval` writes one there"
            )
        if len(tables) > 1:
            notes.append(
                f"The runs were judged on {len(tables)} different sets of videos: compare scores only within one part"
            )
        if any(len({row.words.partition(" (")[0] for row in rows}) < len(rows) for rows in tables.values()):
            notes.append(
                "Scores of the same name in several rows were measured in different ways, named there"
            )
        return notes

    def _scores(self) -> dict[str, list[ScoreRow]]:
        return score_tables([run.judged for run in self.runs])

    def _figures(self) -> list[str]:
        """Names of all logged figures: the terms of the losses first, then the others as in `TITLES`."""
        names = dict.fromkeys(name for run in self.runs for name in run.figures)
        return [name for name in names if name not in TITLES] + [name for name in TITLES if name in names]


def write_page(path: Path, comparison: Comparison) -> None:
    """Writes the comparison as a page that asks nothing of the network.

    Raises:
        OutputError: it cannot be written.
    """
    styles = line_styles(run.name for run in comparison.runs)
    heads = "".join(
        f'<th scope="col"><i class="key {styles[run.name]}"></i>{escape(run.name)}</th>'
        for run in comparison.runs
    )
    lines, section = "", ""
    for row in comparison.rows():
        if row.section != section:
            section = row.section
            lines += f'<tr class="part"><th scope="colgroup" colspan="{len(row.values) + 1}">{escape(section)}</th></tr>'
        cells = "".join(f"<td>{escape(value) or '–'}</td>" for value in row.values)
        lines += f'<tr><th scope="row">{escape(row.name)}</th>{cells}</tr>'
    remarks = "".join(f"<li>{escape(text)}.</li>" for text in comparison.notes)
    remarks += "".join(f"<li><b>{escape(name)}</b>: {escape(text)}</li>" for name, text in comparison.remarks)
    page = Template(part("compare.html")).substitute(
        style=part("report.css"),
        title=escape(_title(comparison)),
        heads=heads,
        lines=lines,
        remarks=f'<ul class="remarks">{remarks}</ul>' if remarks else "",
        curves="".join(figure(curve, styles) for curve in comparison.curves()),
    )
    write_text(path, page)


def write_picture(path: Path, comparison: Comparison) -> None:
    """Draws the curves as a PNG.

    Raises:
        OutputError: it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    curves = comparison.curves()
    wide = min(WIDE, max(1, len(curves)))
    high = max(1, math.ceil(len(curves) / wide))
    drawing = Figure(figsize=(5 * wide, 3.2 * high + 0.4), layout="constrained")
    FigureCanvasAgg(drawing)
    styles: dict[str, dict[str, Any]] = {
        run.name: {"color": COLORS[i % len(COLORS)], "ls": _dashes(i)}
        for i, run in enumerate(comparison.runs)
    }
    panels = drawing.subplots(high, wide, squeeze=False).flatten()
    for panel in panels[len(curves) :]:
        panel.set_axis_off()
    for panel, curve in zip(panels, curves, strict=False):
        groups = coinciding(curve.y)
        turn = turns(groups)
        for name in sorted(curve.y, key=lambda name: turn.get(name, Turn()).place):  # dashes over whole lines
            mine, y = turn.get(name), np.asarray(curve.y[name], float)
            look = styles[name]
            if mine:
                look = look | {
                    "ls": mine.dashes(DASH) or "-",
                    "markersize": 6 + 3 * (mine.of - 1 - mine.place),
                }
            if np.isfinite(y).sum() == 1:  # one point makes no line
                look = look | {"marker": "o"}
            panel.plot(np.asarray(curve.x, float), y, **look)
        panel.set_title(curve.title, loc="left", fontsize=11)
        alike = " and ".join(str(len(group)) for group in groups)
        panel.set_xlabel(f"{curve.x_name} ({alike} lines coincide)" if alike else curve.x_name, fontsize=9)
        panel.xaxis.get_major_locator().set_params(integer=True)  # there is no half step
        panel.tick_params(labelsize=9)
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    drawn = [name for name in styles if any(name in curve.y for curve in curves)]
    if drawn:
        lines = [Line2D([], [], **styles[name]) for name in drawn]
        legend = drawing.legend(lines, drawn, loc="outside upper left", ncols=WIDE, frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)  # a name may hold a $
    with boxes_for_letters():
        write_whole(path, lambda aside: drawing.savefig(aside, format="png", dpi=110))


def _dashes(i: int) -> Any:
    """Of the line of run `i`: after each round of colours another kind, as `.r1` to `.r3` of report.css."""
    rounds = i // len(COLORS) % (len(ROUND_DASHES) + 1)
    return ROUND_DASHES[rounds - 1] if rounds else DASHES[i % len(DASHES)]


def short(value: float) -> str:
    """A figure with three digits; "" where there is none."""
    return f"{value:.3g}" if math.isfinite(value) else ""


def _curve(name: str, series: Mapping[str, tuple[list[int], list[float]]]) -> Curve:
    """The lines of several runs over all their steps; between its own points a line is straight anyway."""
    x = sorted({step for steps, _ in series.values() for step in steps})
    y = {
        run: np.interp(x, steps, values, left=math.nan, right=math.nan).tolist()
        for run, (steps, values) in series.items()
    }
    return Curve(TITLES.get(name, name), "", x, y, MEANINGS.get(name, UNKNOWN))


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _weighted(terms: Mapping[str, float]) -> list[str]:
    """Names of the terms with a weight; a weight other than 1 stands before its term."""
    return [name if weight == 1 else f"{weight:g}·{name}" for name, weight in terms.items() if weight]


def _title(comparison: Comparison) -> str:
    count = len(comparison.runs)
    return "One run" if count == 1 else f"{count} runs side by side"
