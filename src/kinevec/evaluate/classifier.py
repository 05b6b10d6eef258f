"""An encoder with a linear layer that names labels, and its file."""

import json
import logging
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from kinevec.config import Config, from_dict, to_toml
from kinevec.data.source import Collection, Progress
from kinevec.data.whole import make_folder, write_whole
from kinevec.errors import CheckpointError, DataError, InputError, VideoError
from kinevec.evaluate.encode import AT_ONCE
from kinevec.evaluate.features import clips_of
from kinevec.models import build_encoder
from kinevec.models.encoder import Encoder
from kinevec.models.heads import pool
from kinevec.runtime import Precision, autocast
from kinevec.views.pipeline import finish_batch

log = logging.getLogger(__name__)


class Classifier(nn.Module):
    """Pooled encoder output, dropout, linear layer (docs/evaluation.md).

    Args:
        encoder: frames (N, 3, T, H, W) → feature map (N, C, T', H', W').
        classes: number of labels.
        dropout: share of the features set to 0 in training.
        freeze: the encoder stays in evaluation mode, gets no gradient, and its features are brought to unit
            length, as in the linear probe.
    """

    def __init__(self, encoder: Encoder, classes: int, *, dropout: float = 0.0, freeze: bool = False) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(encoder.channels, classes)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)
        self.freeze = freeze
        if freeze:
            encoder.requires_grad_(False)

    def train(self, mode: bool = True) -> "Classifier":
        """Training or evaluation mode; a frozen encoder stays in the latter."""
        super().train(mode)
        if self.freeze:
            self.encoder.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Frames (N, 3, T, H, W) → logits (N, classes)."""
        features = pool(self.encoder(x).float())
        if self.freeze:
            features = F.normalize(features, dim=-1)
        logits: Tensor = self.linear(self.dropout(features))
        return logits


def classify_videos(
    model: Classifier,
    config: Config,
    videos: Collection,
    clips: int,
    crops: int,
    device: torch.device,
    precision: Precision,
    *,
    progress: Progress | None = None,
) -> tuple[Collection, NDArray[np.float64]]:
    """Softmax scores of videos, averaged over clips that are even in time and over their crops (docs/evaluation.md).

    Args:
        model: on the device; it is put into evaluation mode.
        config: of the clips.

    Returns:
        The videos that decode, and their scores (V, classes). The others are listed as rejected.

    Raises:
        DataError: not one video decodes.
    """
    model.eval()
    scores: list[NDArray[np.float64]] = []
    failed: dict[int, str] = {}
    for index, record in enumerate(videos.records):
        try:
            frames = torch.from_numpy(clips_of(config, videos.infos[index], clips, crops))
        except VideoError as error:
            log.warning("left out %s: %s", record.name, error.reason)
            failed[index] = error.reason
        else:
            with torch.no_grad(), autocast(device, precision):
                parts = [
                    model(finish_batch(part.to(device), config.views)).float()
                    for part in torch.split(frames, AT_ONCE)
                ]
            scores.append(torch.cat(parts).cpu().double().softmax(1).mean(0).numpy())
        if progress:
            progress(index + 1, len(videos))
    if not scores:
        raise DataError(f"none of {len(videos)} videos decodes; the first: {failed[0]}")
    return videos.without(failed) if failed else videos, np.stack(scores)


@dataclass(frozen=True)
class Saved:
    """A classifier that was read from its file.

    Attributes:
        model: in evaluation mode.
        config: of its clips.
        classes: the labels, in the order of its logits.
    """

    model: Classifier
    config: Config
    classes: list[str]


def save_classifier(path: Path, model: Classifier, config: Config, classes: Sequence[str]) -> None:
    """Writes weights, configuration and labels as safetensors, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    header = {
        "config": to_toml(config),
        "classes": json.dumps(list(classes)),
        "freeze": json.dumps(model.freeze),
    }
    # Its own way to write a file lets nobody else read it.
    content = safetensors.torch.save(weights, header)
    make_folder(path.parent)
    write_whole(path, lambda aside: aside.write_bytes(content))


def is_classifier(path: Path) -> bool:
    """Whether a file is one that `save_classifier` wrote."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            return "classes" in (file.metadata() or {})
    except (OSError, safetensors.SafetensorError):
        return False


def load_classifier(path: Path) -> Saved:
    """Reads what `save_classifier` wrote.

    Raises:
        InputError: nothing is there.
        CheckpointError: it is damaged, or no classifier.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with safetensors.safe_open(path, "pt") as file:
            header = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        config = from_dict(Config, tomllib.loads(header["config"]))
        classes = [str(label) for label in json.loads(header["classes"])]
        model = Classifier(build_encoder(config.model.name), len(classes), freeze=header["freeze"] == "true")
        model.load_state_dict(weights)
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: damaged, or no classifier of kinevec ({error})") from error
    return Saved(model.eval(), config, classes)
