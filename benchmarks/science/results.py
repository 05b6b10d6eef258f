"""From finished cells to the files of results/science.

What a file records of cells that this WORK does not hold is kept, so that tables can be made in many pieces and on many
machines; every entry says which commit and machine it is of.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rows import CANDIDATES, ROWS, SETTINGS

from kinevec.data.whole import write_text
from kinevec.errors import OutputError
from kinevec.runtime import provenance
from kinevec.train.log import read_log

RESULTS = Path(__file__).resolve().parents[2] / "results" / "science"
SCORES = ("R@1", "linear top-1")  # the search maximises their mean
CURVES = ("step", "instance", "spread")
POINTS = 40  # of a curve
CELL = ("set", "row", "setting", "held", "seed")  # one cell of a table, one trial of a search

Found = dict[str, Any]


def collect(work: Path, size: str) -> Path | None:
    """Writes what all finished cells of a size found; returns where, or None where none is finished.

    Raises:
        OutputError: the file records cells on other videos.
    """
    cells = list(_cells(work / "cells" / size))
    if not cells:
        return None
    before = recorded(size)
    sets = {cell["set"]: cell["made_from"]["set"] for cell in cells}
    if other := [name for name, made in sets.items() if before.get("sets", {}).get(name, made) != made]:
        raise OutputError(f"{_path(size)}: is of other videos ({', '.join(other)}); move it away first")
    configs = {f"{cell['row']}, {cell['setting']}": cell["config"] for cell in cells if cell["seed"] == 0}
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
        "sets": before.get("sets", {}) | sets,
        "cells": beside(before.get("cells", []), map(_short, cells), CELL),
        "configs": before.get("configs", {}) | configs,
        "provenance": _provenance(),
    }
    return written(size, content)


def collect_search(work: Path, size: str) -> Path | None:
    """Writes every trial of the search, and what each row does best with on people held out of train.

    Returns:
        Where it was written; None where no trial is finished.
    """
    done = list(_cells(work / "search" / size))
    if not done:
        return None
    trials = beside(recorded(f"search_{size}").get("trials", []), map(_short, done), CELL)
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
        "trials": trials,
        "provenance": _provenance(),
    }
    return written(f"search_{size}", content)


def chosen_settings(size: str) -> dict[str, str]:
    """Row → name of the setting that the search chose; empty before any search."""
    chosen: dict[str, str] = recorded(f"search_{size}").get("chosen", {})
    return chosen


def recorded(name: str) -> Found:
    """What the file NAME of the results says; empty where there is none."""
    path = _path(name)
    found: Found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def written(name: str, content: Found) -> Path:
    """Writes the file NAME of the results; returns where it is."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_text(_path(name), json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return _path(name)


def beside(before: Iterable[Found], new: Iterable[Found], key: Iterable[str]) -> list[Found]:
    """Entries by what `key` says of them, sorted; a new one stands in the place of an earlier one."""
    names = tuple(key)
    found = {tuple(str(one.get(name)) for name in names): one for one in [*before, *new]}
    return [found[place] for place in sorted(found)]


def _path(name: str) -> Path:
    return RESULTS / f"{name}.json"


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
