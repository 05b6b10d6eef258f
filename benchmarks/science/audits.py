"""Audit the encoders of finished cells: does their score rest on motion or on what stands behind?

    python benchmarks/science/audits.py WORK --rows moco,mscl,fima,supervised --sets unbiased,biased --seeds 0

Encoders are those of the setting that the search chose for each row, or of the one that --setting names for all.
The encoders of a set and seed are audited in one pass over its videos, beside the untrained one. Where the person is
in a frame is known: the set `original`, which is black but for the person, serves as the masks. Finished audits are
not made again. Each has a page, WORK/audits/SIZE/KIND/SETTING/seedN.html; all figures go to
results/science/audit_SIZE.json, an entry for each encoder, beside what is recorded there of others.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from cells import Cell, encoder_of, videos_of
from records import agreed, beside, recorded, written
from results import chosen_settings
from rows import AS_PRESET, ROWS, SETTINGS, SIZES, UNTRAINED, in_path, setting_of
from run import names_of, numbers_of
from scenes import KINDS

from kinevec.data.whole import write_text
from kinevec.errors import KinevecError
from kinevec.evaluate.audit import AuditConfig, audit, open_masks
from kinevec.show.audit_page import write_audit

CLIPS = 2  # a video: at a span of 40 frames more overlap almost wholly
PERSON = 30  # grey level in the set `original` above which somebody is there
COMMON = ("data", "protocol", "masks", "chance")  # of all audits in a file of results
MASKS = f"the set `original`, grey level above {PERSON}"


def main() -> int:
    """Runs the command; returns the exit code."""
    parser = parser_of(__doc__)
    parser.add_argument("--sets", type=names_of(KINDS), default=["unbiased"])
    arguments = parsed(parser)
    try:
        for kind, seed in itertools.product(arguments.sets, arguments.seeds):
            cells = [
                cell_of(row, kind, seed, arguments.size, arguments.setting)
                for row in arguments.rows
                if row != UNTRAINED
            ]
            named = in_path(arguments.setting or "chosen")
            place = arguments.work / "audits" / arguments.size / kind / named / f"seed{seed}.json"
            audited(arguments.work, cells, place)
            print(place.with_suffix(".html"), flush=True)
        print(f"written: {collect_audits(arguments.work, arguments.size)}")
    except KinevecError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def parser_of(about: str | None) -> argparse.ArgumentParser:
    """Reads whose encoders are asked about."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--size", choices=tuple(SIZES), default="cpu")
    parser.add_argument("--rows", type=names_of(ROWS), default=["moco", "mscl", "fima"])
    parser.add_argument("--seeds", type=numbers_of, default=[0])
    parser.add_argument(
        "--setting", choices=tuple(SETTINGS), help="default: for each row what the search chose"
    )
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """What the command line asks for; computes with one thread from here on, but on a GPU."""
    arguments = parser.parse_args()
    if arguments.size == "cpu":
        torch.set_num_threads(1)  # two processes on two cores do more than one of two threads
    return arguments


def cell_of(row: str, kind: str, seed: int, size: str, setting: str | None) -> Cell:
    """The cell whose encoder is audited."""
    name = setting_of(row, chosen_settings(size), setting)
    return Cell(row, kind, seed, size, None, SETTINGS[name], name)


def audited(work: Path, cells: Sequence[Cell], place: Path) -> None:
    """Audits encoders trained on one set with one seed on its test split, if that has not been done.

    Raises:
        InputError: one is not done.
    """
    kind, seed, size = cells[0].kind, cells[0].seed, cells[0].size
    settings = {ROWS[cell.row].title: cell.called for cell in cells}
    if place.is_file() and json.loads(place.read_text("utf-8"))["settings"] == settings:
        return
    loaded = {ROWS[cell.row].title: encoder_of(cell, work) for cell in cells}
    first, *others = loaded
    result = audit(
        loaded[first],
        videos_of(work / "sets" / kind, None),
        AuditConfig(clips=CLIPS, seed=seed),
        name=first,
        beside={title: loaded[title] for title in others},
        masks=open_masks(work / "sets" / "original", PERSON),
        device="cpu" if size == "cpu" else "auto",
    )
    place.parent.mkdir(parents=True, exist_ok=True)
    result.facts["masks"]["source"] = MASKS
    write_audit(place.with_suffix(".html"), result)
    content = {"settings": settings, "set": kind, "seed": seed} | result.content
    write_text(place, json.dumps(content) + "\n")


def collect_audits(work: Path, size: str) -> Path:
    """Writes the figures and scores of all encoders that are audited; returns where.

    Raises:
        OutputError: the file records audits of other videos, or made otherwise.
    """
    audits = [
        json.loads(path.read_text("utf-8")) for path in sorted((work / "audits" / size).rglob("seed*.json"))
    ]
    name = f"audit_{size}"
    before = recorded(name)
    common = {key: before[key] for key in COMMON if key in before}
    for one in audits:
        protocol = {key: value for key, value in one["protocol"].items() if key != "seed"}
        data = {key: one["data"][key] for key in ("train", "test", "classes")}
        facts = {"data": data, "protocol": protocol, "masks": MASKS, "chance": one["chance"]}
        common = agreed(name, common, facts)
    entries = itertools.chain.from_iterable(map(_by_encoder, audits))
    content = {
        "kind": "science audit",
        "size": size,
        "titles": {row: known.title for row, known in ROWS.items()},
        **common,
        "audits": beside(before.get("audits", []), entries, ("set", "row", "setting", "seed")),
    }
    return written(name, content)


def _by_encoder(one: dict[str, Any]) -> Iterator[dict[str, Any]]:
    made = {key: one["provenance"][key] for key in ("commit", "machine")}
    rows = {row.title: name for name, row in ROWS.items()}
    for title in one["figures"]:
        found = {key: one[key][title] for key in ("figures", "scores", "similarity")}
        setting = one["settings"].get(title, AS_PRESET)
        yield {"set": one["set"], "row": rows[title], "setting": setting, "seed": one["seed"]} | found | made


if __name__ == "__main__":
    sys.exit(main())
