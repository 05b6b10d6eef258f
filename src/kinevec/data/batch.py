"""What the loader hands over: clips of several videos, by kind."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinevec.views.color import Color

Box = tuple[float, float, float, float]


@dataclass
class Group:
    """Clips of one kind: V of each of N videos.

    Attributes:
        clips: uint8 (V, N, T, S, S, 3); optical flow is float16 (V, N, 2, T, S, S), in pixels of the crop.
        boxes: float32 (V, N, 4), as shares of the source frame, x1 > x2 where flipped.
        matrix: float32 (V, N, 3, 4), colour changes still to be applied; None where there are none.
        sigma: float32 (V, N), blur likewise.
    """

    clips: Tensor
    boxes: Tensor
    matrix: Tensor | None = None
    sigma: Tensor | None = None


@dataclass
class Batch:
    """Clips of N videos.

    Attributes:
        rgb: two clips of each video.
        difference: the same two crops without colour changes, to take frame differences of; None where no term
            needs them.
        flow: optical flow of the same two crops, likewise.
        local: the local clips of the first clip's window, then those of the second's, with crops of their own:
            to take differences of, or flow.
        index: int64 (N,), places in the collection of the videos that were read.
        failures: (place, reason) of the videos that could not be read and were replaced.
    """

    rgb: Group
    difference: Group | None
    flow: Group | None
    local: Group | None
    index: Tensor
    failures: list[tuple[int, str]]

    def __len__(self) -> int:
        return self.rgb.clips.shape[1]

    def pin_memory(self) -> "Batch":  # called by DataLoader
        pinned: dict[int, Tensor] = {}  # differences and RGB can be one tensor
        for group in (self.rgb, self.difference, self.flow, self.local):
            if group is not None:
                clips = group.clips
                if id(clips) not in pinned:
                    pinned[id(clips)] = clips if clips.is_pinned() else clips.pin_memory()
                group.clips = pinned[id(clips)]
        return self


@dataclass(frozen=True)
class Cut:
    """One clip of one video, cut out: what goes into a `Group`.

    Attributes:
        clip: uint8 (T, S, S, 3), or float16 flow (2, T, S, S).
        box: as in `Group`.
        color: change still to be applied.
    """

    clip: NDArray[Any]
    box: Box
    color: Color | None = None


@dataclass(frozen=True)
class Sample:
    """The clips of one video by kind: "rgb", and "difference", "flow" and "local" where a term needs them."""

    cuts: dict[str, list[Cut]]
    index: int
    failures: list[tuple[int, str]]


def collate(samples: list[Sample]) -> Batch:
    """N samples → one batch."""
    cuts = {kind: [sample.cuts[kind] for sample in samples] for kind in samples[0].cuts}
    rgb = _group(cuts["rgb"])
    # What is not coloured yet serves for the differences as well, and is handed over once.
    same = rgb.clips if rgb.matrix is not None else None
    return Batch(
        rgb,
        _group(cuts["difference"], same) if "difference" in cuts else None,
        _group(cuts["flow"]) if "flow" in cuts else None,
        _group(cuts["local"]) if "local" in cuts else None,
        torch.tensor([sample.index for sample in samples]),
        [failure for sample in samples for failure in sample.failures],
    )


def _group(cuts: list[list[Cut]], clips: Tensor | None = None) -> Group:
    """N lists of V clips → one group, of `clips` where they are stacked already."""
    views = list(zip(*cuts, strict=True))  # V lists of N
    boxes = np.array([[cut.box for cut in view] for view in views], dtype=np.float32)
    if clips is None:
        clips = torch.from_numpy(np.stack([np.stack([cut.clip for cut in view]) for view in views]))
    group = Group(clips, torch.from_numpy(boxes))
    colors = [[cut.color for cut in view if cut.color is not None] for view in views]
    if colors[0]:
        group.matrix = torch.tensor(np.array([[c.matrix for c in view] for view in colors], np.float32))
        sigma = torch.tensor([[c.sigma for c in view] for view in colors], dtype=torch.float32)
        group.sigma = sigma if sigma.any() else None
    return group
