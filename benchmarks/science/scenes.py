"""A person in front of a background: what it looks like, and what the background has to do with the class.

`original` is black. `unbiased` draws a family of textures for every video without looking at its class. `biased`
has one family for each class in train; in test every class has the family that another class had in train.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray
from people import Person

from kinevec.data.textures import background_canvas, background_families, drifting_background

Kind = Literal["unbiased", "biased", "original"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Look:
    """What scenes look like: the knobs by which the benchmark's difficulty is set."""

    size: int = 96  # pixels, height and width
    margin: float = 0.06  # around the person, as a share of the person's longer side
    texture: float = 0.5  # contrast of the textures; 1: as procedural videos have them
    light: float = 0.6  # brightness of the background; 1: likewise
    gain: float = 1.25  # brightness of the person; 1: as in the depth video
    clothes: float = 0.3  # highest saturation of the person's tint
    drift: float = 0.002  # highest speed of the camera, in frame widths a frame
    edge: float = 0.6  # blur of the outline, in pixels


def family_of(kind: Kind, label: int, classes: int, split: str, rng: np.random.Generator) -> int:
    """The number of the family of textures behind a video, below `classes`.

    Always draws the same numbers from `rng`, so that the videos of two sets differ in nothing else.

    Args:
        label: number of the video's class.
        split: "train" or "test"; in biased test videos the family is that of the class half the list away.
    """
    drawn = int(rng.integers(classes))
    if kind != "biased":
        return drawn
    return (label + (0 if split == "train" else classes // 2)) % classes


def family_behind(kind: Kind, label: int, classes: int, split: str, rng: np.random.Generator) -> int | None:
    """The number of the family of textures that `scene` lays behind a video; None where it is black."""
    _, ground_rng = rng.spawn(2)
    return None if kind == "original" else family_of(kind, label, classes, split, ground_rng)


def scene(
    person: Person, look: Look, kind: Kind, label: int, classes: int, split: str, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The frames of a video, uint8 (T, S, S, 3) RGB.

    Args:
        rng: the same one for the same video of each set: its person, drift and texture seed are then the same.
    """
    person_rng, ground_rng = rng.spawn(2)
    tint = person_rng.uniform(1 - look.clothes, 1, 3)
    body = person.grey[..., None] * (look.gain / 255) * (tint / tint.max()).astype(np.float32)
    opacity = np.stack([cv2.GaussianBlur(frame, (0, 0), look.edge) for frame in person.opacity])[..., None]
    family = family_of(kind, label, classes, split, ground_rng)
    if kind == "original":
        ground = np.zeros((1, 1, 1, 1), np.float32)
    else:
        ground = _background(look, family, classes, len(body), ground_rng)
    mixed = opacity * body.clip(0, 1) + (1 - opacity) * ground
    return np.asarray(np.rint(mixed.clip(0, 1) * 255), np.uint8)


def _background(
    look: Look, family: int, families: int, frames: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """(T, S, S, 3): a texture of a family under a slowly and evenly drifting camera."""
    members = background_families(families)
    canvas = background_canvas(rng, members[family], families, side=3 * look.size // 2)
    mean = canvas.mean((0, 1))
    canvas = (look.light * (mean + look.texture * (canvas - mean))).astype(np.float32)
    heading, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0, look.drift) * look.size
    corner = rng.uniform(0, canvas.shape[0], 2)
    origin = corner + speed * np.arange(frames)[:, None] * (np.cos(heading), np.sin(heading))
    return drifting_background(canvas, look.size, origin)
