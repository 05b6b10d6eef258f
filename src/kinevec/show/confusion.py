"""Which classes are taken for which others, as a picture."""

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kinevec.data.whole import write_whole
from kinevec.show.letters import boxes_for_letters, drawable, without_middle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

DOTS = 150  # per inch
NUMBERED = 30  # classes up to which every cell shows its percentage
LONGEST = 28  # letters of a label; longer ones lose their middle
MORE, MOST = 8, 76  # letters more at a time for labels that would look alike, up to so many
CELL = (0.17, 0.36)  # inches, of many and of few classes
PERCENT = (0, 1, 5, 10, 25, 50, 75, 100)  # named on the colour bar


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
    content = _png(counts, [drawable(label) for label in classes], drawable(title))
    write_whole(path, lambda aside: aside.write_bytes(content))


def shortened(names: Sequence[str]) -> list[str]:
    """Labels without the middle of the long ones, which keep both ends, and more of them where they would look alike.

    Args:
        names: all different.

    Returns:
        As many, all different; labels that differ only deep in the middle are numbered.
    """
    kept = dict.fromkeys(names, LONGEST)
    while True:
        shown = [without_middle(name, letters) for name, letters in kept.items()]
        count = Counter(shown)
        alike = [
            name
            for name, short in zip(kept, shown, strict=True)
            if count[short] > 1 and kept[name] < min(len(name), MOST)
        ]
        if not alike:
            break
        kept |= {name: kept[name] + MORE for name in alike}
    seen: Counter[str] = Counter()
    for i, short in enumerate(shown):
        seen[short] += 1
        if count[short] > 1:
            shown[i] = f"{short} ({seen[short]})"
    return shown


def _png(counts: NDArray[np.float64], classes: list[str], title: str) -> bytes:
    with boxes_for_letters():
        return _drawn(counts, classes, title)


def _drawn(counts: NDArray[np.float64], classes: list[str], title: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import PowerNorm  # half a second
    from matplotlib.figure import Figure

    total = counts.sum(1, keepdims=True)
    shares = np.divide(100 * counts, total, out=np.zeros_like(counts), where=total > 0)
    few = len(classes) <= NUMBERED
    cell, font = (CELL[1], 8.0) if few else (CELL[0], 6.5)
    side = max(2.5, cell * len(classes))
    figure = Figure(dpi=DOTS)
    FigureCanvasAgg(figure)  # which measures letters
    axes = figure.add_axes((0, 0, 1, 1))
    norm = PowerNorm(0.5, 0, 100)  # else the few percent of a confusion are lost beside the diagonal
    image = axes.imshow(shares, cmap="Blues", norm=norm, interpolation="nearest", aspect="auto")
    ticks, names = range(len(classes)), shortened(classes)
    axes.set_xticks(ticks, names, rotation=90, fontsize=font, parse_math=False)
    axes.set_yticks(ticks, names, fontsize=font, parse_math=False)
    axes.tick_params(length=2, pad=2)
    for side_name in axes.spines:
        axes.spines[side_name].set_color("0.7")
    between, ends = np.arange(0.5, len(classes) - 1), (-0.5, len(classes) - 0.5)
    axes.hlines(between, *ends, color="0.9", linewidth=0.5)
    axes.vlines(between, *ends, color="0.9", linewidth=0.5)
    axes.set_ylabel("class of the video", fontsize=9)
    axes.set_xlabel("predicted class", fontsize=9)
    heading = figure.text(0, 0, title, fontsize=9, parse_math=False)
    bar = figure.add_axes((0, 0, 1, 1))
    figure.colorbar(image, cax=bar, ticks=PERCENT).set_label(
        "% of the class's videos (square-root scale)", fontsize=8
    )
    bar.tick_params(labelsize=7)
    if few:
        for row, column in zip(*np.nonzero(shares), strict=True):
            value = shares[row, column]
            color = "white" if value > 40 else "0.2"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color=color)
    _place(figure, axes, bar, heading, side)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _place(figure: "Figure", axes: "Axes", bar: "Axes", heading: "Text", side: float) -> None:
    """Lays out matrix, colour bar and title, in inches, around what the letters take."""

    def wide(text: "Text") -> float:
        return float(text.get_window_extent().width) / DOTS

    margin = 0.4 + max(map(wide, axes.get_yticklabels()))
    width, height = max(margin + side + 1.1, wide(heading) + 0.2), margin + side + 0.4
    figure.set_size_inches(width, height)
    axes.set_position((margin / width, margin / height, side / width, side / height))
    left, tall = margin + side + 0.2, min(side, 3)
    bar.set_position((left / width, (margin + side - tall) / height, 0.15 / width, tall / height))
    heading.set_position((0.1 / width, 1 - 0.25 / height))
