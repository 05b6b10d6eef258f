"""Files of a run that survive anything: each is written aside and moved into place.

A run's folder holds `checkpoint.pt` (all that resuming needs), the checkpoints before it as
`checkpoint-STEP.pt`, that of the best epoch as `best.pt`, and `encoder.safetensors` and `best.safetensors` (all that
using the encoder needs: weights, and the configuration in the header).
"""

import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from kinevec.config import INCIDENTAL, Config, differences, from_dict, to_dict, to_toml
from kinevec.data.whole import write_whole
from kinevec.errors import CheckpointError, ConfigError
from kinevec.models import build_encoder
from kinevec.models.encoder import Encoder, weight_bytes
from kinevec.runtime import seeded

CHECKPOINT = "checkpoint.pt"
ENCODER = "encoder.safetensors"
BEST = "best.pt"
BEST_ENCODER = "best.safetensors"
DIGEST = "digest"  # in the header of an encoder's file


def save_checkpoint(
    folder: Path, state: dict[str, Any], config: Config, *, previous: int | None = None, keep: int = 1
) -> None:
    """Writes the checkpoint; the one before it stays beside it under its step.

    Args:
        state: tensors, numbers, strings and containers of them; "step" is how far the run has come.
        previous: step of the checkpoint that is replaced; None where there is none worth keeping.
        keep: checkpoints in all.

    Raises:
        OutputError: it cannot be written; those that were there are whole.
    """
    content = state | {"config": to_dict(config)}
    if previous is not None and keep > 1:
        copy_whole(folder / CHECKPOINT, folder / f"checkpoint-{previous}.pt")
    write_whole(folder / CHECKPOINT, lambda aside: _filled(lambda: torch.save(content, aside)))
    there = earlier(folder)
    before = [path for step, path in there if step < state["step"]]
    for _, path in there:
        if path not in before[: keep - 1]:
            path.unlink(missing_ok=True)


def earlier(folder: Path) -> list[tuple[int, Path]]:
    """(step, file) of the checkpoints before the newest, the latest first."""
    found = [
        (re.fullmatch(r"checkpoint-(\d+)\.pt", path.name), path) for path in folder.glob("checkpoint-*.pt")
    ]
    return sorted(((int(name[1]), path) for name, path in found if name), reverse=True)


def has_checkpoint(folder: Path) -> bool:
    """Whether a run in this folder can be resumed, or was."""
    return (folder / CHECKPOINT).exists() or bool(earlier(folder))


def load_checkpoint(folder: Path, config: Config) -> dict[str, Any]:
    """Reads the newest whole checkpoint of a run that is to go on with `config`.

    Returns:
        What was saved; under "file" the name it was read from, under "damaged" what is wrong with newer ones.

    Raises:
        CheckpointError: there is none, all are damaged, or the configuration differs in more than `INCIDENTAL`
            (lists how).
    """
    paths = [path for path in (folder / CHECKPOINT, *(path for _, path in earlier(folder))) if path.exists()]
    if not paths:
        raise CheckpointError(f"{folder / CHECKPOINT}: no checkpoint to resume from")
    damaged: list[str] = []
    for path in paths:
        try:
            state = _read(path)
        except (OSError, ValueError) as error:
            damaged.append(f"{path}: damaged, cannot be read ({error})")
            continue
        _check_config(folder, state.pop("config"), config)
        return state | {"file": path.name, "damaged": damaged}
    raise CheckpointError("; ".join(damaged))


def copy_whole(source: Path, target: Path) -> None:
    """Gives a file a second name, or copies it where the file system cannot do that.

    Our files are replaced, never changed in place, so that what happens to one name does not touch the other.

    Raises:
        OutputError: it cannot be written.
    """

    def copy(aside: Path) -> None:
        aside.unlink(
            missing_ok=True
        )  # of a killed process with our number: a second name of what must not change
        try:
            os.link(source, aside)
        except OSError:
            shutil.copyfile(source, aside)

    write_whole(target, copy)


def clear_parts(folder: Path) -> None:
    """Removes what a run that was killed while it wrote has left."""
    for path in folder.glob(".*.part"):
        path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    """The content of a checkpoint file.

    Raises:
        ValueError: it is damaged. PyTorch itself would not notice a changed byte.
        OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if (wrong := archive.testzip()) is not None:
                raise ValueError(f"wrong checksum of {wrong}")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch.load raises many kinds on a damaged file
        raise ValueError(str(error).partition("\n")[0] or type(error).__name__) from error
    if not isinstance(state, dict) or "config" not in state:
        raise ValueError("not a checkpoint of kinevec")
    return state


def _check_config(folder: Path, saved: dict[str, Any], config: Config) -> None:
    try:
        old = from_dict(Config, saved)
    except ConfigError as error:
        raise CheckpointError(
            f"{folder}: was made by another version of kinevec, whose configuration this one does not know: {error}"
        ) from error
    changes = [line for line in differences(old, config) if line.partition(":")[0] not in INCIDENTAL]
    if changes:
        raise CheckpointError(
            f"{folder}: was made with another configuration: {'; '.join(changes)}. "
            "Resume with the same one, or start anew in another folder"
        )


def save_encoder(
    folder: Path,
    encoder: torch.nn.Module,
    config: Config,
    step: int | None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Writes the encoder's weights with the configuration, the step and their digest in the file's header.

    Args:
        step: None where it is not known.
        facts: what else is known of its making, as `kinevec.encoders.Loaded.facts`.
    """
    weights = {name: value.contiguous() for name, value in encoder.state_dict().items()}
    header = {"config": to_toml(config), DIGEST: weights_digest(weights)}
    header |= {"step": str(step)} if step is not None else {}
    header |= {"facts": json.dumps(facts)} if facts else {}
    # Its own way to write a file leaves another one behind when it is killed, and lets nobody else read it.
    content = safetensors.torch.save(weights, header)
    write_whole(folder / ENCODER, lambda aside: aside.write_bytes(content))


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """What a file of weights says of them, so that a changed byte is noticed; safetensors has no checksum."""
    digest = hashlib.blake2b(digest_size=16)
    for part in weight_bytes(sorted(weights.items())):
        digest.update(part)
    return digest.hexdigest()


def _filled(write: Callable[[], None]) -> None:
    """Writes; torch.save has an error of its own for a full disk."""
    try:
        write()
    except RuntimeError as error:
        raise OSError(str(error).splitlines()[0]) from error


def untrained_encoder(config: Config) -> Encoder:
    """The encoder as it was before the first step of a run with this configuration."""
    with seeded(config.train.seed):
        return build_encoder(config.model.name)
