"""How features of frames and of motion agree in the encoders of finished cells (FIMA, figure 5), over many test videos.

    python benchmarks/science/looks.py WORK --rows moco,mscl,fima,supervised --seeds 0

What `kinevec show` says of one video, averaged: how much more alike a cell's features of frames and of their differences
are at the same place than at others, likewise at the same time (of videos of more than one clip; of others it has no
value), and how far activation follows speed. On the set `unbiased`; results: results/science/looks_SIZE.json, beside
what is recorded there of other encoders.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from audits import cell_of, parsed, parser_of
from cells import Cell, videos_of
from records import agreed, beside, recorded, written
from rows import ROWS, SUPERVISED, UNTRAINED

from kinevec import encoders
from kinevec.encoders import Loaded
from kinevec.errors import KinevecError
from kinevec.runtime import provenance
from kinevec.show.look import look

KIND = "unbiased"
EVERY = 4  # one of so many test videos is looked at
KEYS = ("same place", "same time", "follows speed")


def main() -> int:
    """Runs the command; returns the exit code."""
    parser = parser_of(__doc__)
    parser.set_defaults(rows=[UNTRAINED, "moco", "mscl", "fima", SUPERVISED])
    arguments = parsed(parser)
    try:
        cells = [
            cell_of(row, KIND, seed, arguments.size, arguments.setting)
            for seed in arguments.seeds
            for row in arguments.rows
        ]
        print(f"written: {looked(arguments.work, arguments.size, cells)}")
    except KinevecError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def looked(work: Path, size: str, cells: list[Cell]) -> Path:
    """Looks at test videos with the encoders of cells; returns where the means were written.

    Raises:
        InputError: a cell has not been trained.
        OutputError: the file records looks at other videos.
    """
    loaded = {str(place): encoders.load(cell.folder(work) / "run") for place, cell in enumerate(cells)}
    test = videos_of(work / "sets" / KIND, None).only(lambda record: record.split == "test").records[::EVERY]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in loaded}
    for record in test:
        for name, numbers in _of_video(loaded, record.path, size).items():
            found[name].append(numbers)
    made = {key: provenance()[key] for key in ("commit", "machine")}
    looks = [
        {"row": cell.row, "setting": cell.called, "seed": cell.seed}
        | {key: float(np.nanmean([one[key] for one in found[str(place)]])) for key in KEYS}
        | made
        for place, cell in enumerate(cells)
    ]
    name = f"looks_{size}"
    before = recorded(name)
    facts = {"set": KIND, "videos": len(test)}
    content = {
        "kind": "science looks",
        "size": size,
        "titles": {row: known.title for row, known in ROWS.items()},
        **agreed(name, {key: before[key] for key in facts if key in before}, facts),
        "looks": beside(before.get("looks", []), looks, ("row", "setting", "seed")),
    }
    return written(name, content)


def _of_video(loaded: dict[str, Loaded], path: Path, size: str) -> dict[str, dict[str, Any]]:
    seen = look(loaded, path, device="cpu" if size == "cpu" else "auto").seen
    return {
        name: {
            "same place": one.affinity.same_place,
            "same time": one.affinity.same_time,
            "follows speed": one.on_motion,
        }
        for name, one in seen.items()
    }


if __name__ == "__main__":
    sys.exit(main())
