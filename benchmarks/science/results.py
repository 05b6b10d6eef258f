"""From finished cells to the files of results/science."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rows import CANDIDATES, ROWS, SETTINGS

from kinevec.data.whole import write_text
from kinevec.runtime import provenance
from kinevec.train.log import read_log

RESULTS = Path(__file__).resolve().parents[2] / "results" / "science"
SCORES = ("R@1", "linear top-1")  # the search maximises their mean
CURVES = ("step", "instance", "spread")
POINTS = 40  # of a curve

Found = dict[str, Any]


def collect(work: Path, size: str) -> Path | None:
    """Writes what all finished cells of a size found; returns where, or None where none is finished."""
    cells = list(_cells(work / "cells" / size))
    if not cells:
        return None
    content = {
        "kind": "science",
        "size": size,
        "titles": {name: row.title for name, row in ROWS.items()},
        "chosen": chosen_settings(size),
        "heads": {name: row.head for name, row in ROWS.items() if row.head},
        "chance": cells[0]["chance"],
        "guess": float(
            np.log(1 + cells[0]["config"]["method"]["queue"])
        ),  # contrastive loss of one who knows nothing
        "data": cells[0]["data"],
        "sets": {cell["set"]: cell["made_from"]["set"] for cell in cells},
        "cells": [_short(cell) for cell in cells],
        "configs": {
            f"{cell['row']}, {cell['setting']}": cell["config"] for cell in cells if cell["seed"] == 0
        },
        "provenance": _provenance(),
    }
    return _written(size, content)


def collect_search(work: Path, size: str) -> Path | None:
    """Writes every trial of the search, and what each row does best with on people held out of train.

    Returns:
        Where it was written; None where no trial is finished.
    """
    trials = list(_cells(work / "search" / size))
    if not trials:
        return None
    means: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        score = float(np.mean([trial["scores"][name] for name in SCORES]))
        means[trial["row"]][trial["setting"]].append(score)
    # Only settings judged on as many people as the most judged one compete.
    most = {row: max(map(len, found.values())) for row, found in means.items()}
    val = {
        row: {name: float(np.mean(scores)) for name, scores in found.items() if len(scores) == most[row]}
        for row, found in means.items()
    }
    content = {
        "kind": "science search",
        "size": size,
        "criterion": f"mean of {' and '.join(SCORES)} on training people held out, in percent",
        "titles": {name: row.title for name, row in ROWS.items()},
        "settings": {name: SETTINGS[name] for name in CANDIDATES},
        "chosen": {row: max(scores, key=lambda name: scores[name]) for row, scores in val.items()},
        "mean": val,
        "trials": [_short(trial) for trial in trials],
        "provenance": _provenance(),
    }
    return _written(f"search_{size}", content)


def chosen_settings(size: str) -> dict[str, str]:
    """Row → name of the setting that the search chose; empty before any search."""
    path = RESULTS / f"search_{size}.json"
    return json.loads(path.read_text("utf-8"))["chosen"] if path.is_file() else {}


def _cells(folder: Path) -> Iterator[Found]:
    for path in sorted(folder.rglob("eval.json")):
        yield json.loads(path.read_text("utf-8")) | {"curve": _curve(path.parent / "run")}


def _curve(run: Path) -> Found:
    """The shared loss and the spread of embeddings over the steps of a run, thinned; empty where none was logged."""
    logged = read_log(run) if (run / "log.jsonl").is_file() else []
    entries = [entry for entry in logged if entry.keys() >= set(CURVES)]
    thinned = entries[:: -(-len(entries) // POINTS)] if entries else []
    return {key: [round(entry[key], 3) for entry in thinned] for key in CURVES} if thinned else {}


def _short(cell: Found) -> Found:
    keys = ("row", "set", "seed", "held", "setting", "scores", "steps", "curve")
    minutes = {f"{name} minutes": round(seconds / 60, 1) for name, seconds in cell["spent"].items()}
    made = {key: cell["provenance"][key] for key in ("commit", "machine")}
    return {key: cell[key] for key in keys} | minutes | made


def _provenance() -> Found:
    facts = provenance()
    facts.pop("command")
    return facts


def _written(name: str, content: Found) -> Path:
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path
