"""From a configuration and a collection of videos to a trained encoder in a folder."""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from kinevec import config as configuration
from kinevec import ranks
from kinevec.config import Config, differences, to_toml
from kinevec.data.lock import LOCK, alone, refuse_busy
from kinevec.data.script import check_script
from kinevec.data.source import Progress, Videos, write_rejected
from kinevec.data.whole import write_text, writing
from kinevec.errors import CheckpointError, DataError, OutputError
from kinevec.methods.method import check_steps
from kinevec.motion.flow import check_method
from kinevec.runtime import pick_device, provenance, stop_requests
from kinevec.train.checkpoint import CHECKPOINT, clear_parts, has_checkpoint, load_checkpoint
from kinevec.train.log import BOARD, LOG, check_wandb
from kinevec.train.meter import Status
from kinevec.train.parts import count_parts
from kinevec.train.resume import check_entries, say_finished
from kinevec.train.seen import VIDEOS as SEEN
from kinevec.train.seen import write_seen
from kinevec.train.supply import FLOW, FRAMES, open_shared
from kinevec.train.trainer import Trainer

log = logging.getLogger(__name__)

FACTS = "run.json"
CONFIG = "config.toml"
REJECTED = "rejected.csv"
TRAINING = "training a run here"  # says the lock of its folder


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
        OutputError: the folder cannot be written, holds a run, or another process is training one there.
        CheckpointError: the checkpoint to resume from is damaged or was made otherwise.
        DataError: too few videos, or too many that fail.
        UsageError: the ranks that torchrun started do not meet; loader processes would carry out the script anew.
        TrainingError: the loss is not finite; another rank failed or died.
        Interrupted: SIGINT or SIGTERM to any rank; the checkpoint is written.
    """
    with ranks.joined(config.train.device) as device:
        with ranks.together():
            _refuse(config, folder, resume)
            _check_enough(videos)
        with _claimed(folder):
            with ranks.together():
                _check_folder(folder, resume)  # the process that had the folder before may have left a run
                state = _checkpoint(config, folder) if resume else None
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
    return folder


def check_request(config: Config, folder: Path, resume: bool) -> None:
    """Refuses what cannot be done before anything is written or decoded.

    Raises: ConfigError, OutputError, CheckpointError as for `pretrain`.
    """
    _refuse(config, folder, resume)
    if resume:
        load_checkpoint(folder, config)


def _refuse(config: Config, folder: Path, resume: bool) -> None:
    """Refuses what can be told without reading a checkpoint."""
    _check_settings(config)
    refuse_busy(folder, TRAINING)
    _check_folder(folder, resume)


def _check_settings(config: Config) -> None:
    pick_device(config.train.device)
    count_parts(config)
    check_steps(config)
    check_wandb(config)
    if config.data.workers:
        check_script("data.workers=0")
    if ("flow" in config.motions or config.sampling.moving) and config.flow.method != "raft":
        check_method(config.flow.method)


def _check_folder(folder: Path, resume: bool) -> None:
    """Refuses a folder without a run to resume, or one that holds something where a new run begins."""
    if resume:
        if not has_checkpoint(folder):
            raise CheckpointError(f"{folder / CHECKPOINT}: no checkpoint to resume from")
        return
    left = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if has_checkpoint(folder):
        raise OutputError(f"{folder}: holds a run; pass --resume to go on with it, or choose another folder")
    if left - {FRAMES, FLOW, LOCK} or folder.is_file():
        raise OutputError(f"{folder}: exists and holds no run to resume; remove it or choose another folder")
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not place.is_dir():
        raise OutputError(f"{folder}: cannot be written: {place} is a file")
    if not os.access(place, os.W_OK):
        raise OutputError(f"{folder}: cannot be written: no permission in {place}")


def clear_unsaved(folder: Path) -> None:
    """Empties the folder of a run that ended before its first checkpoint, where nothing else lies in it."""
    if not folder.is_dir():
        return
    with alone(folder, TRAINING), writing(folder):
        clear_parts(folder)
        ours = {FACTS, CONFIG, REJECTED, SEEN, LOG, FRAMES, FLOW, BOARD, LOCK}
        if {path.name for path in folder.iterdir()} <= ours:
            shutil.rmtree(folder / BOARD, ignore_errors=True)
            for name in ours - {BOARD, LOCK}:
                (folder / name).unlink(missing_ok=True)


def _checkpoint(config: Config, folder: Path) -> dict[str, Any]:
    """What a run goes on from; says so where it has come to its end already."""
    state = load_checkpoint(folder, config)
    check_entries(folder, state)
    say_finished(folder, state)
    return state


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Keeps other runs from a folder meanwhile, and removes in the end what was only there while the run went on.

    The first rank does, for all.
    """
    with ExitStack() as held:
        with ranks.together():
            if ranks.first():
                held.enter_context(alone(folder, TRAINING))
                for name in (FRAMES, FLOW):
                    held.callback((folder / name).unlink, missing_ok=True)
        yield


def _check_enough(videos: Videos) -> None:
    if len(videos) < 2:
        raise DataError(
            f"pretraining tells videos apart and needs at least 2; found {len(videos)} to train on: videos held out for "
            "testing are not among them. Give more videos, or train on all with data.split=all"
        )


def _facts_of(folder: Path) -> dict[str, Any]:
    """What a run has written of itself; nothing where that is lost."""
    try:
        return dict(json.loads((folder / FACTS).read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        log.warning("%s cannot be read and begins anew: %s", folder / FACTS, error)
        return {}


def _describe(folder: Path, config: Config, videos: Videos, facts: dict[str, Any], *, resumed: bool) -> None:
    """Writes down how the run is made; a resumed run keeps what was written and adds to it."""
    short = int((videos.frames < config.length).sum())
    if short:
        clip = config.clip
        log.warning(
            "%d of %d videos are shorter than a clip (%d frames: %d at stride %d) and are looped",
            *(short, len(videos), config.length, clip.frames, clip.stride),
        )
    if config.method.queue >= len(videos):
        log.warning(
            "a queue of %d keys for %d videos: a video's own past keys are among its negatives; "
            "set method.queue=%d",
            *(config.method.queue, len(videos), len(videos) // 2),
        )
    if resumed:
        content = _facts_of(folder)
        changes = {"changed": differences(configuration.load(folder / CONFIG), config)}
        content.setdefault("resumed", []).append(provenance(config.train.device) | changes | facts)
    else:
        found = {"videos": len(videos), "looped": short, "rejected": len(videos.rejected)}
        content = provenance(config.train.device) | {"seed": config.train.seed} | found | facts
        write_text(folder / CONFIG, to_toml(config))
        write_rejected(videos.rejected, folder / REJECTED)
        write_seen(folder, videos)
    write_text(folder / FACTS, json.dumps(content, indent=2) + "\n")
