"""Fine-tuning: an encoder and a linear layer trained together on labelled videos (docs/evaluation.md).

`FinetuneConfig(freeze=True)` trains the linear layer alone along the same path, as papers that report a linear
probe by SGD do. The linear probe of `kinevec eval` is another one, `classify.linear_probe`: the optimum of a convex
problem, found by L-BFGS on features that were computed once, has no learning rate, no schedule and no random
views, so that it says more of the encoder and less of the patience it was tuned with; and it takes seconds.

The supervised training of an encoder from scratch is the fine-tuning of an untrained one.
"""

import copy
import logging
import math
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from kinevec.config import Config, to_dict
from kinevec.data.batch import Batch
from kinevec.data.records import Record
from kinevec.data.source import Collection, Progress
from kinevec.encoders import Loaded
from kinevec.errors import DataError, LateError, OutputError, TrainingError
from kinevec.evaluate.classifier import Classifier, classify_videos, save_classifier
from kinevec.evaluate.finetune_config import FinetuneConfig as FinetuneConfig
from kinevec.evaluate.finetune_config import learning_rate
from kinevec.evaluate.labelled import batches, labelled_loader, supervised
from kinevec.evaluate.outcomes import Outcomes, classified
from kinevec.models.conv import channels_last
from kinevec.models.guard import guard_bf16
from kinevec.runtime import autocast, pick_device, pick_precision, seeded
from kinevec.train.clips import step_seed
from kinevec.train.supply import open_supply
from kinevec.views.pipeline import finish_batch

log = logging.getLogger(__name__)


