"""Draws the figures of docs/evidence.md from results/science.

    python benchmarks/figures.py

They are written to docs/evidence-*.svg.
"""

import json
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
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
SETTINGS = {
    "as preset": "#1b6ca8",
    "any hue": "#d18f1b",
    "any hue at a third of the rate": "#8a5a9e",
    "smaller crops": "#6a9f58",
    "any hue at a third of the rate for three times as long": "#3d2645",
}
SETS = {"unbiased": "#1b6ca8", "biased": "#d1495b", "original": "#6a9f58"}
METHODS = {"moco": "#1b6ca8", "mscl": "#d1495b", "moco-symmetric": "#7fb3d9", "fima": "#6a9f58"}
APART = 0.2  # between the colours of a row

Result = dict[str, Any]


def main() -> None:
    """Draws what there are results for."""
    science = json.loads((ROOT / "results" / "science" / "cpu.json").read_text("utf-8"))
    with matplotlib.rc_context(STYLE):
        drawn = {"rows": rows_figure(science), "curves": curves_figure(science)}
        if any(cell["set"] == "biased" for cell in science["cells"]):
            drawn["sets"] = sets_figure(science)
        for name, figure in drawn.items():
            path = ROOT / "docs" / f"evidence-{name}.svg"
            figure.savefig(path, metadata={"Date": None}, facecolor="white")
            print(path.relative_to(ROOT))


def rows_figure(science: Result) -> Figure:
    """Each row's scores on the unbiased set with each setting, between floor and ceiling."""
    cells = [cell for cell in science["cells"] if cell["set"] == "unbiased"]
    figure, axes = _grouped(
        science, [cell for cell in cells if cell["row"] not in BOUNDS], "setting", SETTINGS
    )
    for axis, score in zip(axes, SCORES, strict=True):
        for row, grey in BOUNDS.items():
            if known := [c["scores"][score] for c in cells if c["row"] == row]:
                _line(axis, sum(known) / len(known), row, grey, 2)
    return figure


def sets_figure(science: Result) -> Figure:
    """The rows on each set with one setting, that of most rows on `biased`: what another background does to a score."""
    biased = [cell for cell in science["cells"] if cell["set"] == "biased"]
    judged = {cell["row"] for cell in biased}
    common, _ = Counter(cell["setting"] for cell in biased if cell["row"] not in BOUNDS).most_common(1)[0]
    cells = [
        cell
        for cell in science["cells"]
        if cell["row"] in judged and (cell["row"] in BOUNDS or cell["setting"] == common)
    ]
    return _grouped(science, cells, "set", SETS)[0]


def curves_figure(science: Result) -> Figure:
    """The loss that all rows share over the steps on the unbiased set, a panel for each setting, a line for each seed."""
    cells = [cell for cell in science["cells"] if cell["set"] == "unbiased" and cell["curve"]]
    settings = [name for name in SETTINGS if any(cell["setting"] == name for cell in cells)]
    figure = Figure(figsize=(8.4, 2.9), layout="constrained")
    axes = list(figure.subplots(1, len(settings), sharey=True, squeeze=False)[0])
    for axis, setting in zip(axes, settings, strict=True):
        for row, color in METHODS.items():
            for cell in cells:
                if cell["row"] == row and cell["setting"] == setting:
                    axis.plot(cell["curve"]["step"], cell["curve"]["instance"], color=color, linewidth=1.2)
        axis.axhline(science["guess"], color="0.7", linestyle="--", linewidth=1)
        axis.set(title=textwrap.fill(setting, 24), xlabel="step")
        axis.title.set_fontsize(10)
    axes[0].set_ylabel("contrastive loss")
    for row, color in METHODS.items():
        axes[0].plot([], [], color=color, label=science["titles"][row])
    shown = axes[0].get_legend_handles_labels()
    figure.legend(*shown, loc="outside upper center", ncols=len(METHODS), frameon=False)
    return figure


def _grouped(
    science: Result, cells: Sequence[Result], key: str, colors: Mapping[str, str]
) -> tuple[Figure, list[Axes]]:
    """The cells by row, and within a row by what they say of `key`, in its colour."""
    names = [name for name in colors if any(cell[key] == name for cell in cells)]
    rows = [row for row in science["titles"] if any(cell["row"] == row for cell in cells)]
    figure, axes = _panels(science, rows, 0.18 + APART * len(names))
    for axis, score in zip(axes, SCORES, strict=True):
        for name in names:
            axis.plot([], [], "o", color=colors[name], label=name)
        for place, row in enumerate(rows):
            own = [cell for cell in cells if cell["row"] == row]
            there = [name for name in names if any(cell[key] == name for cell in own)]
            for step, name in enumerate(there):
                shift = APART * (step - (len(there) - 1) / 2)
                _dots(axis, [c["scores"][score] for c in own if c[key] == name], place + shift, colors[name])
    shown = axes[0].get_legend_handles_labels()
    figure.legend(*shown, loc="outside upper center", ncols=len(names), frameon=False)
    return figure, axes


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


def _dots(axis: Axes, values: Sequence[float], place: float, color: str) -> None:
    """A small dot for each seed, a larger one at their mean."""
    mean = sum(values) / len(values)
    axis.plot([0, mean], [place, place], color=color, linewidth=1, alpha=0.35)
    axis.plot(mean, place, "o", color=color, markersize=6)
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
