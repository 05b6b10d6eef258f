"""Encoders: frames (N, 3, T, H, W) in, feature map (N, C, T', H', W') out."""

import difflib
from collections.abc import Callable

from kinevec.errors import ConfigError
from kinevec.models.encoder import Encoder
from kinevec.models.i3d import I3D
from kinevec.models.resnet import r2plus1d18, r3d18, tiny
from kinevec.models.slowonly import SlowOnly50

__all__ = ["ENCODERS", "Encoder", "build_encoder", "find_encoder"]

ENCODERS: dict[str, Callable[[], Encoder]] = {
    "tiny": tiny,
    "r3d18": r3d18,
    "r2plus1d18": r2plus1d18,
    "i3d": I3D,
    "slowonly50": SlowOnly50,
}


def find_encoder(name: str) -> Callable[[], Encoder]:
    """The function that builds the encoder of this name.

    Raises:
        ConfigError: no encoder has this name.
    """
    if name not in ENCODERS:
        near = difflib.get_close_matches(name, ENCODERS, n=1, cutoff=0.4)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise ConfigError(f"unknown encoder '{name}'; {hint}known: {', '.join(ENCODERS)}")
    return ENCODERS[name]


def build_encoder(name: str) -> Encoder:
    """A freshly initialised encoder; raises `ConfigError` where no encoder has this name."""
    return find_encoder(name)()
