"""One cell of the experiment: a row trained and judged on one set with one seed, resumable, never done twice."""

import contextlib
import fcntl
import json
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from rows import ROWS, SIZES, SUPERVISED, UNTRAINED, changes_of, config_of, in_path
from sets import FAMILIES
from supervised import Recipe
from supervised import train as train_supervised

from kinevec import encoders
from kinevec.config import Config, to_dict
from kinevec.data import find_records, open_videos
from kinevec.data.source import Collection
from kinevec.data.whole import write_text
from kinevec.encoders import Loaded
from kinevec.errors import DataError, InputError, Interrupted, OutputError
from kinevec.evaluate.evaluation import Evaluation, evaluate, score
from kinevec.evaluate.features import Features
from kinevec.runtime import provenance
from kinevec.train.checkpoint import (
    has_checkpoint,
    load_checkpoint,
    save_encoder,
    untrained_encoder,
)
from kinevec.train.loop import pretrain
from kinevec.train.supply import FRAMES, open_supply

JUDGED, SPENT = "eval.json", "spent.json"


@dataclass(frozen=True)
class Cell:
    """What is trained on what.

    Attributes:
        kind: of the set.
        held: a training person to judge on, who is then not trained on; None: train on all and judge on test.
        setting: what the search says of the row, and what it is called.
    """

    row: str
    kind: str
    seed: int
    size: str
    held: str | None = None
    setting: Mapping[str, object] = field(default_factory=dict)
    called: str = "as preset"

    @property
    def config(self) -> Config:
        """Of the training run."""
        return config_of(self.row, self.size, self.setting, self.seed)

    def folder(self, work: Path) -> Path:
        """Where it lies below `work`."""
        place = Path(self.size, self.kind, self.row, in_path(self.called))
        if self.held is None:
            return work / "cells" / place / f"seed{self.seed}"
        return work / "search" / place / f"{self.held}-seed{self.seed}"

    def __str__(self) -> str:
        held = f", {self.held} held out" if self.held else ""
        return f"{ROWS[self.row].title} on {self.kind}, seed {self.seed}, {self.called}{held}"


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Whether the cell is ours as long as the context lasts; a process that dies gives its claim up."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "claim").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def finished(cell: Cell, work: Path) -> dict[str, Any] | None:
    """What was found, if the cell is done.

    Raises:
        OutputError: it was done with another configuration or on other videos.
    """
    path = cell.folder(work) / JUDGED
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    if found["made_from"] != _made_from(cell, work):
        raise OutputError(f"{path.parent}: was made with other settings or videos; move it away first")
    return found


def encoder_of(cell: Cell, work: Path) -> Loaded:
    """The encoder of a cell that is done; one that is being trained has a file of weights, too.

    Raises:
        InputError: the cell is not done.
    """
    if finished(cell, work) is None:
        raise InputError(f"{cell} is not done; benchmarks/science/run.py does it")
    return encoders.load(cell.folder(work) / "run")


def run_cell(cell: Cell, work: Path, stopped: threading.Event) -> dict[str, Any]:
    """Trains, or goes on training, and judges.

    Raises:
        Interrupted: asked to stop; what was done is kept.
    """
    folder, config = cell.folder(work), cell.config
    videos = videos_of(work / "sets" / cell.kind, cell.held)
    run = folder / "run"
    with _spent(folder):
        if not has_checkpoint(run):
            shutil.rmtree(run, ignore_errors=True)  # of a process that was killed before its first checkpoint
        train = videos.only(lambda record: record.split == "train")
        if cell.row == UNTRAINED:
            run.mkdir(parents=True)
            save_encoder(run, untrained_encoder(config), config, 0)
        elif cell.row == SUPERVISED:
            _supervise(config, train, run, stopped)
        else:
            pretrain(config, train, run, resume=has_checkpoint(run))
        if stopped.is_set():
            raise Interrupted(f"{folder}: trained, not judged yet")
        found = evaluate(run, videos, clips=SIZES[cell.size].clips, untrained=False)
        extra = _of_background(found, work / "sets" / cell.kind / FAMILIES)
        if cell.row == SUPERVISED:
            extra |= {"classifier top-1": _accuracy(found, run, config)}
    result = {
        "row": cell.row,
        "set": cell.kind,
        "seed": cell.seed,
        "held": cell.held,
        "setting": cell.called,
        "scores": next(iter(found.scores.values())) | extra,
        "chance": found.chance,
        "data": found.facts["data"],
        "spent": json.loads((folder / SPENT).read_text("utf-8")),
        "steps": encoders.load(run).step,
        "config": to_dict(config),
        "provenance": provenance(config.train.device),
        "made_from": _made_from(cell, work),
    }
    write_text(folder / JUDGED, json.dumps(result, indent=1) + "\n")
    return result


