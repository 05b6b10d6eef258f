"""What the terms of a step share: clips, what the RGB branch made of them, and the shape of a term's answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from kinevec.methods.branch import Key, Query
from kinevec.methods.memory import Queue
from kinevec.views.pipeline import Clips

Directions = Sequence[tuple[int, int]]  # (clip of the query, clip of the key)


@dataclass(frozen=True)
class Seen:
    """Two clips of each of N videos, through the RGB branch.

    Attributes:
        clips: as they came.
        directions: which clip queries for which; both ways in a symmetric method.
        queries: by the clip's number.
        keys: by the clip's number.
    """

    clips: Clips
    directions: Directions
    queries: Mapping[int, Query]
    keys: Mapping[int, Key]


@dataclass(frozen=True)
class Part:
    """Some terms of the loss, the keys they want remembered after the step, and figures for the log."""

    terms: dict[str, Tensor]
    remember: Sequence[tuple[Queue, Tensor]] = ()
    figures: dict[str, Tensor] = field(default_factory=dict)
