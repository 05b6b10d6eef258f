"""What an index says of how it was made: `index.json`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinevec.data.whole import write_text
from kinevec.errors import DataError, InputError
from kinevec.search.settings import Settings

if TYPE_CHECKING:
    from kinevec.encoders import Loaded

FORMAT = 1
FACTS = "index.json"


def write_facts(folder: Path, loaded: "Loaded", settings: Settings) -> None:
    """Writes model, settings and provenance; with that the index is there.

    Raises:
        OutputError: the file cannot be written.
    """
    from kinevec.runtime import provenance  # it imports PyTorch, which reading does not need

    facts = {
        "format": FORMAT,
        "model": describe(loaded),
        "settings": asdict(settings),
        "provenance": provenance("cpu"),
    }
    write_text(folder / FACTS, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")


def read_facts(folder: Path) -> dict[str, Any]:
    """The same, read.

    Raises:
        InputError: there is no index.
        DataError: the file is damaged, or was written by a newer kinevec.
    """
    path = folder / FACTS
    if not path.is_file():
        what = "is a file, but an index is a folder" if folder.is_file() else "no index is there"
        raise InputError(f"{folder}: {what}; `kinevec embed` makes one")
    try:
        facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
        known = facts["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is damaged, or no index of kinevec ({error})") from error
    if not known:
        raise DataError(
            f"{path}: has format {facts['format']}, but this kinevec reads {FORMAT}: use the kinevec that made it, "
            "or embed the videos again"
        )
    return facts


def describe(loaded: "Loaded") -> dict[str, Any]:
    """What an index records of its encoder."""
    config = loaded.config
    return {
        "identity": loaded.identity,
        "source": loaded.source,
        "encoder": config.model.name,
        "terms": config.terms.names,
        "step": loaded.step,
        "clip": asdict(config.clip),
        "channels": loaded.encoder.channels,
    }