@cache
def videos_of(folder: Path, held: str | None) -> Collection:
    """The videos of a set; with `held`, only those of train, and that person's are the test split.

    Raises:
        DataError: nobody in train is called that.
    """
    videos = open_videos(find_records(folder))
    if held is None:
        return videos
    videos = videos.only(lambda record: record.split == "train")
    if held not in {record.group for record in videos.records}:
        raise DataError(f"{folder}: nobody called {held} is in the train split")
    records = tuple(
        replace(record, split="test" if record.group == held else "train") for record in videos.records
    )
    return replace(videos, records=records)


def _supervise(config: Config, train: Collection, run: Path, stopped: threading.Event) -> None:
    run.mkdir(parents=True, exist_ok=True)
    supply = open_supply(config, train, run, None, None)
    labels = [record.label or "" for record in train.records]
    classes = sorted(set(labels))
    try:
        numbers = [classes.index(label) for label in labels]
        train_supervised(config, Recipe(), supply.source, numbers, len(classes), run, stopped=stopped)
    finally:
        (run / FRAMES).unlink(missing_ok=True)


def _of_background(found: Evaluation, families: Path) -> dict[str, float]:
    """How well the features tell what stands behind: the scores where the label is the family of textures."""
    if not families.is_file():
        return {}
    family = json.loads(families.read_text("utf-8"))
    features = next(iter(found.features.values()))
    records = tuple(
        replace(record, label=f"family {family[record.name]}") for record in features.collection.records
    )
    scores = score(Features(features.clips, replace(features.collection, records=records)))
    return {f"background {name}": scores[name] for name in ("R@1", "linear top-1")}


def _accuracy(found: Evaluation, run: Path, config: Config) -> float:
    """Percent of test videos that the classifier names rightly, its scores averaged over clips."""
    model = load_checkpoint(run, config)["model"]
    features = next(iter(found.features.values()))
    classes = sorted(set(features.split("train").labels))
    test = features.split("test")
    logits = torch.from_numpy(test.clips) @ model["head.weight"].T + model["head.bias"]
    named = [classes[place] for place in logits.softmax(-1).mean(1).argmax(1)]
    return 100 * sum(a == b for a, b in zip(named, test.labels, strict=True)) / len(named)


def _made_from(cell: Cell, work: Path) -> dict[str, Any]:
    """What must be equal for a finished cell to count; not what kinevec's defaults have come to since."""
    made = json.loads((work / "sets" / cell.kind / "set.json").read_text("utf-8"))
    changes = changes_of(cell.row, cell.size, cell.setting)
    return {"preset": ROWS[cell.row].preset, "changes": changes, "set": made}


@contextlib.contextmanager
def _spent(folder: Path) -> Iterator[None]:
    """Adds wall and processor seconds to what earlier pieces of the cell took."""
    path = folder / SPENT
    before = json.loads(path.read_text("utf-8")) if path.is_file() else {"seconds": 0.0, "processor": 0.0}
    wall, processor = time.perf_counter(), time.process_time()
    try:
        yield
    finally:
        spent = {
            "seconds": before["seconds"] + time.perf_counter() - wall,
            "processor": before["processor"] + time.process_time() - processor,
        }
        write_text(path, json.dumps({name: round(value, 1) for name, value in spent.items()}) + "\n")
