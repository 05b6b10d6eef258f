"""The ceiling: the same encoder, views and schedule, trained from scratch on labels with cross-entropy.

The folder of a supervised run holds what the folder of a pretraining run holds of its encoder, so that both are
judged in the same way; the classifier itself lies beside it.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from kinevec.config import Config
from kinevec.data.loader import EpochSampler
from kinevec.data.sampling import clip_numbers, draw_starts
from kinevec.data.source import Source
from kinevec.errors import Interrupted
from kinevec.models import build_encoder
from kinevec.models.conv import channels_last
from kinevec.models.encoder import Encoder
from kinevec.models.guard import guard_bf16
from kinevec.models.heads import pool
from kinevec.runtime import autocast, pick_device, pick_precision, seeded
from kinevec.train.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint, save_encoder
from kinevec.train.clips import step_seed
from kinevec.train.schedule import learning_rate
from kinevec.views.pipeline import finish_batch, random_view

Told = Callable[[int, int, float], None]  # step, steps in all, mean loss since the last call
TELL_EVERY = 50  # steps


@dataclass(frozen=True)
class Recipe:
    """What supervised training has beside the configuration of pretraining."""

    dropout: float = 0.5  # before the classifier
    smoothing: float = 0.1  # of the labels


class Classifier(nn.Module):
    """An encoder, its pooled features, dropout and a linear layer."""

    def __init__(self, encoder: Encoder, classes: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.channels, classes)

    def forward(self, clips: Tensor) -> Tensor:
        """(N, 3, T, H, W) → logits (N, classes)."""
        logits: Tensor = self.head(self.dropout(pool(self.encoder(clips))))
        return logits


def train(
    config: Config,
    recipe: Recipe,
    source: Source,
    labels: Sequence[int],
    classes: int,
    folder: Path,
    *,
    stopped: threading.Event | None = None,
    told: Told | None = None,
) -> Classifier:
    """Trains to the last epoch, or goes on to it from the checkpoint in `folder`.

    Everything random in a step comes from the seed and the step: a run that was stopped ends as one that was not.

    Args:
        config: clip, views, encoder and optimisation; `train.epochs` and `train.lr` are the ceiling's own.
        source: of the training videos' frames, with their `labels`, below `classes`.

    Raises:
        Interrupted: `stopped` was set; the checkpoint is written.
    """
    device = pick_device(config.train.device)
    with seeded(config.train.seed):
        model = Classifier(build_encoder(config.model.name), classes, recipe.dropout)
    channels_last(model.to(device))
    precision = pick_precision(config.train.precision, device)
    if precision == "bf16":
        shape = (4, 3, config.clip.frames, config.clip.size, config.clip.size)
        guard_bf16(model.encoder, torch.zeros(shape, device=device))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.train.lr, weight_decay=config.train.weight_decay, fused=True
    )
    batch = min(config.train.batch, len(source))
    sampler = EpochSampler(len(source), batch, config.train.seed)
    total, step = config.train.epochs * len(sampler), 0
    if has_checkpoint(folder):
        state = load_checkpoint(folder, config)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    folder.mkdir(parents=True, exist_ok=True)
    truth = torch.tensor(labels)
    losses: list[float] = []
    while step < total:
        epoch = step // len(sampler)
        sampler.epoch, sampler.skip = epoch, step - epoch * len(sampler)
        for keys in sampler:
            places = [place for _, place in keys]
            clips = np.stack([_view(config, source, epoch, place) for place in places])
            warmup = round(config.train.warmup_epochs * len(sampler))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, total, warmup, config.train.lr)
            inputs = finish_batch(torch.from_numpy(clips).to(device), config.views)
            with seeded(step_seed(config, step), device), autocast(device, precision):
                logits = model(inputs).float()
            loss = F.cross_entropy(logits, truth[places].to(device), label_smoothing=recipe.smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.train.clip_norm or float("inf"))
            optimizer.step()
            step += 1
            losses.append(loss.item())
            if told and step % TELL_EVERY == 0:
                told(step, total, float(np.mean(losses[-TELL_EVERY:])))
            if stopped is not None and stopped.is_set():
                _save(folder, model, optimizer, config, step)
                raise Interrupted(f"{folder}: stopped at step {step} of {total}")
    _save(folder, model, optimizer, config, step)
    return model


def _view(config: Config, source: Source, epoch: int, place: int) -> NDArray[np.uint8]:
    """One random view (T, S, S, 3) of one clip of a video, as pretraining makes them."""
    rng = np.random.default_rng([config.train.seed, epoch, place])
    count = source.frames(place)
    start, _ = draw_starts(count, config.clip.span, config.sampling, rng)
    frames = source.read(place, clip_numbers(start, count, config.clip)).frames
    return random_view(frames, config.clip.size, config.views, rng, color_here=True).frames


def _save(
    folder: Path, model: Classifier, optimizer: torch.optim.Optimizer, config: Config, step: int
) -> None:
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    save_checkpoint(folder, state, config)
    save_encoder(folder, model.encoder, config, step)
