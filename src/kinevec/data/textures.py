"""How procedural videos look: natural-looking backgrounds, textured objects, and laying one over the other.

Lengths are fractions of the frame's side where a docstring says so, and pixels otherwise; colours are RGB in [0, 1].
Axes are H W C for a picture and T H W C for a video.
"""

import colorsys
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Real = NDArray[np.floating[Any]]

_LUMA = np.array([0.299, 0.587, 0.114])
_SHAPES = ("blob", "polygon", "star", "ellipse", "rectangle", "ring")
_PATTERNS = ("stripes", "checks", "noise")
# Sprite side as a share of the frame's. Objects appear at 0.4 to 0.9 of that, so that none is enlarged and blurred.
_SPRITE_SHARE = 0.44
_SUPERSAMPLE = 3


@dataclass(frozen=True)
class Family:
    """A family of backgrounds: what its members have in common; all else is drawn anew for each."""

    hue: float  # turns of the colour circle
    direction: float  # radians; the grain runs along it
    slope: float  # amplitude falls as 1 / frequency**slope; photographs have about 1


def background_families(count: int) -> list[Family]:
    """`count` families with evenly spaced hues, and directions and slopes that do not follow the hue's order."""
    order = np.arange(count)
    directions, slopes = 3 * order % count / count, 7 * order % count / count
    return [
        Family(hue, np.pi * turn, 0.9 + 0.5 * steep)
        for hue, turn, steep in zip(order / count, directions, slopes, strict=True)
    ]


def pink_noise(rng: np.random.Generator, side: int, slope: float, direction: float, stretch: float) -> Float:
    """Periodic noise, (side, side), of mean 0 and standard deviation 1, whose amplitude falls as 1/f**slope.

    The grain is `stretch` times longer along `direction` (radians) than across it. Detail near the pixel raster
    is damped, as by a lens, so that shifting the picture by fractions of a pixel does not make it flicker.
    """
    fx, fy = np.fft.rfftfreq(side)[None, :], np.fft.fftfreq(side)[:, None]
    along = fx * np.cos(direction) + fy * np.sin(direction)
    across = fy * np.cos(direction) - fx * np.sin(direction)
    radius = np.sqrt(stretch * along**2 + across**2 / stretch)
    radius[0, 0] = np.inf  # no constant part
    amplitude = radius**-slope * np.exp(-((np.hypot(fx, fy) / 0.25) ** 2))
    noise = rng.standard_normal((2, *radius.shape))
    field = np.fft.irfft2(amplitude * (noise[0] + 1j * noise[1]), s=(side, side))
    return np.asarray((field - field.mean()) / field.std(), np.float32)


def background_canvas(rng: np.random.Generator, family: Family, families: int, side: int) -> Float:
    """A periodic coloured background, (side, side, 3), of one of `families` families."""
    hue = family.hue + rng.uniform(-0.25, 0.25) / families
    direction = family.direction + rng.uniform(-0.25, 0.25) * np.pi / families
    slope = family.slope + rng.uniform(-0.1, 0.1)
    stretch = rng.uniform(1.5, 3.0)
    tint = colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.3, 0.5), rng.uniform(0.45, 0.65))
    light, first, second = (pink_noise(rng, side, slope, direction, stretch) for _ in range(3))
    # Two colour fields, warm-cool and green-magenta, weaker than the light as in photographs.
    chroma = rng.uniform(0.02, 0.04)
    canvas = np.array(tint, np.float32) + rng.uniform(0.08, 0.13) * light[..., None]
    canvas += chroma * (first[..., None] * np.array([1.0, 0.0, -1.0]))
    canvas += chroma * (second[..., None] * np.array([0.5, -1.0, 0.5]))
    return np.clip(canvas, 0, 1).astype(np.float32)


def drifting_background(canvas: Float, size: int, origin: Real) -> Float:
    """Windows (T, size, size, 3) of a periodic canvas; window t has its corner at `origin[t]` = (x, y) in pixels."""
    period = canvas.shape[0]
    tiled = np.pad(canvas, ((0, size + 1), (0, size + 1), (0, 0)), mode="wrap")
    middle = origin % period + (size - 1) / 2
    return np.stack([cv2.getRectSubPix(tiled, (size, size), (float(x), float(y))) for x, y in middle])


