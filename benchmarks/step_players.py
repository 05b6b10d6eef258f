"""Variants as processes that do a step when asked: memory and settings of one do not touch another."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from step_clock import Clock, count_flops, kinds_of_work, matmul, peak_megabytes, synchronise
from step_variants import ENCODER, SHAPES, WAYS, make_step

from kinevec.runtime import pick_device

MATMUL = "matrix product"
TIMED = 3  # steps taken apart


class Player:
    """A process with one variant; calling it does one step.

    Args:
        name: of the method, `ENCODER` or `MATMUL`.
        shape: key of `SHAPES`.
        way: key of `WAYS`; of matrix products their precision.
    """

    def __init__(self, name: str, shape: str, way: str) -> None:
        call = [sys.executable, str(Path(__file__).with_name("step.py")), "--serve", name, shape, way]
        self.process = subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def __call__(self) -> None:
        self._ask("step")

    def facts(self) -> dict[str, Any]:
        """What is not a matter of turns: operations, parts, memory, losses."""
        facts: dict[str, Any] = json.loads(self._ask("facts"))
        return facts

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()

    def _ask(self, word: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a variant failed: see above")
        return line


def serve(name: str, shape: str, way: str) -> None:
    """The other side of `Player`: answers each line of standard input by one line."""
    device, clock = pick_device("auto"), Clock()
    flops = 0
    step: Callable[[], object]
    if name == MATMUL:
        step, flops = matmul(way, device)
    else:
        step = make_step(name, SHAPES[shape], WAYS[way], device, clock)
    losses = [step()]  # of the first steps, for a look at whether all variants compute the same
    answer("ready")
    for line in sys.stdin:
        if line.strip() == "step":
            losses.append(step())
            synchronise()
            answer("done")
            continue
        megabytes = peak_megabytes()
        counts = (flops, flops) if name == MATMUL else count_flops(step)
        parts: dict[str, float] = {}
        if way == "ours" and name != MATMUL:
            parts = kinds_of_work(step, device) if name == ENCODER else clock.shares(step, TIMED)
        videos = SHAPES[shape].batch[device.type]
        facts = {
            "flops": counts[0],
            "flops_inside": counts[1],
            "megabytes": megabytes,
            "clips": videos if name == ENCODER else 2 * videos,
            "parts": parts,
            "losses": losses[:3],
            "threads": torch.get_num_threads(),
        }
        answer(json.dumps(facts))


def answer(line: str) -> None:
    """One line on standard output."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
