"""The folder of an exported model: `model.safetensors`, and `config.json` with all that using it needs.

The entries of `config.json` that are read: `format` and `version`; `encoder`, a name of `kinevec.models.ENCODERS`;
`clip` (frames, stride, size) and `normalisation` (mean, std of RGB in [0, 1]); `step`; `facts`; `training`, the rest of
the configuration it was trained with; and `sha256` of `model.safetensors`, where it is there.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from kinevec.config import Config, from_dict, to_dict
from kinevec.encoders.layout import CONFIG, FORMAT, WEIGHTS
from kinevec.encoders.loaded import Loaded
from kinevec.encoders.weights import fitted, read_safetensors
from kinevec.errors import CheckpointError, ConfigError, InputError

VERSION = 1


def describe(loaded: Loaded, sha256: str) -> dict[str, Any]:
    """The content of `config.json`; it names no path of this machine.

    Args:
        sha256: of the file of weights.
    """
    tree = to_dict(loaded.config)
    clip, views = tree.pop("clip"), tree["views"]
    name = tree.pop("model")["name"]
    normalisation = {key: views.pop(key) for key in ("mean", "std")}
    tree["flow"]["weights"] = Path(tree["flow"]["weights"]).name
    tree.pop("log", None)  # where its figures went is nobody else's business
    return {
        "format": FORMAT,
        "version": VERSION,
        "encoder": name,
        "channels": loaded.encoder.channels,
        "clip": clip,
        "normalisation": normalisation,
        "identity": loaded.identity,
        "sha256": sha256,
        "step": loaded.step,
        "facts": dict(loaded.facts),
        "training": tree,
    }


def read(folder: Path, source: str) -> Loaded:
    """The encoder of an exported folder.

    Args:
        source: the place as it was named.

    Raises:
        InputError: there are no weights in it.
        CheckpointError: a file is damaged, of a newer format, or does not belong to the other.
        ConfigError: it names an encoder that this version does not have.
    """
    path = folder / WEIGHTS
    content = _content(folder / CONFIG)
    if not path.is_file():
        raise InputError(f"{folder}: {CONFIG} is there, but no {WEIGHTS}")
    expected = content.get("sha256")
    if expected is not None and expected != digest(path):
        raise CheckpointError(
            f"{path}: damaged, or not the weights that {CONFIG} was written for (its SHA-256 differs)"
        )
    config, step, facts = _parsed(folder / CONFIG, content)
    return Loaded(fitted(config.model.name, read_safetensors(path)[0], path), config, source, step, facts)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _content(path: Path) -> dict[str, Any]:
    """The JSON of `config.json`, of a version that is known."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, or not JSON
        raise CheckpointError(f"{path}: damaged, not JSON ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not of kinevec ('format' is not '{FORMAT}')")
    version = content.get("version")
    if not isinstance(version, int) or version < 1:
        raise CheckpointError(f"{path}: 'version' is {version!r}; it must be a number from 1 to {VERSION}")
    if version > VERSION:
        raise CheckpointError(
            f"{path}: format {version}, from a newer kinevec; this one reads up to {VERSION}. Upgrade kinevec"
        )
    return content


def _parsed(path: Path, content: dict[str, Any]) -> tuple[Config, int | None, dict[str, Any]]:
    try:
        training = dict(content["training"])
        training["views"] = {**training.get("views", {}), **content["normalisation"]}
        tree = {**training, "model": {"name": content["encoder"]}, "clip": content["clip"]}
        config = from_dict(Config, tree)
        step, facts = content["step"], dict(content["facts"])
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}. Was it changed, or written by a newer kinevec?") from error
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged, an entry is missing or of another kind ({error})") from error
    if step is not None and not isinstance(step, int):
        raise CheckpointError(f"{path}: 'step' is {step!r}; it must be a whole number or null")
    return config, step, facts
