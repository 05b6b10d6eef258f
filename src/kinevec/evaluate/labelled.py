"""Random training views of labelled videos, one clip of each, from the loader of pretraining."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch.utils.data import DataLoader

from kinevec.config import Config, Sampling, Terms
from kinevec.data.batch import Batch, Cut
from kinevec.data.loader import EpochSampler, Samples, make_loader
from kinevec.data.sampling import clip_numbers, draw_starts
from kinevec.data.source import Source
from kinevec.errors import DataError, TrainingError
from kinevec.runtime import default_workers
from kinevec.views.pipeline import random_view


class LabelledClips(Samples):
    """One clip of one video at a random time, randomly cut and coloured; asked by (epoch, place).

    Labels are found by the `index` of a batch, so that a video that replaces an unreadable one brings its own.

    Args:
        source, config, color_here: as for `Samples`; all that is random follows from `config.train.seed`.
    """

    def _groups(self, index: int, rng: np.random.Generator) -> dict[str, list[Cut]]:
        clip, count = self.config.clip, self.source.frames(index)
        start, _ = draw_starts(count, clip.span, Sampling(), rng)
        frames = self.source.read(index, clip_numbers(start, count, clip)).frames
        view = random_view(frames, clip.size, self.config.views, rng, color_here=self.color_here)
        return {"rgb": [Cut(view.frames, view.box, None if self.color_here else view.color)]}


def supervised(config: Config, seed: int) -> Config:
    """The configuration of an encoder's clips and views, without what only pretraining needs."""
    return replace(config, terms=Terms(), sampling=Sampling(), train=replace(config.train, seed=seed))


def labelled_loader(
    source: Source, config: Config, batch: int, workers: int, device: torch.device
) -> tuple["DataLoader[Batch]", EpochSampler]:
    """Batches of `LabelledClips`, and the sampler on which the epoch is set.

    Args:
        config: from `supervised`.
        workers: processes; -1: as many as pretraining would take.
    """
    sampler = EpochSampler(len(source), batch, config.train.seed)
    clips = LabelledClips(source, config, color_here=device.type == "cpu")
    count = default_workers(device) if workers < 0 else workers
    return make_loader(clips, sampler, workers=count, pin=device.type == "cuda"), sampler


def batches(loader: "DataLoader[Batch]") -> Iterator[Batch]:
    """The batches of an epoch; what goes wrong in a loader process comes out in its own words.

    Raises:
        DataError: too many videos in a row cannot be read.
        TrainingError: a loader process died.
    """
    try:
        yield from loader
    except DataError as error:  # PyTorch wraps the message into the worker's traceback
        last = str(error).strip().splitlines()[-1]
        raise DataError(last.partition("DataError: ")[2] or last) from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError("a loader process died (out of memory?); set workers=0") from error
