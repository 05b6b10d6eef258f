"""Draws the figures of docs/evidence.md from results/science.

python benchmarks/figures.py
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
STYLE = {
    "svg.hashsalt": "kinevec",  # the same figure gives the same file
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}
SCORES = {"R@1": "retrieval R@1", "linear top-1": "linear probe"}
BOUNDS = {"untrained": "0.55", "supervised": "0.25"}  # row → grey
COLORS = {"unbiased": "#1b6ca8", "biased": "#d1495b", "original": "#6a9f58"}
APART = 0.22  # between the sets of a row

Result = dict[str, Any]


def main() -> None:
    """Draws both figures."""
    science = json.loads((ROOT / "results" / "science" / "cpu.json").read_text("utf-8"))
    with matplotlib.rc_context(STYLE):
        for name, figure in {"rows": rows_figure(science), "sets": sets_figure(science)}.items():
            path = ROOT / "docs" / f"evidence-{name}.svg"
            figure.savefig(path, metadata={"Date": None}, facecolor="white")
            print(path.relative_to(ROOT))


def rows_figure(science: Result) -> Figure:
    """Each row's scores on the unbiased set, a dot for each seed, between floor and ceiling."""
    cells = [cell for cell in science["cells"] if cell["set"] == "unbiased"]
    rows = [row for row in science["titles"] if row not in BOUNDS and any(c["row"] == row for c in cells)]
    figure, axes = _panels(science, rows, 0.36)
    for axis, score in zip(axes, SCORES, strict=True):
        for place, row in enumerate(rows):
            _dots(axis, [c["scores"][score] for c in cells if c["row"] == row], place, COLORS["unbiased"])
        for row, grey in BOUNDS.items():
            if known := [c["scores"][score] for c in cells if c["row"] == row]:
                _line(axis, sum(known) / len(known), row, grey, 2)
    return figure


def sets_figure(science: Result) -> Figure:
    """The same rows on each set: what another background does to a score."""
    cells = science["cells"]
    sets = [name for name in COLORS if any(cell["set"] == name for cell in cells)]
    rows = [row for row in science["titles"] if {c["set"] for c in cells if c["row"] == row} == set(sets)]
    figure, axes = _panels(science, rows, 0.5)
    for axis, score in zip(axes, SCORES, strict=True):
        for step, name in enumerate(sets):
            shift = APART * (step - (len(sets) - 1) / 2)
            for place, row in enumerate(rows):
                known = [c["scores"][score] for c in cells if c["row"] == row and c["set"] == name]
                _dots(axis, known, place + shift, COLORS[name], "" if place else name)
    shown = axes[0].get_legend_handles_labels()
    figure.legend(*shown, loc="outside upper center", ncols=len(sets), frameon=False)
    return figure


def _panels(science: Result, rows: Sequence[str], height: float) -> tuple[Figure, list[Axes]]:
    """A panel for each score, a line of `height` inches for each row, and where chance is."""
    figure = Figure(figsize=(8.4, height * len(rows) + 1.3), layout="constrained")
    axes = list(figure.subplots(1, len(SCORES), sharey=True))
    for axis, (score, title) in zip(axes, SCORES.items(), strict=True):
        axis.set(xlim=(0, 100), xlabel=f"{title}, %", ylim=(len(rows) - 0.4, -0.6))
        axis.set_yticks(range(len(rows)), [science["titles"][row] for row in rows])
        axis.grid(axis="x", color="0.92")
        _line(axis, science["chance"][score], "chance", "0.7", 13)
    return figure, axes


def _dots(axis: Axes, values: Sequence[float], place: float, color: str, label: str = "") -> None:
    """A small dot for each seed, a larger one at their mean."""
    mean = sum(values) / len(values)
    axis.plot([0, mean], [place, place], color=color, linewidth=1, alpha=0.35)
    axis.plot(mean, place, "o", color=color, markersize=6, label=label or None)
    if len(values) > 1:
        axis.plot(values, [place] * len(values), ".", color="black", alpha=0.6, markersize=4)


def _line(axis: Axes, value: float, name: str, grey: str, height: float) -> None:
    """A dashed line at a value, and its name above it, `height` points above the panel."""
    axis.axvline(value, color=grey, linestyle="--", linewidth=1)
    axis.annotate(
        name,
        (value, 1),
        (0, height),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        color=grey,
        fontsize=8,
        ha="center",
    )


if __name__ == "__main__":
    main()
