"""Which evaluations answer the same question, and where one is filed beside others."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinevec.errors import InputError
from kinevec.evaluate.compare import ABOUT, INCIDENTAL, flat
from kinevec.evaluate.outcomes import BEFORE, SHOT
from kinevec.evaluate.protocols import FINETUNE
from kinevec.evaluate.result import read_result

RESULT = "eval.json"
LONGEST = 40  # letters of the data's name in a file's

Content = Mapping[str, Any]


@dataclass(frozen=True)
class Filed:
    """Where an evaluation belongs in a folder.

    Attributes:
        path: the file.
        replaces: when the same evaluation was made that stands there now; None where there is none.
        beside: the file that would have been taken but holds another evaluation; None where it was free.
    """

    path: Path
    replaces: str | None = None
    beside: Path | None = None


def place_for(folder: Path, content: Content) -> Filed:
    """The file of a folder for an evaluation: the one that holds the same, else `eval.json`, else a name of its own.

    The same are evaluations by the same protocols and settings on the same videos with the same labels, of the
    same encoders of the folder, whatever state of training they are in. Other evaluations are never replaced:
    this one then stands beside them as `eval-PROTOCOLS-DATA.json`.

    Args:
        content: of the evaluation, as `Evaluation.content`.
    """
    for path in evaluations_in(folder):
        other = _read(path)
        if other and question(other) == question(content):
            made = other.get("provenance", {}).get("made")
            return Filed(path, str(made or "an earlier time"))
    first = folder / RESULT
    if not first.exists():
        return Filed(first)
    stem = f"eval-{'+'.join(content['protocol']['settings']['protocols'])}-{_named(data_name(content))}"
    names = (folder / f"{stem}{'' if number == 1 else f'-{number}'}.json" for number in range(1, 10_000))
    return Filed(next(path for path in names if not path.exists()), beside=first)


def read_evaluation(place: str | Path) -> dict[str, Any]:
    """Reads an evaluation that others are compared with.

    Args:
        place: its JSON file, or a folder that holds one as `eval.json`. Behind a # follows the name of the encoder that
            is meant, where the file has several, as in `demo/eval.json#MSCL`.

    Returns:
        Its content, and its "file"; "judged" is the encoder that is meant.

    Raises:
        InputError: it cannot be read, holds no such encoder, or several of which none was named.
    """
    path, name = _place_and_name(str(place))
    if path.is_dir() and not (path / RESULT).is_file():
        raise InputError(
            f"{path}: holds no {RESULT}; name the JSON file of an evaluation, or judge that run first"
        )
    file = path / RESULT if path.is_dir() else path
    content = read_result(file)
    known = list(content["outcomes"].get("hits", {}))
    if name and name not in known:
        raise InputError(f"{file}: holds no encoder '{name}', but {', '.join(known)}")
    trained = [one for one in known if one != BEFORE]
    if not name and len(trained) > 1:
        raise InputError(
            f"{file}: holds several encoders ({', '.join(known)}); name the one that is meant, as in {path}#{trained[0]}"
        )
    return content | {"file": str(file)} | ({"judged": name, "named": str(place)} if name else {})


def _place_and_name(place: str) -> tuple[Path, str]:
    """A place, and the name of an encoder behind the last # before which there is something; either may hold a #."""
    if not Path(place).exists():
        for at in reversed([at for at, letter in enumerate(place) if letter == "#"]):
            if at and Path(place[:at]).exists():
                return Path(place[:at]), place[at + 1 :]
    return Path(place), ""


def evaluations_in(folder: Path) -> list[Path]:
    """Files of a folder that are named like evaluations, `eval.json` first."""
    found = sorted(folder.glob("eval-*.json"))
    return [folder / RESULT, *found] if (folder / RESULT).exists() else found


def question(content: Content) -> dict[str, Any]:
    """What an evaluation asks, and of whom: equal for those that may replace each other."""
    settings = flat(content.get("protocol", {}).get("settings", {}))
    protocols = sorted(settings.get("protocols", []))
    return {
        "data": data_key(content),
        "protocols": protocols,
        "settings": {
            key: value
            for key, value in settings.items()
            if key not in INCIDENTAL and _bears(key, set(protocols), bool(protocols))
        },
        "encoders": sorted(content.get("scores", {})),
        "runs": sorted(str(run.get("folder")) for run in content.get("runs", [])),
    }


def data_key(content: Content) -> str:
    """The same for the same test videos, training videos and labels, and files of the same sizes, only; "" where the
    evaluation names none."""
    outcomes, train = content.get("outcomes"), content.get("protocol", {}).get("train_videos")
    if not outcomes:
        return ""
    pairs = sorted(zip(outcomes["videos"], outcomes["labels"], strict=True))
    text = json.dumps([train, pairs, content.get("data", {}).get("files")])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def data_name(content: Content) -> str:
    """The last part of where the data lay, before the name of a list its folder's; "" where the evaluation does not say."""
    place = content.get("data", {}).get("folder")
    if not place:
        return ""
    path = Path(place).resolve()
    return f"{path.parent.name}-{path.stem}".lstrip("-") if path.suffix == ".csv" else path.name


def protocol_of(score: str) -> str:
    """The protocol that a score belongs to."""
    if score.startswith("R@"):
        return "retrieval"
    word = score.partition(" ")[0]
    return "few-shot" if word.endswith(SHOT) else word if word in ("linear", "knn") else FINETUNE


def settings_behind(score: str, content: Content) -> dict[str, Any]:
    """The settings that decide what a score measures: not how often it was repeated, nor what its name says."""
    repeated = {"seeds", "draws", "shots"}
    settings = flat(content.get("protocol", {}).get("settings", {}))
    return {
        key: value
        for key, value in settings.items()
        if key not in INCIDENTAL | repeated and _bears(key, {protocol_of(score)}, True)
    }


def _bears(key: str, protocols: set[str], otherwise: bool) -> bool:
    about = ABOUT.get(key.partition(".")[0])
    return bool(about & protocols) if about is not None else otherwise


def is_evaluation(path: Path) -> bool:
    """Whether a file is one that `kinevec eval` wrote."""
    return path.is_file() and _read(path).keys() >= {"scores", "protocol"}


def _read(path: Path) -> dict[str, Any]:
    """The content of a file; nothing where it is no evaluation."""
    try:
        content = json.loads(path.read_text("utf-8"))
        question(content)
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return {}
    return content if isinstance(content, dict) else {}


def _named(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)[:LONGEST].strip("._") or "data"
