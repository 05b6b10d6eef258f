"""Batches of views, from seeded workers: the same seed gives the same batches, whatever their number.

Everything random about a sample comes from (seed, epoch, place in the collection), nothing from the
process it is made in. A video that fails is replaced by another one, chosen from the same three numbers.
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from kinevec.config import Config
from kinevec.data.sampling import clip_numbers, draw_starts, local_numbers, moving_starts
from kinevec.data.source import Source
from kinevec.errors import DataError, VideoError
from kinevec.motion.frames import Flows
from kinevec.views.color import Color, draw_color
from kinevec.views.geometry import Geometry, crop_resize_flow, draw_geometry
from kinevec.views.pipeline import FLOW_EVERY, View, random_view

ORDER = 2**32 - 1  # stands for the order of an epoch where a video's place would stand
Box = tuple[float, float, float, float]
SUBSTITUTES = 20  # tries to replace a failing video before the batch is given up


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
                group.clips = pinned.setdefault(id(clips), clips if clips.is_pinned() else clips.pin_memory())
        return self


@dataclass(frozen=True)
class _Clip:
    """One clip of one video, as it goes into a `Group`."""

    clip: NDArray[Any]
    box: Box
    color: Color | None = None


@dataclass(frozen=True)
class _Sample:
    groups: dict[str, list[_Clip]]
    index: int
    failures: list[tuple[int, str]]


class Samples(Dataset[_Sample]):
    """Two clips of one video and their motion, randomly cut and coloured; asked by (epoch, place).

    Args:
        source: of the frames.
        config: decides which kinds of clips there are.
        color_here: apply the colour changes of RGB clips; else they are only drawn, for the device.
        flows: of the same videos, where a term needs optical flow.
        change: how much the motion of each frame of a video changes, (F,); None samples without regard to it.
    """

    def __init__(
        self,
        source: Source,
        config: Config,
        *,
        color_here: bool,
        flows: Flows | None = None,
        change: Callable[[int], NDArray[np.float32]] | None = None,
    ) -> None:
        self.source = source
        self.config = config
        self.color_here = color_here
        self.flows = flows
        self.change = change

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: tuple[int, int]) -> _Sample:
        epoch, place = key
        rng = np.random.default_rng([self.config.train.seed, epoch, place])
        index = place
        failures: list[tuple[int, str]] = []
        for _ in range(SUBSTITUTES):
            try:
                return _Sample(self._groups(index, rng), index, failures)
            except VideoError as error:
                failures.append((index, error.reason))
                index = int(rng.integers(len(self.source)))
        raise DataError(f"{SUBSTITUTES} videos in a row cannot be read; the last one: {failures[-1][1]}")

    def _groups(self, index: int, rng: np.random.Generator) -> dict[str, list[_Clip]]:
        config, count = self.config, self.source.frames(index)
        starts = self._starts(index, count, rng)
        whole = [clip_numbers(start, count, config.clip) for start in starts]
        parts: list[list[int]] = []
        if config.terms.frame:
            parts = [
                part
                for start in starts
                for part in local_numbers(start, count, config.clip, config.fima.steps)
            ]
        painted = parts if config.fima.motion == "difference" else []  # flow needs no frames of its own
        frames = self.source.read(index, [number for clip in (*whole, *painted) for number in clip]).frames
        clips = frames.reshape(-1, config.clip.frames, *frames.shape[1:])

        views = [self._view(clip, rng, color_here=self.color_here) for clip in clips[:2]]
        groups = {"rgb": [_Clip(v.frames, v.box, None if self.color_here else v.color) for v in views]}
        if "difference" in config.motions:
            groups["difference"] = [_Clip(v.plain, v.box, draw_color(config.views, rng)) for v in views]
        if "flow" in config.motions:
            height, width = frames.shape[1:3]
            every = 1 if config.terms.fima and config.fima.motion == "flow" else FLOW_EVERY
            groups["flow"] = [
                self._flow(index, numbers[::every], view.geometry, height, width)
                for numbers, view in zip(whole, views, strict=True)
            ]
        if painted:
            local = [self._view(clip, rng, color_here=False) for clip in clips[2:]]
            groups["local"] = [_Clip(v.plain, v.box, v.color) for v in local]
        elif parts:
            height, width = frames.shape[1:3]
            groups["local"] = [
                self._flow(index, part, self._geometry(height, width, rng), height, width) for part in parts
            ]
        return groups

    def _starts(self, index: int, count: int, rng: np.random.Generator) -> tuple[int, int]:
        clip, sampling = self.config.clip, self.config.sampling
        moving = moving_starts(self.change(index), clip) if self.change is not None else None
        length = clip.window if self.config.terms.fima else clip.span
        return draw_starts(count, length, sampling, rng, moving)

    def _view(self, frames: NDArray[np.uint8], rng: np.random.Generator, *, color_here: bool) -> View:
        return random_view(frames, self.config.clip.size, self.config.views, rng, color_here=color_here)

    def _geometry(self, height: int, width: int, rng: np.random.Generator) -> Geometry:
        views = self.config.views
        return draw_geometry(height, width, views.area, views.aspect, views.flip, rng)

    def _flow(self, index: int, numbers: list[int], geometry: Geometry, height: int, width: int) -> _Clip:
        assert self.flows is not None
        flow = self.flows.read(index, numbers)
        cut = crop_resize_flow(flow, geometry, (height, width), self.config.clip.size)
        return _Clip(cut.transpose(1, 0, 2, 3).astype(np.float16), geometry.normalised(height, width))


class EpochSampler(Sampler[list[tuple[int, int]]]):
    """Places of all videos in an order shuffled by (seed, epoch), in full batches; the rest is left out.

    Args:
        batch: videos in a batch of one rank.
        rank, world: which of so many processes this is. All of them draw the same order and take turns at it
            batch by batch, so that together they see in each step what one with `world` times the batch would.
    """

    def __init__(self, videos: int, batch: int, seed: int, *, rank: int = 0, world: int = 1) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world}")
        self.videos = videos
        self.batch = batch
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0
        self.skip = 0  # batches of this epoch that a resumed run has already seen

    def __len__(self) -> int:
        return self.videos // (self.batch * self.world)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng([self.seed, self.epoch, ORDER]).permutation(self.videos)
        for step in range(self.skip, len(self)):
            start = (step * self.world + self.rank) * self.batch
            yield [(self.epoch, int(place)) for place in order[start : start + self.batch]]


def make_loader(samples: Samples, sampler: EpochSampler, *, workers: int, pin: bool) -> DataLoader[Any]:
    """The loader of pretraining; set the epoch on its sampler."""
    return DataLoader(
        samples,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=pin,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        multiprocessing_context=_clean_processes() if workers else None,
        worker_init_fn=_leave_ctrl_c_to_parent,
    )


def _clean_processes() -> BaseContext:
    """Workers that do not inherit the threads of this process, with whose locks a fork can hang for ever.

    They come from a server process that imports PyTorch once. Their death is noticed when a batch is asked
    for, never in the middle of a step.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _leave_ctrl_c_to_parent(worker: int) -> None:
    """Ctrl-C reaches the whole process group; the parent ends its workers when it has saved its work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _collate(samples: list[_Sample]) -> Batch:
    groups = {kind: _group([sample.groups[kind] for sample in samples]) for kind in samples[0].groups}
    rgb, difference = groups["rgb"], groups.get("difference")
    if difference is not None and rgb.matrix is not None:
        difference.clips = rgb.clips  # not coloured yet, so the same: handed over once
    return Batch(
        rgb,
        difference,
        groups.get("flow"),
        groups.get("local"),
        torch.tensor([sample.index for sample in samples]),
        [failure for sample in samples for failure in sample.failures],
    )


def _group(clips: list[list[_Clip]]) -> Group:
    """N lists of V clips → one group."""
    views = list(zip(*clips, strict=True))  # V lists of N
    boxes = np.array([[clip.box for clip in view] for view in views], dtype=np.float32)
    stacked = np.stack([np.stack([clip.clip for clip in view]) for view in views])
    group = Group(torch.from_numpy(stacked), torch.from_numpy(boxes))
    colors = [[clip.color for clip in view if clip.color is not None] for view in views]
    if colors[0]:
        group.matrix = torch.tensor(np.array([[c.matrix for c in view] for view in colors], np.float32))
        sigma = torch.tensor([[c.sigma for c in view] for view in colors], dtype=torch.float32)
        group.sigma = sigma if sigma.any() else None
    return group
