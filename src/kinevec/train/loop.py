"""From a configuration and a collection of videos to a trained encoder in a folder."""

import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from kinevec import config as configuration
from kinevec import ranks
from kinevec.config import Config, differences, to_toml
from kinevec.data.sampling import is_short
from kinevec.data.source import Progress, Videos, write_rejected
from kinevec.data.whole import write_text
from kinevec.errors import DataError, OutputError
from kinevec.methods.method import check_steps
from kinevec.motion.flow import check_method
from kinevec.runtime import pick_device, provenance, stop_requests
from kinevec.train.checkpoint import has_checkpoint, load_checkpoint
from kinevec.train.log import check_wandb
from kinevec.train.meter import Status
from kinevec.train.parts import count_parts
from kinevec.train.seen import write_seen
from kinevec.train.supply import FLOW, FRAMES, open_shared
from kinevec.train.trainer import Trainer

log = logging.getLogger(__name__)

FACTS = "run.json"


def pretrain(
    config: Config,
    videos: Videos,
    folder: Path,
    *,
    resume: bool = False,
    on_status: Callable[[Status], None] | None = None,
    on_decode: Progress | None = None,
    on_flow: Progress | None = None,
) -> Path:
    """Trains an encoder without labels; the folder then holds all that says how it was made.

    Started by `torchrun`, each of its processes calls this alike, and they train together; the first one writes.

    Args:
        config: see `kinevec.config.load`.
        videos: from `kinevec.data.open_videos`, or a manifest of prepared ones.
        folder: of the run; must not hold another run unless `resume`.
        resume: go on from the folder's checkpoint. On a CPU with the same number of threads and ranks the losses
            are exactly those of a run never stopped; with another number of ranks it goes on, and says so.
        on_status: called every few steps.
        on_decode: called while videos are decoded into a frame store.
        on_flow: called while their optical flow is computed.

    Returns:
        The folder, with `encoder.safetensors`, `checkpoint.pt`, `config.toml`, `run.json`, `videos.json`,
        `log.jsonl`, `rejected.csv` and TensorBoard files.

    Raises:
        ConfigError: no such encoder or device.
        OutputError: the folder cannot be written, or holds a run.
        CheckpointError: the checkpoint to resume from is damaged or was made otherwise.
        DataError: too few videos, or too many that fail.
        UsageError: the ranks that torchrun started do not meet.
        TrainingError: the loss is not finite; another rank failed or died.
        Interrupted: SIGINT or SIGTERM to any rank; the checkpoint is written.
    """
    with ranks.joined(config.train.device) as device:
        with ranks.together():
            state = check_request(config, folder, resume)
            _check_enough(videos)
        with ranks.together():
            if ranks.first():
                _claim(folder)
        try:
            supply = open_shared(config, videos, folder, on_decode, on_flow)
            with ranks.together():
                _check_enough(supply.videos)
                trainer = Trainer(config, supply, folder, device)
                if state is not None:
                    trainer.restore(state)
                if ranks.first():
                    facts = trainer.facts | supply.facts
                    _describe(folder, config, supply.videos, facts, resumed=state is not None)
            with stop_requests() as stopped:
                trainer.run(on_status if ranks.first() else None, stopped)
        finally:
            if ranks.first():
                _tidy(folder)
    return folder


def check_request(config: Config, folder: Path, resume: bool) -> dict[str, Any] | None:
    """Refuses what cannot be done before anything is written or decoded.

    Returns:
        The checkpoint to resume from; None for a new run.

    Raises: ConfigError, OutputError, CheckpointError as for `pretrain`.
    """
    pick_device(config.train.device)
    count_parts(config)
    check_steps(config)
    check_wandb(config)
    if ("flow" in config.motions or config.sampling.moving) and config.flow.method != "raft":
        check_method(config.flow.method)
    if resume:
        return load_checkpoint(folder, config)
    left = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if has_checkpoint(folder):
        raise OutputError(f"{folder}: holds a run; pass --resume to go on with it, or choose another folder")
    if left - {FRAMES, FLOW} or folder.is_file():
        raise OutputError(f"{folder}: exists and holds no run to resume; remove it or choose another folder")
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not place.is_dir():
        raise OutputError(f"{folder}: cannot be written: {place} is a file")
    if not os.access(place, os.W_OK):
        raise OutputError(f"{folder}: cannot be written: no permission in {place}")
    return None


def _tidy(folder: Path) -> None:
    """Removes what was only there while the run went on."""
    for name in (FRAMES, FLOW):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()  # only where it is still empty, because the work failed before it began


def _check_enough(videos: Videos) -> None:
    if len(videos) < 2:
        raise DataError(f"pretraining tells videos apart and needs at least 2; found {len(videos)}")


def _claim(folder: Path) -> None:
    """Makes the run's folder and checks that it can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error


def _describe(folder: Path, config: Config, videos: Videos, facts: dict[str, Any], *, resumed: bool) -> None:
    """Writes down how the run is made; a resumed run keeps what was written and adds to it."""
    lengths, counts = np.unique(videos.frames, return_counts=True)
    short = sum(
        int(n) for frames, n in zip(lengths, counts, strict=True) if is_short(int(frames), config.clip)
    )
    if short:
        clip = config.clip
        log.warning(
            "%d of %d videos are shorter than a clip (%d frames: %d at stride %d) and are looped",
            *(short, len(videos), clip.span, clip.frames, clip.stride),
        )
    if config.method.queue >= len(videos):
        log.warning(
            "the queue of %d keys is as long as the %d videos: a video's own past keys are among its negatives; "
            "lower method.queue",
            *(config.method.queue, len(videos)),
        )
    if resumed:
        content = json.loads((folder / FACTS).read_text("utf-8"))
        changes = {"changed": differences(configuration.load(folder / "config.toml"), config)}
        content.setdefault("resumed", []).append(provenance(config.train.device) | changes | facts)
    else:
        found = {"videos": len(videos), "looped": short, "rejected": len(videos.rejected)}
        content = provenance(config.train.device) | {"seed": config.train.seed} | found | facts
        write_text(folder / "config.toml", to_toml(config))
        write_rejected(videos.rejected, folder / "rejected.csv")
        write_seen(folder, videos)
    write_text(folder / FACTS, json.dumps(content, indent=2) + "\n")
