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
    "any hue slow": "#8a5a9e",
    "smaller crops": "#6a9f58",
    "any hue slow long": "#3d2645",
    "as preset long": "#12324a",
}
# Setting → the same for three times as many steps.
LONGER = {"as preset": "as preset long", "any hue slow": "any hue slow long"}
SETS = {"unbiased": "#1b6ca8", "biased": "#d1495b", "original": "#6a9f58"}
METHODS = {"moco": "#1b6ca8", "mscl": "#d1495b", "moco-symmetric": "#7fb3d9", "fima": "#6a9f58"}
APART = 0.16  # inches between the colours of a row
BETWEEN = 0.34  # inches between rows
ABREAST = 4  # entries of a legend in one line

Result = dict[str, Any]


def main() -> None:
    """Draws what there are results for."""
    science = json.loads((ROOT / "results" / "science" / "cpu.json").read_text("utf-8"))
    with matplotlib.rc_context(STYLE):
        drawn = {"rows": rows_figure(science), "curves": curves_figure(science)}
        if any(cell["set"] == "biased" for cell in science["cells"]):
            drawn["sets"] = sets_figure(science)
            drawn["steps"] = steps_figure(science)
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


def steps_figure(science: Result) -> Figure:
    """What the methods reach after a number of steps and after three times as many: a column for each set and setting."""
    shown = [
        (kind, pair) for kind in SETS for pair in LONGER.items() if _scores(science, "moco", kind, pair[1])
    ]
    figure = Figure(figsize=(8.4, 4.8), layout="constrained")
    panels = figure.subplots(len(SCORES), len(shown), sharex=True, sharey=True, squeeze=False)
    most = 1.1 * max(cell["steps"] for cell in science["cells"])
    for axes, (score, title) in zip(panels, SCORES.items(), strict=True):
        for axis, (kind, pair) in zip(axes, shown, strict=True):
            for row, color in METHODS.items():
                _over_steps(axis, [_scores(science, row, kind, name, score) for name in pair], color)
            for row, grey in BOUNDS.items():
                if known := [value for _, value in _scores(science, row, kind, "as preset", score)]:
                    axis.axhline(sum(known) / len(known), color=grey, linestyle="--", linewidth=1)
            axis.set(ylim=(0, 100), xlim=(0, most))
            axis.grid(axis="y", color="0.92")
        axes[0].set_ylabel(f"{title}, %")
    for axis, (kind, pair) in zip(panels[0], shown, strict=True):
        axis.set_title(f"{kind}, {pair[0]}", fontsize=10)
    for axis in panels[-1]:
        axis.set_xlabel("steps")
    named = panels[0][0]
    for row, color in METHODS.items():
        named.plot([], [], "o-", color=color, label=science["titles"][row])
    for row, grey in BOUNDS.items():
        named.plot([], [], color=grey, linestyle="--", linewidth=1, label=row)
    figure.legend(*named.get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure


def _over_steps(axis: Axes, found: Sequence[Sequence[tuple[int, float]]], color: str) -> None:
    """A small dot for each seed at its steps, larger ones at the means, joined by a line."""
    known = [of for of in found if of]
    if not known:
        return
    axis.plot(*zip(*(place for of in known for place in of), strict=True), ".", color=color, markersize=4)
    means = [(of[0][0], sum(value for _, value in of) / len(of)) for of in known]
    axis.plot(*zip(*means, strict=True), "o-", color=color, markersize=5, linewidth=1.2)


def _scores(
    science: Result, row: str, kind: str, setting: str, score: str = "R@1"
) -> list[tuple[int, float]]:
    """(steps, score) of every seed."""
    wanted = (row, kind, setting)
    cells = [cell for cell in science["cells"] if (cell["row"], cell["set"], cell["setting"]) == wanted]
    return [(cell["steps"], cell["scores"][score]) for cell in cells]


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
    """The cells by row, and within a row by what they say of `key`, in its colour; a row is as high as it must be."""
    names = [name for name in colors if any(cell[key] == name for cell in cells)]
    rows = [row for row in science["titles"] if any(cell["row"] == row for cell in cells)]
    lines = {
        row: [name for name in names if any((c["row"], c[key]) == (row, name) for c in cells)] for row in rows
    }
    tops, height = {}, 0.0  # inches from the top
    for row in rows:
        tops[row] = height + BETWEEN / 2
        height += BETWEEN + APART * (len(lines[row]) - 1)
    middles = {row: top + APART * (len(lines[row]) - 1) / 2 for row, top in tops.items()}
    figure, axes = _panels(science, middles, height)
    for axis, score in zip(axes, SCORES, strict=True):
        for name in names:
            axis.plot([], [], "o", color=colors[name], label=name)
        for row, top in tops.items():
            for step, name in enumerate(lines[row]):
                own = [c["scores"][score] for c in cells if c["row"] == row and c[key] == name]
                _dots(axis, own, top + APART * step, colors[name])
    shown = axes[0].get_legend_handles_labels()
    figure.legend(*shown, loc="outside upper center", ncols=min(len(names), ABREAST), frameon=False)
    return figure, axes


def _panels(science: Result, middles: Mapping[str, float], height: float) -> tuple[Figure, list[Axes]]:
    """A panel of `height` inches for each score, the names of the rows at their middles, and where chance is."""
    figure = Figure(figsize=(8.4, height + 1.5), layout="constrained")
    axes = list(figure.subplots(1, len(SCORES), sharey=True))
    for axis, (score, title) in zip(axes, SCORES.items(), strict=True):
        axis.set(xlim=(0, 100), xlabel=f"{title}, %", ylim=(height, 0))
        axis.set_yticks(list(middles.values()), [science["titles"][row] for row in middles])
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
