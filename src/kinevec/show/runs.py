"""What the folders of runs say of them: settings, logs, scores, and what is wrong with a folder."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kinevec import config as configuration
from kinevec.config import Config
from kinevec.errors import ConfigError, InputError
from kinevec.show.judged import Judged, read_judged, remarks_on
from kinevec.show.letters import drawable
from kinevec.train.log import read_log

TITLES = {
    "loss": "loss",
    "spread": "spread",
    "rank": "effective rank",
    "alignment": "alignment",
    "uniformity": "uniformity",
    "stale": "staleness of the queue",
    "gradient": "gradient norm",
    "clips_per_second": "clips/s",
    "waiting": "share of time waiting",
    "lr": "learning rate",
}
MEANINGS = {
    "instance": "MoCo: frames of one clip against frames of another clip of the same video, among clips of others.",
    "flow": "MSCL: motion (flow, or frame differences) of one clip against that of the other clip of the same video.",
    "cross": "MSCL: frames of one clip against the motion (flow, or frame differences) of the other, plus the reverse.",
    "flow_rotated": "MSCL: the term flow once more, with the flow of each clip rotated by an angle of its own.",
    "cross_rotated": "MSCL: the term cross once more, with the flow of each clip rotated by an angle of its own.",
    "local": "MSCL: frames of each time step of a clip against the motion of all its time steps, also rotated motion.",
    "local_accuracy": "MSCL: share of time steps whose own motion is the most alike in the term local.",
    "vanilla": "FIMA: frames of one clip as a whole against the motion (frame differences, or flow) of the other.",
    "pixel": "FIMA: cells of one clip, or what is predicted there, against motion cells of the other at the same place.",
    "frame": "FIMA: what the decoder predicts of a clip at each time step against the clip's motion in that part of it.",
    "loss": "The weighted sum of all terms. Runs with other terms, queues or temperatures have other losses: compare "
    "those only where the settings in the table agree.",
    "spread": "Mean over the dimensions of the standard deviation of the embeddings, times √D. 1: they use all "
    "directions; 0: all videos look the same (collapse).",
    "rank": "exp of the entropy of the embeddings' singular values: how many directions they use.",
    "alignment": "Mean squared distance of the two clips of a video. 0: the same; 2: unrelated.",
    "uniformity": "log of the mean of exp(−2·distance²) over pairs of videos. 0: all are equal; near −4: evenly spread.",
    "stale": "How differently the oldest and the newest keys of the queue act on the queries. 0: alike; 1: the oldest "
    "were made by an encoder that has moved on.",
    "gradient": "Norm of the gradient before it is clipped.",
    "clips_per_second": "Clips trained on in a second.",
    "waiting": "Share of the time spent waiting for the loader.",
    "lr": "The learning rate.",
}
UNKNOWN = "Logged by another version of kinevec, and not known to this one."
HEALTH = ("spread", "rank", "alignment", "uniformity", "stale")
SPEED = ("clips_per_second", "waiting")
BESIDE = frozenset({".json", ".png", ".html", ".csv"})  # files that may lie among the folders of runs


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        name: by which it is shown.
        config: None where it cannot be read.
        total: steps of the whole run; None where that is not known.
        entries: of its log.
        judged: its evaluations, from `eval.json` and `eval-….json`.
        remarks: what is wrong with the folder, or unfinished.
    """

    name: str
    config: Config | None = None
    total: int | None = None
    entries: Sequence[dict[str, Any]] = ()
    judged: tuple[Judged, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        """Steps that are in the log."""
        return int(self.entries[-1]["step"]) if self.entries else 0

    def last(self, name: str) -> float:
        """The last logged value of a figure; NaN where there is none."""
        return next((_number(entry[name]) for entry in reversed(self.entries) if name in entry), math.nan)

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of a figure."""
        found = [(int(entry["step"]), _number(entry[name])) for entry in self.entries if name in entry]
        return [step for step, _ in found], [value for _, value in found]

    @property
    def figures(self) -> list[str]:
        """Names of the figures in the log: first the terms of the loss."""
        names = dict.fromkeys(name for entry in self.entries for name in entry)
        known = [name for name in TITLES if name in names]
        return [name for name in names if name not in TITLES and name not in ("step", "warnings")] + known

    @property
    def warnings(self) -> int:
        """How many warnings the log holds."""
        return sum(len(entry.get("warnings", ())) for entry in self.entries)


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Reads the folders of runs; what cannot be read is said in the run's remarks.

    What is no run has its path as it was given for a name. Files of kinds that kinevec writes beside runs are passed
    over, unless there is nothing else.

    Raises:
        InputError: none of them is a run.
    """
    folders = [folder for folder in folders if not _written_beside(folder)] or folders
    names = [drawable(folder.resolve().name) for folder in folders]
    runs = []
    for folder, name in zip(folders, names, strict=True):
        run = read_run(folder, name if names.count(name) == 1 else drawable(str(folder)))
        runs.append(run if run.config else replace(run, name=drawable(str(folder))))
    if not any(run.config for run in runs):
        raise InputError(
            "; ".join(f"{run.name}: {', '.join(run.remarks)}" for run in runs) or "no runs were named"
        )
    return runs


def _written_beside(path: Path) -> bool:
    """Whether it is a file such as kinevec writes beside runs: an evaluation of several, a figure, a page, a table."""
    return path.suffix.lower() in BESIDE and path.is_file()


def read_run(folder: Path, name: str) -> Run:
    """Reads the folder of a run as far as possible."""
    if not folder.is_dir():
        return Run(name, remarks=("no such folder" if not folder.exists() else "not a folder",))
    if not (folder / "config.toml").is_file():
        return Run(name, remarks=("not a run (no config.toml in it)",))
    try:
        config = configuration.load(folder / "config.toml")
    except ConfigError as error:
        return Run(name, remarks=(f"its configuration cannot be read: {error}",))
    remarks = []
    facts, wrong = _json(folder / "run.json")
    remarks += wrong
    judged, wrong = read_judged(folder)
    remarks += wrong
    try:
        entries = [entry for entry in read_log(folder) if isinstance(entry, dict) and "step" in entry]
    except (OSError, ValueError) as error:
        entries = []
        remarks.append(f"its log cannot be read ({error})")
    total = facts.get("steps")
    total = total if isinstance(total, int) else None
    if not entries:
        remarks.append("nothing logged yet")
    elif total is not None and entries[-1]["step"] < total:
        remarks.append(f"unfinished: step {entries[-1]['step']} of {total}")
    run = Run(name, config, total, entries, judged)
    remarks += [remark for one in judged for remark in remarks_on(one, run.step)]
    return replace(run, remarks=tuple(remarks))


def _json(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The content of a JSON file, and what is wrong with it."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        return {}, [f"{path.name} cannot be read ({type(error).__name__})"]
    return (content, []) if isinstance(content, dict) else ({}, [f"{path.name} holds something else"])


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
