"""Timing of pieces of work side by side: they take turns, so that what else the machine does falls on all."""

import time
from collections.abc import Callable, Mapping

import torch


def turns(work: Mapping[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each piece of work in each of `repeats` rounds; a first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(repeats + 1):
        for name, call in work.items():
            begun = time.perf_counter()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                seconds[name].append(time.perf_counter() - begun)
    return seconds
