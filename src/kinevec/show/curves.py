"""Line charts as inline SVG, drawn from numbers; colours come from the page's style."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from kinevec.show.coinciding import Turn, coinciding, turns

WIDTH, HEIGHT = 440, 240  # units of the drawing; the page scales it
LEFT, RIGHT, TOP, BOTTOM = 46, 430, 14, 204  # edges of the plotted area
MAX_POINTS = 400  # of a line; more cannot be told apart at this width
DASH, DOT = 16, 3  # length of the dashes of lines that coincide, and radius of a point alone

BASELINE = "untrained"  # the encoder that all others are compared with
ROUNDS = 3  # of other dashes in report.css
STYLES = 6  # of lines in report.css: .s1 to .s6, and .s0 for the baseline

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Named series of numbers over a common x, for one chart.

    Attributes:
        title: of the chart.
        unit: of y, "" where it has none.
        x: (P,) ascending.
        y: name → (P,) values; where one is not finite the line has a gap.
        explanation: what the chart shows, in plain words.
        x_name: what x counts.
    """

    title: str
    unit: str
    x: Sequence[float]
    y: Mapping[str, Sequence[float]]
    explanation: str
    x_name: str = "step"

    def __post_init__(self) -> None:
        wrong = {name: len(values) for name, values in self.y.items() if len(values) != len(self.x)}
        if wrong:
            raise ValueError(f"'{self.title}' has {len(self.x)} values of x, but its y have {wrong}")


def line_styles(names: Iterable[str], taken: Mapping[str, str] | None = None) -> dict[str, str]:
    """Name → CSS classes of its line; a name in `taken` keeps its own, the others get the next ones in turn.

    When the colours have gone round once, others dashes tell lines of one colour apart: .r1 to .r3.
    """
    styles = dict(taken or {})
    for name in names:
        count = sum(style != "s0" for style in styles.values())
        rounds = count // STYLES % (ROUNDS + 1)
        own = f"s{count % STYLES + 1}" + (f" r{rounds}" if rounds else "")
        styles.setdefault(name, "s0" if name == BASELINE else own)
    return styles


def figure(curve: Curve, encoders: Mapping[str, str]) -> str:
    """A chart with its title, explanation and legend, as a `<figure>` element.

    Args:
        encoders: encoder name → CSS class; a series that is named like an encoder has its colour.
    """
    known = {name: encoders[name] for name in curve.y if name in encoders}
    styles = line_styles(curve.y, known)
    entries = ""
    for name, values in curve.y.items():
        last = last_place(values)
        value = (
            ""
            if last is None
            else f" <span>{_short(values[last])} at {escape(curve.x_name)} {curve.x[last]:.10g}</span>"
        )
        entries += f'<li><i class="key {styles[name]}"></i>{escape(name)}{value}</li>'
    unit = f" <span>({escape(curve.unit)})</span>" if curve.unit else ""
    alike = "".join(
        f"<p>These {len(group)} lines coincide and are drawn in turns: {escape(', '.join(group))}.</p>"
        for group in coinciding(curve.y)
    )
    return (
        f'<figure class="chart"><figcaption><h3>{escape(curve.title)}{unit}</h3>'
        f"<p>{escape(curve.explanation)}</p></figcaption>"
        f'<ul class="legend">{entries}</ul>{alike}{line_chart(curve, styles)}</figure>\n'
    )


def line_chart(curve: Curve, styles: Mapping[str, str]) -> str:
    """An `<svg>` element with axes and one line per series, or a `<p>` where there is not one finite point.

    Args:
        styles: name of a series → CSS class of its line.
    """
    x = np.asarray(curve.x, np.float64)
    series = {name: np.asarray(values, np.float64) for name, values in curve.y.items()}
    finite = {name: np.isfinite(x) & np.isfinite(values) for name, values in series.items()}
    known_x = np.concatenate([x[keep] for keep in finite.values()] or [x[:0]])
    if not len(known_x):
        return '<p class="empty">Nothing was recorded.</p>'
    known_y = np.concatenate([series[name][keep] for name, keep in finite.items()])
    x_range, y_range = _range(known_x), _range(known_y)
    y_ticks = ticks(*y_range, 5)
    y_range = (y_ticks[0], y_ticks[-1])
    x_ticks = ticks(*x_range, 7)
    if x_ticks[1] - x_ticks[0] < 1 and bool(np.all(known_x == known_x.round())):  # there is no half step
        x_ticks = [float(at) for at in range(math.floor(x_range[0]), math.ceil(x_range[1]) + 1)]
    parts = [_axes(curve, x_ticks, y_ticks, x_range, y_range)]
    across, turn = _scale(x, x_range, LEFT, RIGHT), turns(coinciding(curve.y))
    for name in sorted(series, key=lambda name: turn.get(name, Turn()).place):  # dashes over whole lines
        down = _scale(series[name], y_range, BOTTOM, TOP)
        parts.append(_line(across, down, finite[name], styles[name], turn.get(name)))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(_spoken(curve, known_x))}">'
        + "".join(parts)
        + "</svg>"
    )


def last_value(values: Sequence[float]) -> float | None:
    """The last finite value of a series."""
    place = last_place(values)
    return None if place is None else float(values[place])


