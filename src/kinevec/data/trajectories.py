"""The ten motions of the procedural videos, balanced so that no single frame tells them apart."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

_PLACE_VARIANCE = 0.125**2  # along each axis, (frame side)²; no path alone has more
_DIAMETER = 28 / 96  # frame sides, geometric mean
_LOG_DIAMETER_REACH = 0.34  # diameters span 0.71 to 1.40 times the mean: 20 to 39 pixels of 96


class Motion(NamedTuple):
    """What a class does over time: each field (T,), or a constant. Lengths are in frame sides."""

    path: NDArray[np.complexfloating[Any, Any]] | complex = (
        0j  # x + iy; direction, mirror and place are drawn later
    )
    angle: Array | float = 0.0  # radians
    swell: Array | float | None = None  # size wave in [-1, 1], equally often at each value; None: constant


def _triangle(turns: Array) -> Array:
    """Triangle wave in [-1, 1] of period 1."""
    return 4 * np.abs(turns - np.round(turns)) - 1


# Each class is a function of the frame numbers `t`, which start at a random time. Periods are in frames.


def _oscillate(rng: np.random.Generator, t: Array) -> Motion:
    return Motion(path=rng.uniform(0.11, 0.165) * np.sin(2 * np.pi * t / rng.uniform(14, 28)) + 0j)


def _orbit(rng: np.random.Generator, t: Array) -> Motion:
    return Motion(path=rng.uniform(0.09, 0.14) * np.exp(2j * np.pi * t / rng.uniform(14, 28)))


def _spin(rng: np.random.Generator, t: Array) -> Motion:
    return Motion(angle=rng.choice([-1, 1]) * 2 * np.pi * t / rng.uniform(14, 28))


def _pulse(rng: np.random.Generator, t: Array) -> Motion:
    return Motion(swell=_triangle(t / rng.uniform(12, 22)))


def _bounce(rng: np.random.Generator, t: Array) -> Motion:
    """A throw and two rebounds of half the height each, then the next throw."""
    flights = rng.uniform(12, 17) * np.sqrt([1.0, 0.5, 0.25])  # constant gravity: time goes as √height
    ends = np.cumsum(flights)
    since = t % ends[-1]
    hop = np.searchsorted(ends, since, side="right")
    share = (since - ends[hop] + flights[hop]) / flights[hop]
    return Motion(path=rng.uniform(0.2, 0.3) * 0.5**hop * 4 * share * (1 - share) + 0j)


def _zigzag(rng: np.random.Generator, t: Array) -> Motion:
    onward = rng.uniform(0.14, 0.19) * _triangle(t / rng.uniform(44, 64))
    aside = rng.uniform(0.07, 0.1) * _triangle(t / rng.uniform(10, 16))
    return Motion(path=onward + 1j * aside)


def _shake(rng: np.random.Generator, t: Array) -> Motion:
    return Motion(path=rng.uniform(0.022, 0.035) * (rng.standard_normal((2, t.size)).T @ (1, 1j)))


def _spiral(rng: np.random.Generator, t: Array) -> Motion:
    turns = t / rng.uniform(11, 16)
    radius = rng.uniform(0.14, 0.19) * (1 + _triangle(turns / rng.uniform(2.5, 3.5))) / 2
    return Motion(path=radius * np.exp(2j * np.pi * turns))


def _stop_and_go(rng: np.random.Generator, t: Array) -> Motion:
    """Rests at a corner of a triangle, goes to either of the other two, rests, and so on."""
    cycle, going = rng.uniform(10, 14), rng.uniform(4, 6)
    since = (t - t[0]) / cycle + rng.uniform()
    corners = np.cumsum(rng.choice([-1, 1], size=int(since[-1]) + 2))
    leg = since.astype(int)
    share = np.clip((since - leg) * cycle / going, 0, 1)
    stations = rng.uniform(0.11, 0.14) * np.exp(2j * np.pi * corners / 3)
    return Motion(path=stations[leg] + (stations[leg + 1] - stations[leg]) * share**2 * (3 - 2 * share))


def _approach(rng: np.random.Generator, t: Array) -> Motion:
    """Grows steadily, then falls back fast."""
    growing, falling = rng.uniform(22, 32), rng.uniform(3, 5)
    since = t % (growing + falling)
    return Motion(swell=np.interp(since, [0, growing, growing + falling], [-1, 1, -1]))


_MOTIONS: dict[str, Callable[[np.random.Generator, Array], Motion]] = {
    "approach": _approach,
    "bounce": _bounce,
    "orbit": _orbit,
    "oscillate": _oscillate,
    "pulse": _pulse,
    "shake": _shake,
    "spin": _spin,
    "spiral": _spiral,
    "stop_and_go": _stop_and_go,
    "zigzag": _zigzag,
}
CLASSES: tuple[str, ...] = tuple(_MOTIONS)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Where the object is, T frames long, in pixels (pixel centres at whole numbers) and radians."""

    centre: Array  # (T, 2) as (x, y)
    diameter: Array  # (T,) of the smallest circle about the centre that holds the object
    angle: Array  # (T,)


def draw_trajectory(rng: np.random.Generator, label: str, frames: int, size: int) -> Trajectory:
    """Draw one trajectory of class `label` for a video of `frames` frames, `size` pixels square."""
    motion = _MOTIONS[label](rng, np.arange(frames) + rng.uniform(0, 1000))
    path = np.broadcast_to(motion.path, frames) * np.exp(1j * rng.uniform(0, 2 * np.pi))
    if rng.integers(2):
        path = path.conj()
    steps = np.column_stack([path.real, path.imag])
    steps -= steps.mean(axis=0)
    # The place varies over videos by what the path leaves of a fixed covariance, so that their sum has the same
    # covariance for all paths. A normal law cut at two deviations keeps the higher moments close as well.
    spent, axes = np.linalg.eigh(steps.T @ steps / frames)
    reach = np.sqrt(-2 * np.log(1 - rng.uniform() * (1 - np.exp(-2))) / (1 - 2 / np.expm1(2)))
    heading = rng.uniform(0, 2 * np.pi)
    left = np.sqrt(np.maximum(_PLACE_VARIANCE - spent, 0))
    place = axes @ (left * reach * (np.cos(heading), np.sin(heading)))
    # An object of constant size stays at one random value of the wave by which the others grow and shrink.
    swell = rng.uniform(-1, 1) if motion.swell is None else motion.swell
    depth = rng.uniform(0.65, 1) * _LOG_DIAMETER_REACH
    rest = rng.uniform(-1, 1) * (_LOG_DIAMETER_REACH - depth)
    return Trajectory(
        centre=(size - 1) / 2 + size * (place + steps),
        diameter=np.broadcast_to(size * _DIAMETER * np.exp(rest + depth * swell), frames),
        angle=np.broadcast_to(rng.uniform(0, 2 * np.pi) + motion.angle, frames),
    )
