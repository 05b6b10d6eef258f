"""Files of a run that survive anything: each is written aside and moved into place.

A run's folder holds `checkpoint.pt` (all that resuming needs) and `encoder.safetensors` (all that using
the encoder needs: weights, and the configuration in the header).
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from kinevec.config import Config, differences, from_dict, to_dict, to_toml
from kinevec.data.whole import write_whole
from kinevec.errors import CheckpointError, InputError
from kinevec.models import build_encoder
from kinevec.models.encoder import Encoder
from kinevec.runtime import seeded

CHECKPOINT = "checkpoint.pt"
ENCODER = "encoder.safetensors"


def save_checkpoint(folder: Path, state: dict[str, Any], config: Config) -> None:
    """Writes the checkpoint; `state` holds tensors, numbers, strings and containers of them."""
    content = state | {"config": to_dict(config)}
    write_whole(folder / CHECKPOINT, lambda aside: _filled(lambda: torch.save(content, aside)))


def load_checkpoint(folder: Path, config: Config) -> dict[str, Any]:
    """Reads the checkpoint of a run that is to go on with `config`.

    Raises:
        CheckpointError: there is none, it is damaged, or the configuration differs (lists how).
    """
    path = folder / CHECKPOINT
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        old = from_dict(Config, state.pop("config"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no checkpoint to resume from") from error
    except Exception as error:  # torch.load raises many kinds on a damaged file
        raise CheckpointError(f"{path}: damaged, cannot be read ({type(error).__name__})") from error
    changes = differences(old, config)
    if changes:
        raise CheckpointError(
            f"{folder}: was made with another configuration: {'; '.join(changes)}. "
            "Resume with the same one, or start anew in another folder"
        )
    return state


def save_encoder(folder: Path, encoder: torch.nn.Module, config: Config, step: int) -> None:
    """Writes the encoder's weights with the configuration and the step in the file's header."""
    weights = {name: value.contiguous() for name, value in encoder.state_dict().items()}
    header = {"config": to_toml(config), "step": str(step)}
    save = safetensors.torch.save_file
    write_whole(folder / ENCODER, lambda aside: _filled(lambda: save(weights, aside, header)))


def load_encoder(run: Path) -> tuple[Encoder, Config, int]:
    """The encoder of a run's folder, its configuration, and the steps it was trained for.

    Raises:
        InputError: no run is there.
        CheckpointError: the file is damaged or does not fit the encoder it names.
    """
    path = run / ENCODER if run.is_dir() else run
    if not path.is_file():
        what = f"no {ENCODER} in it; is it the folder of a run?" if run.is_dir() else "no such run"
        raise InputError(f"{run}: {what}")
    try:
        with safetensors.safe_open(path, "pt") as file:
            header = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        config = from_dict(Config, tomllib.loads(header["config"]))
        step = int(header["step"])
    except (safetensors.SafetensorError, KeyError, tomllib.TOMLDecodeError) as error:
        raise CheckpointError(f"{path}: damaged, or not written by kinevec ({error})") from error
    encoder = build_encoder(config.model.name)
    try:
        encoder.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: its weights do not fit the encoder '{config.model.name}'") from error
    return encoder, config, step


def _filled(write: Callable[[], None]) -> None:
    """Writes; torch.save and safetensors have errors of their own for a full disk."""
    try:
        write()
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise OSError(str(error).splitlines()[0]) from error


def untrained_encoder(config: Config) -> Encoder:
    """The encoder as it was before the first step of a run with this configuration."""
    with seeded(config.train.seed):
        return build_encoder(config.model.name)
