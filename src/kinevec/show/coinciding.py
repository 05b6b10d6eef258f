"""Lines of a chart that would hide each other: which they are, and how they are drawn in turns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEAR = 0.005  # of the chart's height; lines closer than this hide each other
MOSTLY = 0.9  # share of the points that two lines share at which they have to be that close


@dataclass(frozen=True)
class Turn:
    """How a line is drawn that coincides with others: the first whole, the others as dashes over it.

    Attributes:
        place: 0 for the first.
        of: how many coincide.
    """

    place: int = 0
    of: int = 1

    def dashes(self, length: float) -> tuple[float, tuple[float, float]] | None:
        """Offset into the pattern, and the lengths of dash and gap; None: without gaps."""
        if not self.place:
            return None
        return (self.of - self.place) * length, (length, (self.of - 1) * length)


def coinciding(series: Mapping[str, Sequence[float]]) -> list[list[str]]:
    """Names of lines that hide each other, in groups of two or more, the one with most points first.

    Args:
        series: name → (P,) values over a common x; not finite where there is none.
    """
    values = {name: np.asarray(y, np.float64) for name, y in series.items()}
    known = np.concatenate([y[np.isfinite(y)] for y in values.values()] or [np.zeros(0)])
    near = NEAR * float(np.ptp(known)) if len(known) else 0.0
    groups: list[list[str]] = []
    for name in sorted(values, key=lambda name: -int(np.isfinite(values[name]).sum())):
        mine = next((group for group in groups if _hides(values[group[0]], values[name], near)), None)
        if mine is None:
            groups.append([name])
        else:
            mine.append(name)
    return [group for group in groups if len(group) > 1]


def turns(groups: Sequence[Sequence[str]]) -> dict[str, Turn]:
    """Name → how its line is drawn, of the lines that coincide with others."""
    return {name: Turn(place, len(group)) for group in groups for place, name in enumerate(group)}


def _hides(one: NDArray[np.float64], other: NDArray[np.float64], near: float) -> bool:
    """Whether most of the other line, which has no more points, lies on the one."""
    there = np.isfinite(other)
    both = there & np.isfinite(one)
    if both.sum() * 2 < there.sum() or not both.any():
        return False
    return bool((np.abs(one[both] - other[both]) <= near).mean() >= MOSTLY)
