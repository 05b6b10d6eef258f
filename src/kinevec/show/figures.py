"""The pictures of a look: strips of frames, and matrices of affinity."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinevec.data.whole import write_whole
from kinevec.show.activation import overlay
from kinevec.show.letters import boxes_for_letters, drawable, without_middle
from kinevec.show.look import Look, Pictures, Sight

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 8  # frames of a strip
TILE = 1.5  # inches
LETTERS, TITLE = 16, 32  # of a name beside a strip, and above a matrix
DIMMED = 0.25  # of the brightness of background cells


def activation_strip(look: Look, path: Path) -> None:
    """Frames, and below them where each encoder looks."""
    rows = {"frames": look.frames}
    rows |= {name: overlay(look.frames, seen.heat) for name, seen in look.seen.items()}
    _strip(rows, look.times, path)


def motion_strip(look: Look, path: Path) -> None:
    """Frames, their difference and flow, alone and over the frames, and the foreground cells of each encoder."""
    rows = {
        "frames": look.frames,
        "difference": look.difference,
        "difference\nover frames": changed_over(look.frames, look.difference),
        "flow": look.flow,
        "flow\nover frames": flow_over(look.frames, look.flow),
    }
    rows |= {f"foreground\n{name}": _dimmed(look.frames, seen.foreground) for name, seen in look.seen.items()}
    _strip(rows, look.times, path)


def changed_over(frames: Pictures, difference: Pictures) -> Pictures:
    """Frames, lighter or darker where they change; a difference is middle grey where they do not."""
    return np.round(np.clip(frames + (difference - 127.5), 0, 255)).astype(np.uint8)


def flow_over(frames: Pictures, flow: Pictures) -> Pictures:
    """Frames tinted by the colour of their flow; it is white, and leaves them as they are, where nothing moves."""
    return np.round(frames * (flow / 255)).astype(np.uint8)


def affinity_matrices(seen: Mapping[str, Sight], path: Path) -> None:
    """For each encoder, the spatial and the temporal matrix, and temporal affinity by distance in time.

    All encoders by the same scales, so that they can be compared.
    """
    figure, axes = _figure(3 * 3.2, len(seen) * 3.2 + 0.3, len(seen), 3)
    matrices = {
        name: {"place": one.affinity.spatial, "time": one.affinity.temporal} for name, one in seen.items()
    }
    most = {
        what: max(1e-6, *(float(np.abs(of[what]).max()) for of in matrices.values()))
        for what in ("place", "time")
    }
    for row, (name, one) in zip(axes, seen.items(), strict=True):
        same = {"place": one.affinity.same_place, "time": one.affinity.same_time}
        for axis, (what, matrix) in zip(row, matrices[name].items(), strict=False):
            limits = {"vmin": -most[what], "vmax": most[what]}
            picture = axis.imshow(matrix, cmap="RdBu_r", interpolation="nearest", **limits)
            figure.colorbar(picture, ax=axis, shrink=0.8)
            unit = "cell" if what == "place" else "step"
            _whole_ticks(axis)
            axis.set(xlabel=f"{unit} of the motion", ylabel=f"{unit} of the frames")
            value = f"{same[what]:+.2f}" if math.isfinite(same[what]) else "–"
            axis.set_title(f"{_short(name, TITLE)}\nsame {what} {value}", parse_math=False, fontsize=11)
        row[2].set_title(f"{_short(name, TITLE)}\nby distance in time", parse_math=False, fontsize=11)
        _by_distance(row[2], one)
    for this in ("x", "y"):  # what the widest needs is enough for all
        ends = np.array([getattr(row[2], f"get_{this}lim")() for row in axes])
        for row in axes:
            getattr(row[2], f"set_{this}lim")(ends[:, 0].min(), ends[:, 1].max())
    _save(figure, path)


def _by_distance(axis: Any, one: Sight) -> None:
    """Median and quartiles of temporal affinity over pairs of steps at the same place within their clips."""
    pairs = one.affinity.by_distance()
    low, middle, high = (
        np.array([np.quantile(part, q) for part in pairs.values()]) for q in (0.25, 0.5, 0.75)
    )
    frames = list(pairs)
    axis.errorbar(frames, middle, (middle - low, high - middle), marker="o", capsize=3)
    axis.axhline(0, color="0.6", linewidth=0.8)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set(xlabel="frames apart", ylabel="cosine")
    if len(frames) == 1:
        axis.set_xticks([0])
        axis.text(0.5, 0.5, "a single clip:\nno other to compare with", ha="center", transform=axis.transAxes)


def _whole_ticks(axis: Any) -> None:
    for one in (axis.xaxis, axis.yaxis):
        one.get_major_locator().set_params(integer=True)


def _strip(rows: Mapping[str, Pictures], times: NDArray[np.float64], path: Path) -> None:
    """Named rows of the same few frames, even in time."""
    shown = np.unique(np.linspace(0, len(times) - 1, COLUMNS).round().astype(int))
    figure, axes = _figure(
        TILE * len(shown) + 1.2, (TILE + 0.06) * len(rows) + 0.3, len(rows), len(shown), gap=0.04
    )
    for row, (name, pictures) in zip(axes, rows.items(), strict=True):
        for axis, place in zip(row, shown, strict=True):
            axis.imshow(pictures[place])
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        row[0].set_ylabel(_short(name), rotation=0, ha="right", va="center", labelpad=8, parse_math=False)
    for axis, place in zip(axes[0], shown, strict=True):
        axis.set_title(f"{times[place]:.2f} s", fontsize=9)
    _save(figure, path)


def _dimmed(frames: Pictures, masks: NDArray[np.bool_]) -> Pictures:
    """Frames whose background cells (F, h, w) are dark."""
    side = frames.shape[1]
    light = np.stack(
        [cv2.resize(mask.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST) for mask in masks]
    )
    return np.round(frames * np.where(light, 1.0, DIMMED)[..., None]).astype(np.uint8)


def _short(name: str, letters: int = LETTERS) -> str:
    return "\n".join(without_middle(drawable(part), letters) for part in name.split("\n"))


def _figure(
    width: float, height: float, rows: int, columns: int, *, gap: float | None = None
) -> tuple["Figure", Any]:
    from matplotlib.figure import Figure  # takes a moment to import

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    if gap is not None:
        figure.get_layout_engine().set(w_pad=gap, h_pad=gap, wspace=0, hspace=0)  # type: ignore[union-attr, call-arg]
    return figure, figure.subplots(rows, columns, squeeze=False)


def _save(figure: "Figure", path: Path) -> None:
    with boxes_for_letters():
        write_whole(path, lambda aside: figure.savefig(aside, format="png"))
