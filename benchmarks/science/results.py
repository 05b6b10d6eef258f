"""From finished cells to the files of results/science, beside what these record of cells that this WORK lacks."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from records import Found, agreed, beside, recorded, written
from rows import CANDIDATES, ROWS, SETTINGS

from kinevec.runtime import provenance
from kinevec.train.log import read_log

SCORES = ("R@1", "linear top-1")  # the search maximises their mean
CURVES = ("step", "instance", "spread")
POINTS = 40  # of a curve
CELL = ("set", "row", "setting", "held", "seed")  # one cell of a table, one trial of a search


def collect(work: Path, size: str) -> Path | None:
    """Writes what all finished cells of a size found; returns where, or None where none is finished.

    Raises:
        OutputError: the file records cells on other videos, or a row and setting with another configuration.
    """
    cells = list(_cells(work / "cells" / size))
    if not cells:
        return None
    before = recorded(size)
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
        "cells": beside(before.get("cells", []), map(_short, cells), CELL),
        **_made_from(size, before, cells),
        "provenance": provenance(command=False),
    }
    return written(size, content)


def collect_search(work: Path, size: str) -> Path | None:
    """Writes every trial of the search, and what each row does best with on people held out of train.

    Returns:
        Where it was written; None where no trial is finished.

    Raises:
        OutputError: as for `collect`.
    """
    done = list(_cells(work / "search" / size))
    if not done:
        return None
    name = f"search_{size}"
    before = recorded(name)
    trials = beside(before.get("trials", []), map(_short, done), CELL)
    means: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        score = float(np.mean([trial["scores"][part] for part in SCORES]))
        means[trial["row"]][trial["setting"]].append(score)
    # Only settings judged on as many people as the most judged one compete.
    most = {row: max(map(len, found.values())) for row, found in means.items()}
    val = {
        row: {
            setting: float(np.mean(scores)) for setting, scores in found.items() if len(scores) == most[row]
        }
        for row, found in means.items()
    }
    content = {
        "kind": "science search",
        "size": size,
        "criterion": f"mean of {' and '.join(SCORES)} on training people held out, in percent",
        "titles": {name: row.title for name, row in ROWS.items()},
        "settings": {setting: SETTINGS[setting] for setting in CANDIDATES},
        "chosen": {row: max(scores, key=lambda setting: scores[setting]) for row, scores in val.items()},
        "mean": val,
        "trials": trials,
        **_made_from(name, before, done),
        "provenance": provenance(command=False),
    }
    return written(name, content)


def chosen_settings(size: str) -> dict[str, str]:
    """Row → name of the setting that the search chose; empty before any search."""
    chosen: dict[str, str] = recorded(f"search_{size}").get("chosen", {})
    return chosen


def _made_from(name: str, before: Found, cells: Sequence[Found]) -> Found:
    """The sets, and the configuration of each row and setting, of all cells of a file.

    The seed is that of the last; all cells that are not recorded yet are compared with one another, too.
    """
    sets, configs = before.get("sets", {}), before.get("configs", {})
    for cell in cells:
        sets = agreed(name, sets, {cell["set"]: cell["made_from"]["set"]})
        configs = agreed(name, configs, {f"{cell['row']}, {cell['setting']}": cell["config"]})
    return {"sets": sets, "configs": configs}


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
