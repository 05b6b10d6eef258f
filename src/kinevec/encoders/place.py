"""From the name of a place to the encoder that lies there."""

import json
import logging
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from kinevec.config import Config, Model, from_dict
from kinevec.encoders import folder, foreign, hub
from kinevec.encoders.layout import CONFIG, HUB, UNTRAINED, WEIGHTS, check_place, kept_aside
from kinevec.encoders.loaded import Loaded
from kinevec.encoders.weights import SAFE, fitted, read_safetensors
from kinevec.errors import CheckpointError, InputError
from kinevec.models.encoder import Encoder
from kinevec.train.checkpoint import DIGEST, ENCODER, untrained_encoder, weights_digest

log = logging.getLogger(__name__)

RUN = "run.json"
COUNTS = ("videos", "looped", "rejected")  # of RUN, what may be told to others


def load(place: str | Path) -> Loaded:
    """The encoder of a place, in evaluation mode.

    Args:
        place: a run's folder or its `encoder.safetensors`; a folder made by `kinevec export` or `convert`; a file of
            weights that `kinevec convert` knows; `untrained:NAME`, an encoder of that name before any training;
            `org/name` or `org/name@revision` on the Hugging Face hub where no file or folder has this name, or
            `hub:org/name`.

    Raises:
        InputError: nothing is there, or the hub cannot be asked.
        CheckpointError: a file is damaged, unsafe, too new, does not fit the encoder it names, or holds weights that
            are not finite.
        ConfigError: no encoder has this name.
    """
    loaded = _loaded(place)
    _check_finite(loaded.encoder, str(place))
    loaded.encoder.eval()  # else whoever calls it normalises by the batch, and changes what it knows of all others
    return loaded


def load_beside(places: Sequence[str | Path]) -> list[Loaded]:
    """Encoders that are set beside each other, as for `load`.

    One of `untrained:NAME` has no clips of its own: it sees those of the first other with an encoder of this name and
    is what that one began with; where there is none, it sees those of the first other.
    """
    found = {place: load(place) for place in places if not str(place).startswith(UNTRAINED)}
    others = [one.config for one in found.values()]
    return [found[place] if place in found else _untrained(str(place), others) for place in places]


def _loaded(place: str | Path) -> Loaded:
    name = str(place)
    if name.startswith(UNTRAINED):
        return _untrained(name)
    if name.startswith(HUB):
        return folder.read(hub.download(name.removeprefix(HUB)), name)
    check_place(place)
    path = Path(place)
    if kept := kept_aside(path):
        log.warning("%s: an export into it was killed; read as it was before, from %s", path, kept.name)
        path = kept
    if path.is_dir():
        return _from_folder(path)
    if path.is_file():
        return _from_file(path)
    return folder.read(hub.download(name), name)


def _check_finite(encoder: Encoder, name: str) -> None:
    """Refuses weights that are NaN or infinite: whatever came out of them would look like features."""
    state = {key: value for key, value in encoder.state_dict().items() if value.is_floating_point()}
    wrong = {key: count for key, value in state.items() if (count := int((~value.isfinite()).sum()))}
    if wrong:
        total = sum(value.numel() for value in state.values())
        raise CheckpointError(
            f"{name}: damaged: {sum(wrong.values()):,} of its {total:,} weights are not finite numbers, the first in "
            f"{next(iter(wrong))}"
        )


def _untrained(name: str, others: Sequence[Config] = ()) -> Loaded:
    """The encoder of a name before any training, for the clips of one of `others`, where there are any."""
    model = Model(name.removeprefix(UNTRAINED))
    same = (config for config in others if config.model == model)
    like = next(same, others[0] if others else Config())
    config = replace(like, model=model)
    return Loaded(untrained_encoder(config).eval(), config, name, step=0)


def _from_folder(path: Path) -> Loaded:
    if (path / CONFIG).is_file():
        return folder.read(path, str(path))
    if (path / ENCODER).is_file():
        return _from_run(path / ENCODER, str(path), *read_safetensors(path / ENCODER))
    raise InputError(
        f"{path}: no {ENCODER} in it; is it the folder of a run? (That of an exported model has {CONFIG}.)"
    )


def _from_file(path: Path) -> Loaded:
    if path.suffix != SAFE:
        return foreign.bring(path).loaded
    if path.name == WEIGHTS and (path.parent / CONFIG).is_file():
        return folder.read(path.parent, str(path))
    weights, header = read_safetensors(path)
    if "config" in header:
        return _from_run(path, str(path), weights, header)
    return foreign.bring(path).loaded


def _from_run(path: Path, source: str, weights: dict[str, Tensor], header: dict[str, str]) -> Loaded:
    """From a file that a run wrote: weights, and the configuration in the header."""
    if "classes" in header:
        raise CheckpointError(
            f"{path}: is a fine-tuned classifier, not an encoder; kinevec.evaluate.classifier.load_classifier reads it"
        )
    try:
        config = from_dict(Config, tomllib.loads(header["config"]))
        step = int(header["step"]) if "step" in header else None
        facts = dict(json.loads(header.get("facts", "{}")))
    except (KeyError, TypeError, ValueError) as error:  # a TOMLDecodeError is a ValueError
        raise CheckpointError(f"{path}: damaged, or not written by kinevec ({error})") from error
    if DIGEST in header and header[DIGEST] != weights_digest(weights):  # files of earlier versions have none
        raise CheckpointError(
            f"{path}: damaged: its weights are not those that were written (their digest differs)"
        )
    return Loaded(
        fitted(config.model.name, weights, path), config, source, step, facts | _counts(path.parent / RUN)
    )


def _counts(path: Path) -> dict[str, Any]:
    """The counts that a run wrote down beside its weights; none where they are not there any more."""
    try:
        facts = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    known = facts if isinstance(facts, dict) else {}
    return {name: known[name] for name in COUNTS if isinstance(known.get(name), int)}
