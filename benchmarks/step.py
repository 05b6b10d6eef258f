"""Time of a training step of each method, side by side with the same written the plain way.

    python benchmarks/step.py results/step.json [--repeats 5] [--shapes tiny r3d18-8] [--methods MoCo FIMA]
    python benchmarks/step.py --check-gradients

Each variant is a process of its own; they take turns step by step, together with matrix products, so that what else
the machine does falls on all. Printed, last of all as one table, and written down: clips/s, the ratio to the plain
way (fp32, contiguous, tensor by tensor, clip by clip), operations per second against the matrix products of the same
run, shares of time by part, and the peak of memory. Runs on a GPU where there is one, else on the CPU: 30 minutes on
two cores, of which FIMA takes most. `--check-gradients` compares gradients in the precision of training with fp32 and
ends with a line that starts with "ok" or "FAIL".
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from step_gradients import check_gradients
from step_players import MATMUL, Player, serve
from step_tables import speed_table
from step_variants import ENCODER, METHODS, SHAPES, WAYS
from turns import turns

from kinevec.data.whole import write_text
from kinevec.runtime import pick_device, provenance

DEFAULT = ["MoCo", "MSCL", "FIMA"]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("result", type=Path, nargs="?")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=SHAPES)
    parser.add_argument("--methods", nargs="+", default=DEFAULT, choices=[*METHODS, ENCODER])
    parser.add_argument("--ways", nargs="+", default=["plain"], choices=WAYS, help="beside ours")
    parser.add_argument("--check-gradients", action="store_true")
    parser.add_argument("--serve", nargs=3, metavar=("NAME", "SHAPE", "WAY"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(*arguments.serve)
        return 0
    if arguments.check_gradients:
        return 0 if check_gradients() else 1
    result: dict[str, Any] = {
        "kind": "step",
        "provenance": provenance(command=False),
        "repeats": arguments.repeats,
        "load_average": os.getloadavg()[0],
        "encoders": {},
    }
    device = pick_device("auto").type
    ways = ["ours", *(way for way in arguments.ways if way != "ours")]
    for key in arguments.shapes:
        shape = SHAPES[key]
        names = [ENCODER, *(name for name in arguments.methods if name != ENCODER)]
        # Small ones all take turns together; large ones method by method, for they would not fit into memory.
        groups = [names] if key == "tiny" else [[name] for name in names]
        rows: dict[str, Any] = {}
        for group in groups:
            rows |= measured(group, key, ways, arguments.repeats)
        result["encoders"][key] = {"title": shape.title, "batch": shape.batch[device], "rows": rows}
        if arguments.result:
            write_text(arguments.result, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(speed_table(result))
    return 0


def measured(names: list[str], shape: str, ways: list[str], repeats: int) -> dict[str, Any]:
    """Rows of the methods that take turns with each other and with matrix products."""
    players = {title(name, way): Player(name, shape, way) for name in names for way in ways}
    products = {f"{MATMUL} {kind}": Player(MATMUL, shape, kind) for kind in ("bf16", "fp32")}
    every = players | products
    try:
        seconds = {name: np.array(s) for name, s in turns(every, repeats).items()}
        facts = {name: player.facts() for name, player in every.items()}
    finally:
        for player in every.values():
            player.close()
    peaks = {
        kind: facts[f"{MATMUL} {kind}"]["flops"] / seconds[f"{MATMUL} {kind}"] for kind in ("bf16", "fp32")
    }
    rows = {}
    for name in names:
        for way in ways:
            own = title(name, way)
            base = compared(name, way, names)
            rate = facts[own]["flops"] / seconds[own]
            rows[own] = {
                "seconds": float(np.median(seconds[own])),
                "quartiles": [float(q) for q in np.quantile(seconds[own], (0.25, 0.75))],
                "compared_with": base,
                "ratio": float(np.median(seconds[own] / seconds[base])),
                "peak_megabytes": facts[own]["megabytes"],
                "clips_per_second": facts[own]["clips"] / float(np.median(seconds[own])),
                "flops": facts[own]["flops"],
                "flops_inside": facts[own]["flops_inside"],
                "flops_per_second": float(np.median(rate)),
                "share_of_bf16_peak": float(np.median(rate / peaks["bf16"])),
                "share_of_fp32_peak": float(np.median(rate / peaks["fp32"])),
                "matmul": {kind: float(np.median(peak)) for kind, peak in peaks.items()},
                "parts": facts[own]["parts"],
                "losses": facts[own]["losses"],
                "way": way,
            }
            print(f"{shape:14} {own:24} {json.dumps(rows[own])}", file=sys.stderr, flush=True)
    return rows


def title(name: str, way: str) -> str:
    """The row of a variant."""
    return name if way == "ours" else f"{name}, {way}"


def compared(name: str, way: str, names: list[str]) -> str:
    """The row that a variant's time is divided by: the method's own, or MoCo's."""
    if way != "ours" or name == ENCODER:
        return name
    base = "MoCo symmetric" if name == "FIMA" and "MoCo symmetric" in names else "MoCo"
    return base if base in names else name


if __name__ == "__main__":
    sys.exit(main())
