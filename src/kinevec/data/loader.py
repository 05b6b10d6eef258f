"""Batches of views, from seeded workers: the same seed gives the same batches, whatever their number.

Everything random about a sample comes from (seed, epoch, place in the collection), nothing from the
process it is made in. A video that fails is replaced by another one, chosen from the same three numbers.
"""

import multiprocessing
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from kinevec.config import Config
from kinevec.data.sampling import two_clips
from kinevec.data.source import Source
from kinevec.errors import DataError, VideoError
from kinevec.views.pipeline import View, random_view

ORDER = 2**32 - 1  # stands for the order of an epoch where a video's place would stand
SUBSTITUTES = 20  # tries to replace a failing video before the batch is given up


@dataclass
class Batch:
    """Views of N videos, V of each.

    Attributes:
        clips: uint8 (V, N, T, S, S, 3).
        boxes: float32 (V, N, 4), as shares of the source frame.
        matrix: float32 (V, N, 3, 4), colour changes still to be applied; None where the workers did it.
        sigma: float32 (V, N), blur likewise.
        index: int64 (N,), places in the collection of the videos that were read.
        failures: (place, reason) of the videos that could not be read and were replaced.
    """

    clips: Tensor
    boxes: Tensor
    matrix: Tensor | None
    sigma: Tensor | None
    index: Tensor
    failures: list[tuple[int, str]]

    def __len__(self) -> int:
        return self.clips.shape[1]

    def pin_memory(self) -> "Batch":  # called by DataLoader
        self.clips = self.clips.pin_memory()
        return self


@dataclass(frozen=True)
class _Sample:
    views: tuple[View, ...]
    index: int
    failures: list[tuple[int, str]]


class TwoClips(Dataset[_Sample]):
    """Two independently augmented clips of one video; asked by (epoch, place)."""

    def __init__(self, source: Source, config: Config, *, color_here: bool) -> None:
        self.source = source
        self.config = config
        self.color_here = color_here

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: tuple[int, int]) -> _Sample:
        epoch, place = key
        rng = np.random.default_rng([self.config.train.seed, epoch, place])
        index = place
        failures: list[tuple[int, str]] = []
        for _ in range(SUBSTITUTES):
            try:
                return _Sample(self._views(index, rng), index, failures)
            except VideoError as error:
                failures.append((index, error.reason))
                index = int(rng.integers(len(self.source)))
        raise DataError(f"{SUBSTITUTES} videos in a row cannot be read; the last one: {failures[-1][1]}")

    def _views(self, index: int, rng: np.random.Generator) -> tuple[View, ...]:
        clip, views = self.config.clip, self.config.views
        first, second = two_clips(self.source.frames(index), clip, rng)
        both = self.source.read(index, first + second).frames
        return tuple(
            random_view(frames, clip.size, views, rng, color_here=self.color_here)
            for frames in (both[: clip.frames], both[clip.frames :])
        )


class EpochSampler(Sampler[list[tuple[int, int]]]):
    """Places of all videos in an order shuffled by (seed, epoch), in full batches; the rest is left out."""

    def __init__(self, videos: int, batch: int, seed: int) -> None:
        self.videos = videos
        self.batch = batch
        self.seed = seed
        self.epoch = 0
        self.skip = 0  # batches of this epoch that a resumed run has already seen

    def __len__(self) -> int:
        return self.videos // self.batch

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng([self.seed, self.epoch, ORDER]).permutation(self.videos)
        for step in range(self.skip, len(self)):
            places = order[step * self.batch : (step + 1) * self.batch]
            yield [(self.epoch, int(place)) for place in places]


def make_loader(
    source: Source, config: Config, *, batch: int, workers: int, color_here: bool, pin: bool
) -> tuple[DataLoader[Any], EpochSampler]:
    """The loader of pretraining and the sampler to set the epoch on."""
    sampler = EpochSampler(len(source), batch, config.train.seed)
    loader = DataLoader(
        TwoClips(source, config, color_here=color_here),
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=_Collate(color_here),
        pin_memory=pin,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        multiprocessing_context=_clean_processes() if workers else None,
        worker_init_fn=_leave_ctrl_c_to_parent,
    )
    return loader, sampler


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


class _Collate:
    def __init__(self, color_here: bool) -> None:
        self.color_here = color_here

    def __call__(self, samples: list[_Sample]) -> Batch:
        views = list(zip(*(sample.views for sample in samples), strict=True))  # V lists of N
        clips = np.stack([np.stack([view.frames for view in group]) for group in views])
        boxes = np.array([[view.box for view in group] for group in views], dtype=np.float32)
        matrix = sigma = None
        if not self.color_here:
            changes = [[view.color for view in group] for group in views]
            matrix = torch.tensor(np.array([[c.matrix for c in group] for group in changes], np.float32))
            sigma = torch.tensor([[c.sigma for c in group] for group in changes], dtype=torch.float32)
        return Batch(
            clips=torch.from_numpy(clips),
            boxes=torch.from_numpy(boxes),
            matrix=matrix,
            sigma=sigma,
            index=torch.tensor([sample.index for sample in samples]),
            failures=[failure for sample in samples for failure in sample.failures],
        )
