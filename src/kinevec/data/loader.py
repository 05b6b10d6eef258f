"""Batches of views, from seeded workers: the same seed gives the same batches, whatever their number.

Everything random about a sample comes from (seed, epoch, place in the collection), nothing from the
process it is made in. A video that fails is replaced by another one, chosen from the same three numbers.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from kinevec.config import Config
from kinevec.data.batch import Cut, Sample, collate
from kinevec.data.sampling import clip_numbers, draw_starts, local_numbers, moving_starts
from kinevec.data.script import check_script
from kinevec.data.source import Source
from kinevec.errors import DataError, VideoError
from kinevec.motion.frames import Flows
from kinevec.runtime import clean_processes, quiet_worker
from kinevec.views.color import draw_color
from kinevec.views.geometry import Geometry, crop_resize_flow, draw_geometry
from kinevec.views.pipeline import FLOW_EVERY, View, random_view

ORDER = 2**32 - 1  # stands for the order of an epoch where a video's place would stand
AHEAD_BYTES = 4e9  # of finished batches in shared memory
SUBSTITUTES = 20  # tries to replace a failing video before the batch is given up


class Samples(Dataset[Sample]):
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

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, place = key
        rng = np.random.default_rng([self.config.train.seed, epoch, place])
        index = place
        failures: list[tuple[int, str]] = []
        for _ in range(SUBSTITUTES):
            try:
                return Sample(self._groups(index, rng), index, failures)
            except VideoError as error:
                failures.append((index, error.reason))
                index = int(rng.integers(len(self.source)))
        raise DataError(f"{SUBSTITUTES} videos in a row cannot be read; the last one: {failures[-1][1]}")

    def _groups(self, index: int, rng: np.random.Generator) -> dict[str, list[Cut]]:
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
        height, width = frames.shape[1:3]

        views = [self._view(clip, rng, color_here=self.color_here) for clip in clips[:2]]
        groups = {"rgb": [Cut(v.frames, v.box, None if self.color_here else v.color) for v in views]}
        if "difference" in config.motions:
            groups["difference"] = [Cut(v.plain, v.box, draw_color(config.views, rng)) for v in views]
        if "flow" in config.motions:
            every = 1 if config.terms.fima and config.fima.motion == "flow" else FLOW_EVERY
            groups["flow"] = [
                self._flow(index, numbers[::every], view.geometry, height, width)
                for numbers, view in zip(whole, views, strict=True)
            ]
        if painted:
            local = [self._view(clip, rng, color_here=False) for clip in clips[2:]]
            groups["local"] = [Cut(v.plain, v.box, v.color) for v in local]
        elif parts:
            groups["local"] = [
                self._flow(index, part, self._geometry(height, width, rng), height, width) for part in parts
            ]
        return groups

    def _starts(self, index: int, count: int, rng: np.random.Generator) -> tuple[int, int]:
        clip, sampling = self.config.clip, self.config.sampling
        length = self.config.length
        moving = moving_starts(self.change(index), clip, length) if self.change is not None else None
        return draw_starts(count, length, sampling, rng, moving, reach=clip.window)

    def _view(self, frames: NDArray[np.uint8], rng: np.random.Generator, *, color_here: bool) -> View:
        return random_view(frames, self.config.clip.size, self.config.views, rng, color_here=color_here)

    def _geometry(self, height: int, width: int, rng: np.random.Generator) -> Geometry:
        views = self.config.views
        return draw_geometry(height, width, views.area, views.aspect, views.flip, rng)

    def _flow(self, index: int, numbers: list[int], geometry: Geometry, height: int, width: int) -> Cut:
        assert self.flows is not None
        flow = self.flows.read(index, numbers)
        cut = crop_resize_flow(flow, geometry, (height, width), self.config.clip.size)
        return Cut(cut.transpose(1, 0, 2, 3).astype(np.float16), geometry.normalised(height, width))


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
    """The loader of pretraining; set the epoch on its sampler.

    Raises:
        UsageError: the workers would carry out the running script anew.
    """
    if workers:
        check_script("data.workers=0")
    return DataLoader(
        samples,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin,
        persistent_workers=workers > 0,
        prefetch_factor=_ahead(samples.config, sampler.batch, workers) if workers else None,
        multiprocessing_context=clean_processes(__name__) if workers else None,
        worker_init_fn=quiet_worker,
        generator=torch.Generator(),  # else it draws from the global one
    )


def _ahead(config: Config, batch: int, workers: int) -> int:
    """Batches that each worker is ahead: fewer where batches are large, so that all fit into `AHEAD_BYTES`."""
    kinds = 2 + 2 * len(config.motions) + (2 * config.fima.steps if config.terms.frame else 0)
    size = kinds * batch * config.clip.frames * config.clip.size**2 * 3
    return max(1, min(4, int(AHEAD_BYTES / (workers * size))))
