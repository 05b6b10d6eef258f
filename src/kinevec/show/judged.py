"""What evaluations in the folder of a run found, and which of their scores may stand in one row."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinevec.evaluate.facts import leaked
from kinevec.evaluate.filed import RESULT, data_key, data_name, evaluations_in, settings_behind


@dataclass(frozen=True)
class Judged:
    """One evaluation of a run.

    Attributes:
        data: the same for the same test and training videos with the same labels; "" where that is not recorded.
        words: the data in words: where they lay, and how many videos and classes there are.
        scores: of the encoder that was asked for, in percent.
        chance: of the scores.
        settings: score → what decides what it measures.
        made: when, in ISO format.
        file: its name.
        step: training steps behind the encoder; None where that is not recorded.
        leaked: how many test videos the encoder was trained on, in words; "" where none is known of.
    """

    data: str
    words: str
    scores: Mapping[str, float]
    chance: Mapping[str, float]
    settings: Mapping[str, Mapping[str, Any]]
    made: str
    file: str = RESULT
    step: int | None = None
    leaked: str = ""


@dataclass(frozen=True)
class ScoreRow:
    """Scores of runs that may be compared: of the same videos, by the same protocol and settings.

    Attributes:
        words: what they are: the score, what guessing reaches, and settings where there are others of the same name.
        values: of each run in percent; None where it was not judged so.
    """

    words: str
    values: tuple[float | None, ...]


def read_judged(folder: Path) -> tuple[tuple[Judged, ...], list[str]]:
    """The evaluations in a folder, and what is wrong with its files."""
    found, wrong = [], []
    for path in evaluations_in(folder):
        try:
            content = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            wrong.append(f"{path.name} cannot be read ({type(error).__name__})")
            continue
        try:
            found.append(_judged(content, path.name))
        except (AttributeError, KeyError, TypeError, ValueError):
            wrong.append(f"{path.name} holds something else")
    return tuple(found), wrong


def remarks_on(judged: Judged, step: int) -> list[str]:
    """Why its scores may mislead.

    Args:
        step: that the run's log has come to.
    """
    found = [f"{judged.file}: {judged.leaked}"] if judged.leaked else []
    if judged.step is not None and step and judged.step != step:
        found.append(f"{judged.file} judges step {judged.step}, and the log goes to step {step}")
    return found


def score_tables(runs: Sequence[Sequence[Judged]]) -> dict[str, list[ScoreRow]]:
    """The scores of runs, apart for each set of data: its words → rows.

    Args:
        runs: what was found of each.
    """
    every = [one for found in runs for one in found]
    tables: dict[str, list[ScoreRow]] = {}
    for key in dict.fromkeys(one.data for one in every):
        part = [[one for one in found if one.data == key] for found in runs]
        words = next(one.words for one in every if one.data == key)
        if words in tables:  # other videos, though as many and of the same name
            words += f" ({key[:6]})"
        names = dict.fromkeys(name for found in part for one in found for name in one.scores)
        tables[words] = [row for name in names for row in _rows(name, part)]
    return tables


def _rows(name: str, runs: Sequence[Sequence[Judged]]) -> list[ScoreRow]:
    """One row for each way in which a score was measured on the same data."""
    having = [[one for one in found if name in one.scores] for found in runs]
    ways: list[Mapping[str, Any]] = []
    for one in (one for found in having for one in found):
        if one.settings[name] not in ways:
            ways.append(one.settings[name])
    keys = dict.fromkeys(key for way in ways for key in way)
    differing = [key for key in keys if any(way.get(key) != ways[0].get(key) for way in ways)]
    rows = []
    for way in ways:
        mine = [[one for one in found if one.settings[name] == way] for found in having]
        latest = [max(found, key=lambda one: one.made, default=None) for found in mine]
        chance = next((one.chance[name] for one in latest if one and name in one.chance), None)
        notes = [] if chance is None else [f"chance {chance:.1f}"]
        notes += [f"{key} {way.get(key, '–')}" for key in differing]
        words = f"{name} ({', '.join(notes)})" if notes else name
        rows.append(ScoreRow(words, tuple(one.scores[name] if one else None for one in latest)))
    return rows


def _judged(content: Any, file: str) -> Judged:
    mine = content["scores"].get(content.get("judged", "trained"), {})
    known = {name: float(value) for name, value in mine.items() if isinstance(value, int | float)}
    chance = content.get("chance", {})
    return Judged(
        data_key(content),
        _words(content),
        known,
        {name: float(chance[name]) for name in known if name in chance},
        {name: settings_behind(name, content) for name in known},
        str(content.get("provenance", {}).get("made", "")),
        file,
        content.get("run", {}).get("step"),
        leaked(content.get("data", {})),
    )


def _words(content: Mapping[str, Any]) -> str:
    data = content.get("data", {})
    counts = [
        f"{data[key]} {words}"
        for key, words in (("test", "test videos"), ("train", "train videos"), ("classes", "classes"))
        if key in data
    ]
    return ": ".join(part for part in (data_name(content), ", ".join(counts)) if part) or "data not recorded"
