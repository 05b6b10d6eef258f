"""How features of frames and of motion agree in the encoders of finished cells (FIMA, figure 5), over many test videos.

    python benchmarks/science/looks.py WORK --rows moco,mscl,fima,supervised --seeds 0

What `kinevec show` says of one video, averaged: how much more alike a cell's features of frames and of their differences
are at the same place than at others; what of that is left with the differences of another video (then it is the place
alone, not what moves there); likewise at the same time (of videos of more than one clip; of others it has no value); and
how far activation follows speed. On the set `unbiased`; results: results/science/looks_SIZE.json, beside
what is recorded there of other encoders.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from audits import cell_of, parsed, parser_of
from cells import Cell, encoder_of, videos_of
from records import agreed, beside, recorded, written
from rows import ROWS, SUPERVISED, UNTRAINED

from kinevec.errors import KinevecError
from kinevec.runtime import provenance
from kinevec.show.activation import Steps
from kinevec.show.affinity import Affinity, affinity
from kinevec.show.look import Sight, look

KIND = "unbiased"
EVERY = 4  # one of so many test videos is looked at
KEYS = ("same place", "place alone", "same time", "follows speed")


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
        InputError: a cell is not done.
        OutputError: the file records looks at other videos.
    """
    loaded = {str(place): encoder_of(cell, work) for place, cell in enumerate(cells)}
    test = videos_of(work / "sets" / KIND, None).only(lambda record: record.split == "test").records[::EVERY]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in loaded}
    before: dict[str, Sight] = {}
    for record in test:
        seen = look(loaded, record.path, device="cpu" if size == "cpu" else "auto").seen
        for name, one in seen.items():
            found[name].append(_numbers(one, before.get(name)))
        before = dict(seen)
    made = {key: provenance()[key] for key in ("commit", "machine")}
    looks = [
        {"row": cell.row, "setting": cell.called, "seed": cell.seed}
        | {key: float(np.nanmean([one[key] for one in found[str(place)]])) for key in KEYS}
        | made
        for place, cell in enumerate(cells)
    ]
    name = f"looks_{size}"
    known = recorded(name)
    facts = {"set": KIND, "videos": len(test)}
    content = {
        "kind": "science looks",
        "size": size,
        "titles": {name: row.title for name, row in ROWS.items()},
        **agreed(name, {key: known[key] for key in facts if key in known}, facts),
        "looks": beside(known.get("looks", []), looks, ("row", "setting", "seed")),
    }
    return written(name, content)


def _numbers(mine: Sight, other: Sight | None) -> dict[str, float]:
    """What is said of one video; `other` is what the same encoder makes of another one, whose differences stand in."""
    return {
        "same place": mine.affinity.same_place,
        "place alone": _swapped(mine.features, other.features).same_place if other else float("nan"),
        "same time": mine.affinity.same_time,
        "follows speed": mine.on_motion,
    }


def _swapped(mine: Steps, other: Steps) -> Affinity:
    """The affinity of the frames of one video and the differences of another, as far as both go."""
    count = min(len(mine.rgb), len(other.rgb))
    return affinity(replace(mine, rgb=mine.rgb[:count], motion=other.motion[:count]))


if __name__ == "__main__":
    sys.exit(main())
