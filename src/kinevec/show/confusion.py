"""Which classes are taken for which others, as a picture."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinevec.data.whole import write_whole

DOTS = 150  # per inch
NUMBERED = 30  # classes up to which every cell shows its percentage
LONGEST = 28  # letters of a label; longer ones are cut
CELL = (0.17, 0.36)  # inches, of many and of few classes


def confusion(
    truth: Sequence[str], predicted: Sequence[Sequence[str]]
) -> tuple[NDArray[np.float64], list[str]]:
    """Counts (K, K), rows by the right class and columns by the predicted one, and the K classes in order.

    Args:
        truth: (V,) labels.
        predicted: for each repetition (V,) predicted labels; the counts are those of all together.
    """
    classes = sorted({*truth, *(label for row in predicted for label in row)})
    place = {label: i for i, label in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)))
    for row in predicted:
        for right, found in zip(truth, row, strict=True):
            counts[place[right], place[found]] += 1
    return counts, classes


def write_confusion(path: Path, truth: Sequence[str], predicted: Sequence[Sequence[str]], title: str) -> None:
    """Draws the confusion matrix as PNG, each row as shares of its class's videos; readable with 100 classes.

    Args:
        truth, predicted: as for `confusion`.

    Raises:
        OutputError: it cannot be written.
    """
    counts, classes = confusion(truth, predicted)
    content = _png(counts, classes, title)
    write_whole(path, lambda aside: aside.write_bytes(content))


def _png(counts: NDArray[np.float64], classes: list[str], title: str) -> bytes:
    from matplotlib.colors import PowerNorm  # half a second
    from matplotlib.figure import Figure

    total = counts.sum(1, keepdims=True)
    shares = np.divide(100 * counts, total, out=np.zeros_like(counts), where=total > 0)
    few = len(classes) <= NUMBERED
    cell, font = (CELL[1], 8.0) if few else (CELL[0], 6.5)
    names = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in classes]
    margin = 0.4 + font / 72 * 0.62 * max(map(len, names))
    side = max(2.5, cell * len(classes))
    width, height = side + margin + 1.3, side + margin + 0.9
    figure = Figure(figsize=(width, height), dpi=DOTS)
    axes = figure.add_axes((margin / width, 0.45 / height, side / width, side / height))
    norm = PowerNorm(0.5, 0, 100)  # else the few percent of a confusion are lost beside the diagonal
    image = axes.imshow(shares, cmap="Blues", norm=norm, interpolation="nearest", aspect="auto")
    ticks = range(len(classes))
    axes.set_xticks(ticks, names, rotation=90, fontsize=font, parse_math=False)
    axes.set_yticks(ticks, names, fontsize=font, parse_math=False)
    axes.tick_params(length=2, pad=2, top=True, labeltop=True, bottom=False, labelbottom=False)
    for side_name in axes.spines:
        axes.spines[side_name].set_color("0.7")
    between, ends = np.arange(0.5, len(classes) - 1), (-0.5, len(classes) - 0.5)
    axes.hlines(between, *ends, color="0.9", linewidth=0.5)
    axes.vlines(between, *ends, color="0.9", linewidth=0.5)
    axes.set_ylabel("class of the video", fontsize=9)
    axes.set_xlabel("predicted class", fontsize=9)
    figure.text(0.1 / width, 1 - 0.25 / height, title, fontsize=9, parse_math=False)
    bar = figure.add_axes(((margin + side + 0.2) / width, 0.45 / height, 0.15 / width, min(side, 3) / height))
    figure.colorbar(image, cax=bar).set_label("% of the class's videos", fontsize=8)
    bar.tick_params(labelsize=7)
    if few:
        for row, column in zip(*np.nonzero(shares), strict=True):
            value = shares[row, column]
            color = "white" if value > 40 else "0.2"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color=color)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # letters that the font lacks: boxes
        figure.savefig(file, format="png")
    return file.getvalue()