def finetune(
    loaded: Loaded,
    train: Collection,
    test: Collection,
    config: FinetuneConfig | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    *,
    save: Path | None = None,
) -> Outcomes:
    """Trains an encoder with a linear layer on labelled videos and scores test videos at the last epoch.

    Training sees one random clip of each video an epoch, by the random views of the encoder's configuration. A test
    video's softmax scores are averaged over its clips and crops. Test videos are looked at once, after training.
    The same seed gives the same result on the same hardware. The encoder that is passed stays as it is.

    Args:
        loaded: the encoder; `untrained:NAME` is trained from scratch.
        train, test: videos with labels; those without are left out.
        config: None: as published for UCF101.
        device: where to compute.
        progress: told of training videos decoded, steps, and test videos, all as one count.
        save: file for the trained classifier; see `classifier.load_classifier`.

    Returns:
        "finetune top-1", "finetune top-5" and "finetune per class" of the test videos; "linear-sgd …" where the
        encoder is frozen.

    Raises:
        DataError: fewer than two labelled training videos or classes, no labelled test video, or none decodes.
        TrainingError: the loss is not finite.
        ConfigError: the device is not there.
        OutputError: there is no room for decoded frames.
        LateError: the classifier cannot be written; carries the outcomes.
    """
    config = config or FinetuneConfig()
    train, test = (part.only(lambda record: bool(record.label)) for part in (train, test))
    classes = sorted({record.label or "" for record in train.records})
    if len(train) < 2 or len(classes) < 2 or not len(test):
        raise DataError(
            f"fine-tuning needs labelled videos: found {len(train)} of {len(classes)} classes in train and "
            f"{len(test)} in test"
        )
    work = _Work(loaded, classes, config, device)
    steps = config.epochs * (len(train) // min(config.batch, len(train)))
    count = _Count(progress, len(train) + steps + len(test))
    losses, videos = work.train(train, count)
    unsaved: OutputError | None = None  # the scores are not lost for it
    if save is not None:
        try:
            save_classifier(save, work.model, loaded.config, classes)
        except OutputError as error:
            unsaved = error
    count.reach(len(train) + steps)
    kept, scores = classify_videos(
        work.model,
        work.clips,
        test,
        config.clips,
        config.crops,
        work.device,
        work.precision,
        progress=count.step,
    )
    facts = {
        "settings": to_dict(config),
        "precision": work.precision,
        "train_videos": videos,
        "loss_by_epoch": [round(loss, 4) for loss in losses],
        "selected_on": "nothing (last epoch)",
    }
    names, labels = list(kept.names()), [record.label or "" for record in kept.records]
    found = classified(config.protocol, scores, classes, names, labels, facts)
    if unsaved is not None:
        raise LateError(str(unsaved), found) from unsaved
    return found


class _Count:
    """Several stages of work as one count."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress = progress
        self.total = total
        self.before = 0

    def step(self, done: int, _: int = 0) -> None:
        """So much of the present stage is done."""
        if self.progress:
            self.progress(min(self.before + done, self.total), self.total)

    def reach(self, done: int) -> None:
        """All stages up to here are done."""
        self.before = done


class _Work:
    """A classifier on its device, and how it is trained.

    Args:
        loaded: whose encoder is copied.
        classes: labels in the order of the logits.
    """

    def __init__(self, loaded: Loaded, classes: list[str], config: FinetuneConfig, device: str) -> None:
        self.config = config
        self.classes = classes
        self.clips = supervised(loaded.config, config.seed)
        self.device = pick_device(device)
        self.precision = pick_precision(config.precision, self.device)
        with seeded(config.seed):
            encoder = copy.deepcopy(loaded.encoder)
            self.model = Classifier(encoder, len(classes), dropout=config.dropout, freeze=config.freeze)
        channels_last(self.model.to(self.device))
        if self.precision == "bf16":
            clip = self.clips.clip
            example = torch.zeros(4, 3, clip.frames, clip.size, clip.size, device=self.device)
            with seeded(config.seed, self.device):  # dropout must not draw from the caller's generator
                guard_bf16(self.model.train(), example)
        self.optimizer = _optimizer(self.model, config)
        self.step = 0
        self.failed: set[int] = set()

    def train(self, videos: Collection, count: _Count) -> tuple[list[float], int]:
        """All epochs; returns the mean loss of each, and how many videos could be read."""
        number = {label: i for i, label in enumerate(self.classes)}
        with tempfile.TemporaryDirectory(prefix="kinevec-") as folder:
            supply = open_supply(_bounded(self.clips, folder), videos, Path(folder), count.step, None)
            count.reach(len(videos))
            records = [supply.videos.record(index) for index in range(len(supply.videos))]
            labels = torch.tensor([number[record.label or ""] for record in records])
            batch = min(self.config.batch, len(records))
            loader, sampler = labelled_loader(
                supply.source, self.clips, batch, self.config.workers, self.device
            )
            losses = []
            for epoch in range(self.config.epochs):
                sampler.epoch = epoch
                total = torch.zeros((), device=self.device)
                for found in batches(loader):
                    self._note_failures(found, records)
                    total += self.train_step(found, labels[found.index], learning_rate(epoch, self.config))
                    count.step(self.step)
                losses.append(float(total) / len(sampler))
                if not math.isfinite(losses[-1]):
                    raise TrainingError(
                        f"the loss of fine-tuning is not finite in epoch {epoch + 1}; lower its lr "
                        f"(now {self.config.lr})"
                    )
        return losses, len(records)

    def train_step(self, found: Batch, labels: Tensor, rate: float) -> Tensor:
        """One step on a batch with labels (N,); returns its loss, ()."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rgb = found.rgb
        colors = [None if part is None else part[0].to(self.device) for part in (rgb.matrix, rgb.sigma)]
        x = finish_batch(rgb.clips[0].to(self.device, non_blocking=True), self.clips.views, *colors)
        self.model.train()
        random = seeded(step_seed(self.clips, self.step), self.device)  # dropout
        with random, autocast(self.device, self.precision):
            loss = F.cross_entropy(self.model(x).float(), labels.to(self.device))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.step += 1
        return loss.detach()

    def _note_failures(self, found: Batch, records: list[Record]) -> None:
        for index, reason in found.failures:
            if index not in self.failed:
                log.warning("%s: %s; another video takes its place", records[index].name, reason)
            self.failed.add(index)


def _bounded(config: Config, folder: str) -> Config:
    """Decoded frames take at most half of what is free where they are kept."""
    limit = min(config.data.store_limit_gb, shutil.disk_usage(folder).free / 2e9)
    return replace(config, data=replace(config.data, store="auto", store_limit_gb=limit))


def _optimizer(model: Classifier, config: FinetuneConfig) -> torch.optim.Optimizer:
    parameters = [p for p in model.parameters() if p.requires_grad]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(parameters, lr=config.lr, momentum=0.9, weight_decay=config.weight_decay)
