"""Files of weights, read so that nothing in them can run, and put into the encoder they are for."""

import argparse
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from kinevec.encoders.recognise import check_weights
from kinevec.errors import CheckpointError, ConfigError
from kinevec.models import build_encoder
from kinevec.models.convert import convert
from kinevec.models.encoder import Encoder

SAFE = ".safetensors"
NESTED = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
)  # where checkpoints keep their weights
CHECKPOINT = {"config", "model", "optimizer", "step", "supply"}  # entries of our own


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file and the text in its header.

    Raises:
        InputError: it cannot be read.
        CheckpointError: it is damaged, or cut off.
    """
    check_weights(path)
    try:
        with safetensors.safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            return weights, file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"{path}: damaged or cut off, {path.stat().st_size:,} bytes ({error})"
        ) from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of any file of weights: safetensors, or what `torch.save` wrote, also within a checkpoint.

    Nothing is unpickled but tensors, plain containers and argparse's namespaces.

    Raises:
        InputError: it cannot be read.
        CheckpointError: it is damaged, holds objects that could run code, or no weights.
    """
    if path.suffix == SAFE:
        return read_safetensors(path)[0]
    check_weights(path)
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_unsafe(path, str(error))) from error
    except Exception as error:  # torch.load raises many kinds on a damaged file
        first = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"{path}: damaged, or no file of weights ({first})") from error
    if isinstance(content, Mapping) and content.keys() >= CHECKPOINT:
        raise CheckpointError(
            f"{path}: is a checkpoint of kinevec at step {content['step']}, from which a run goes on; its encoder is "
            f"encoder.safetensors beside it, which needs no conversion"
        )
    weights = _tensors(content)
    if not weights:
        raise CheckpointError(f"{path}: holds no weights (looked at its top and under {', '.join(NESTED)})")
    return weights


def fitted(name: str, weights: Mapping[str, Tensor], path: Path) -> Encoder:
    """The encoder of this name with these weights.

    Raises:
        ConfigError: no encoder has this name.
        CheckpointError: the weights are not this encoder's; lists names and shapes.
    """
    try:
        bare = shape_only(name)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    found = convert(weights, {r"(.+)": r"\1"}, bare)
    if not found.complete:
        raise CheckpointError(f"{path}: its weights do not fit the encoder '{name}': {found.report()}")
    return filled(bare, found.weights)


def shape_only(name: str) -> Encoder:
    """The encoder of this name without memory for its weights: nothing is drawn for what is to be replaced."""
    with torch.device("meta"):
        return build_encoder(name)


def filled(bare: Encoder, weights: Mapping[str, Tensor]) -> Encoder:
    """The encoder from `shape_only` with all its weights, in its own number formats.

    Args:
        weights: every entry but batch norm's counters, which old files lack.
    """
    state = {
        key: weights[key].to(value.dtype).contiguous()
        if key in weights
        else torch.zeros(value.shape, dtype=value.dtype)
        for key, value in bare.state_dict().items()
    }
    bare.load_state_dict(state, assign=True)
    return bare


def _tensors(content: Any) -> dict[str, Tensor]:
    """The weights in what was read: at the top, or one level below under a common name."""
    if not isinstance(content, Mapping):
        return {}
    for inner in (content.get(name) for name in NESTED):
        if found := _tensors(inner):
            return found
    return {str(name): value.detach() for name, value in content.items() if isinstance(value, Tensor)}


def _unsafe(path: Path, words: str) -> str:
    """The message for a file that asks for more than tensors; `words` are PyTorch's."""
    named = re.search(r"GLOBAL ([\w.]+)", words)
    if named is None:
        return f"{path}: damaged, or no file of weights"
    return (
        f"{path}: holds Python objects ({named[1]}), and reading those could run any code, so it was not read. Where "
        "you trust it, take the weights out once: torch.save(torch.load(FILE, weights_only=False)['state_dict'], NEW)"
    )