def last_place(values: Sequence[float]) -> int | None:
    """The place of the last finite value of a series."""
    return next((i for i in reversed(range(len(values))) if math.isfinite(values[i])), None)


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers 1, 2 or 5 × 10ⁿ apart, about `most` of them, from one at or below low to one at or above high."""
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def _range(values: Floats) -> tuple[float, float]:
    """Lowest and highest value, moved apart where they are too close to draw."""
    low, high = float(values.min()), float(values.max())
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    margin = abs(low) / 2 or 1.0
    return low - margin, high + margin


def _scale(values: Floats, limits: tuple[float, float], start: float, end: float) -> Floats:
    """Drawing coordinates of values, `limits` to (start, end)."""
    low, high = limits
    return start + (values - low) / (high - low) * (end - start)


def _axes(
    curve: Curve,
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
) -> str:
    inside = [tick for tick in x_ticks if x_range[0] <= tick <= x_range[1]]
    parts = []
    for value, at in zip(y_ticks, _scale(np.array(y_ticks), y_range, BOTTOM, TOP), strict=True):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(
            f'<text class="y" x="{LEFT - 7}" y="{at:.1f}" dy="0.34em">{_number(value, y_ticks)}</text>'
        )
    for value, at in zip(inside, _scale(np.array(inside), x_range, LEFT, RIGHT), strict=True):
        parts.append(f'<line class="tick" x1="{at:.1f}" x2="{at:.1f}" y1="{BOTTOM}" y2="{BOTTOM + 4}"/>')
        parts.append(f'<text class="x" x="{at:.1f}" y="{BOTTOM + 17}">{_number(value, x_ticks)}</text>')
    parts.append(f'<line class="base" x1="{LEFT}" x2="{RIGHT}" y1="{BOTTOM}" y2="{BOTTOM}"/>')
    parts.append(f'<text class="name" x="{RIGHT}" y="{HEIGHT - 4}">{escape(curve.x_name)}</text>')
    return "".join(parts)


def _number(value: float, others: Sequence[float]) -> str:
    """A tick's label, with as many decimals as its neighbours' distance needs."""
    step, largest = others[1] - others[0], max(abs(others[0]), abs(others[-1]))
    scale, suffix = (1e6, "M") if largest >= 1e6 else (1e3, "k") if largest >= 1e4 else (1.0, "")
    decimals = max(0, -math.floor(math.log10(step / scale) + 1e-9))
    if value == 0:
        return "0"
    if decimals > 4 or largest >= 1e12:
        digits = max(0, math.floor(math.log10(abs(value))) - math.floor(math.log10(step) + 1e-9))
        return f"{value:.{digits}e}".replace("e-0", "e-").replace("e+", "e").replace("-", "−")
    return f"{value / scale:.{decimals}f}{suffix}".replace("-", "−")


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _spoken(curve: Curve, known_x: Floats) -> str:
    """The chart in words, for those who do not see it."""
    lines = []
    for name, values in curve.y.items():
        first, last = last_value(values[::-1]), last_value(values)
        lines.append(
            f"{name} "
            + (
                f"from {_short(first)} to {_short(last)}"
                if first is not None and last is not None
                else "not recorded"
            )
        )
    return f"Line chart over {curve.x_name} {known_x.min():.6g} to {known_x.max():.6g}: {'; '.join(lines)}."


def _line(across: Floats, down: Floats, finite: NDArray[np.bool_], style: str, turn: Turn | None) -> str:
    """A path through the finite points, broken at the others; points alone between gaps become dots.

    Lines that coincide take turns, and of their dots the first are the largest.
    """
    path, dots, look, radius = "", "", "", DOT
    if turn:
        dashes = turn.dashes(DASH)
        look = "stroke-dasharray:none"
        if dashes:
            offset, (dash, gap) = dashes
            look = f"stroke-dasharray:{dash:g} {gap:g};stroke-dashoffset:{offset:g};stroke-linecap:butt"
        look, radius = f' style="{look}"', DOT + turn.of - 1 - turn.place
    kept = np.flatnonzero(finite)
    for run in np.split(kept, np.flatnonzero(np.diff(kept) > 1) + 1):
        if len(run) == 1:
            dots += (
                f'<circle class="{style}" cx="{across[run[0]]:.1f}" cy="{down[run[0]]:.1f}" r="{radius}"/>'
            )
        elif len(run):
            run = run[_thinned(down[run])]
            path += "M" + "L".join(f"{a:.1f} {d:.1f}" for a, d in zip(across[run], down[run], strict=True))
    return (f'<path class="line {style}" d="{path}"{look}/>' if path else "") + dots


def _thinned(values: Floats) -> NDArray[np.intp]:
    """Places of at most about MAX_POINTS values: the ends, and the extremes of every stretch between."""
    if len(values) <= MAX_POINTS:
        return np.arange(len(values))
    keep = {0, len(values) - 1}
    for stretch in np.array_split(np.arange(len(values)), MAX_POINTS // 2):
        keep |= {int(stretch[values[stretch].argmin()]), int(stretch[values[stretch].argmax()])}
    return np.array(sorted(keep))