def object_sprite(rng: np.random.Generator, size: int, ground: Real) -> Float:
    """A textured object with soft edges, (S, S, 4): colour times opacity, and opacity.

    Shape, pattern and colours are random. The colours are drawn until the object stands out from the `ground`
    colour. The object's largest radius is S/2 less one pixel.
    """
    side = round(_SPRITE_SHARE * size)
    axis = (np.arange(side * _SUPERSAMPLE) + 0.5) / (side * _SUPERSAMPLE) * 2 - 1
    x, y = np.meshgrid(axis, axis)
    inside = _inside(rng, x * side / (side - 2), y * side / (side - 2))
    share = _pattern(rng, x, y)[..., None]
    dark, bright = _two_colours(rng, ground)
    colour = dark * (1 - share) + bright * share
    fine = np.concatenate([colour, np.ones_like(share)], axis=2) * inside[..., None]
    return np.asarray(cv2.resize(fine.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA))


def overlay(
    sprite: Float, background: Float, centre: Real, diameter: Real, angle: Real
) -> tuple[Float, NDArray[np.bool_]]:
    """Lay the object over a video (T, H, W, 3); returns the video and where the object covers more than half a pixel.

    `centre` is (T, 2) as (x, y) in pixels with pixel centres at whole numbers; `diameter` (T,) in pixels; `angle`
    (T,) in radians.
    """
    frames, height, width = background.shape[:3]
    half = (sprite.shape[0] - 1) / 2
    layer = np.empty((frames, height, width, 4), np.float32)
    zoom = diameter / (sprite.shape[0] - 2)
    for t in range(frames):
        cos, sin = zoom[t] * np.cos(angle[t]), zoom[t] * np.sin(angle[t])
        linear = np.array([[cos, -sin], [sin, cos]])
        move = np.column_stack([linear, centre[t] - linear @ (half, half)])
        layer[t] = cv2.warpAffine(sprite, move, (width, height), flags=cv2.INTER_LINEAR)
    opacity = layer[..., 3:]
    return layer[..., :3] + (1 - opacity) * background, opacity[..., 0] > 0.5


def _inside(rng: np.random.Generator, x: Real, y: Real) -> NDArray[np.bool_]:
    """Where a random shape of largest radius 1 lies."""
    turn, radius = np.arctan2(y, x), np.hypot(x, y)
    shape = _SHAPES[rng.integers(len(_SHAPES))]
    aspect = rng.uniform(0.6, 0.8)
    corners = int(rng.integers(3, 7))
    if shape == "ellipse":
        share = np.hypot(x, y / aspect)  # distance from the centre as a share of the rim's
    elif shape == "rectangle":
        share = np.maximum(np.abs(x), np.abs(y) / aspect) * np.hypot(1, aspect)
    elif shape == "polygon":
        wedge = np.pi / corners
        share = radius * np.cos(turn % (2 * wedge) - wedge) / np.cos(wedge)
    elif shape == "star":
        share = radius / (aspect + (1 - aspect) * np.cos(corners * turn))
    elif shape == "ring":
        share = np.where(radius > 0.5 * aspect, radius, np.inf)
    else:
        waves = np.arange(2, 6)  # a blob; the first harmonic is left out since it would only move the centre
        phases, heights = rng.uniform(0, 2 * np.pi, 4), rng.normal(0, 0.3, 4) / waves
        bulges = np.cos(turn[..., None] * waves + phases) @ heights
        share = radius * (1 + bulges.max()) - bulges
    return np.asarray(share < 1)


def _pattern(rng: np.random.Generator, x: Real, y: Real) -> Real:
    """A random pattern in [0, 1] with a few periods across the object."""
    kind = _PATTERNS[rng.integers(len(_PATTERNS))]
    turn = rng.uniform(0, 2 * np.pi)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    pitch = rng.uniform(1.5, 2.5) * np.pi
    phase = rng.uniform(0, 2 * np.pi, 2)
    if kind == "stripes":
        wave = np.sin(pitch * u + phase[0])
    elif kind == "checks":
        wave = np.sin(pitch * u + phase[0]) * np.sin(pitch * v + phase[1]) * 1.5
    else:
        wave = pink_noise(rng, x.shape[0], 1.5, 0.0, 1.0)
    return np.asarray(0.5 + 0.5 * np.tanh(2.0 * wave))


def _two_colours(rng: np.random.Generator, ground: Real) -> tuple[Real, Real]:
    """Two colours unlike each other, whose mean is clearly lighter or darker than the `ground`."""
    while True:
        first, second = rng.uniform(0, 1, (2, 3))
        from_ground = abs(_LUMA @ ((first + second) / 2 - ground))
        if from_ground > 0.22 and np.abs(first - second).max() > 0.4:
            return first, second
