"""Whether a run can go on from a checkpoint: with the same videos, read the same way, into the same network."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kinevec.data.source import Videos, fingerprint, shape_fingerprint
from kinevec.errors import CheckpointError

log = logging.getLogger(__name__)

LISTED = 5  # differences of weights in a message
ENTRIES = ("model", "optimizer", "step", "videos", "failures", "supply", "facts", "watch", "skipped")


def check_entries(folder: Path, saved: Mapping[str, Any]) -> None:
    """Refuses a checkpoint that lacks some of `ENTRIES`.

    Raises:
        CheckpointError: so it is; names them.
    """
    missing = [name for name in ENTRIES if name not in saved]
    if missing:
        raise CheckpointError(
            f"{folder}: was made by another version of kinevec, whose checkpoints lack {', '.join(missing)}. "
            "Resume with that version, or start anew in another folder"
        )


def known_of(videos: Videos) -> dict[str, Any]:
    """What a checkpoint keeps of its videos, to tell them from others."""
    return {
        "count": len(videos),
        "fingerprint": fingerprint(videos),
        "shapes": shape_fingerprint(videos),
    }


def check_videos(folder: Path, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuses other videos than those of the checkpoint.

    Args:
        saved: of the videos then, from `known_of`, and `now`; earlier versions saved no shapes.

    Raises:
        CheckpointError: they are others.
    """
    if any(saved[key] != now[key] for key in saved):
        other = saved["count"] != now["count"]
        there = (
            f"now there are {now['count']}"
            if other
            else "of which some have another name, length or size now"
        )
        raise CheckpointError(
            f"{folder}: was made on {saved['count']} videos, {there}; resume with the same data"
        )


def check_supply(folder: Path, saved: Mapping[str, object], now: Mapping[str, object]) -> None:
    """Refuses to read frames or flow from elsewhere than before.

    Raises:
        CheckpointError: so it would be.
    """
    if saved != now:
        raise CheckpointError(
            f"{folder}: was made from {_words(saved)}, now it would read {_words(now)}; set data.store and "
            "flow.store as they were"
        )


def check_fits(folder: Path, model: nn.Module, saved: dict[str, Tensor]) -> None:
    """Refuses the weights of another architecture.

    Raises:
        CheckpointError: names or shapes differ; lists the first of them.
    """
    shapes = {name: tuple(value.shape) for name, value in saved.items()}
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    wrong = [f"{name} is not in the checkpoint" for name in wanted if name not in shapes]
    wrong += [f"{name} is not in the model" for name in shapes if name not in wanted]
    wrong += [
        f"{name} has shape {shape} in the checkpoint, {wanted[name]} in the model"
        for name, shape in shapes.items()
        if name in wanted and wanted[name] != shape
    ]
    if wrong:
        more = f"; and {len(wrong) - LISTED} more" if len(wrong) > LISTED else ""
        raise CheckpointError(
            f"{folder}: holds another architecture: {'; '.join(wrong[:LISTED])}{more}. "
            "Resume with the version of kinevec that made it, or start anew in another folder"
        )


def say_finished(folder: Path, state: Mapping[str, Any]) -> None:
    """Warns where a run has come to its end, so that nothing is left to do."""
    total = state["facts"].get("steps", math.inf)
    if state["step"] >= total:
        log.warning(
            "%s: this run was finished, step %d of %d, so nothing is trained. Its learning rate has fallen to 0: to "
            "train longer, begin anew in another folder with a larger train.epochs",
            *(folder, state["step"], total),
        )


def say_how(state: Mapping[str, Any], facts: Mapping[str, object]) -> None:
    """Warns where the newest checkpoint was damaged, and where the run goes on in another way than before."""
    for damage in state["damaged"]:
        log.warning("%s; going on from %s, step %d", damage, state["file"], state["step"])
    if state["facts"] != facts:
        log.warning(
            "the run was made with %s and goes on with %s: its losses will not be those of a run never stopped",
            *(_words(state["facts"]), _words(facts)),
        )


def _words(facts: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())
