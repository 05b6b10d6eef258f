"""Where the time of a step goes, how much it computes, and how fast this machine multiplies matrices."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kinevec.methods.branch import Branch
from kinevec.methods.mscl import motion_branch


class Clock:
    """Seconds by part of a step; what a part calls and has a name of its own does not count for it.

    Attributes:
        seconds: part → seconds of each step that was timed.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.running = False
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Counts the time inside for a part."""
        if not self.running:
            yield
            return
        self._switch()
        self._open.append(part)
        self.seconds.setdefault(part, [0.0])
        yield
        self._switch()
        self._open.pop()

    def watch(self, model: nn.Module) -> None:
        """From now on the passes of encoders, and painting flow, have names of their own."""
        for branch in model.modules():
            if isinstance(branch, Branch):
                branch.query = self._timed("query forward", branch.query)  # type: ignore[method-assign]
                branch.key = self._timed("key forward", branch.key)  # type: ignore[method-assign]
        for name in ("paint_flow", "rotate_flow"):
            setattr(motion_branch, name, self._timed("flow pictures", getattr(motion_branch, name)))

    def shares(self, step: Callable[[], object], repeats: int) -> dict[str, float]:
        """Part → its share of a step, the median of several."""
        shares: dict[str, list[float]] = {}
        self.running = True
        for _ in range(repeats):
            self.seconds = {}
            begun = time.perf_counter()
            step()
            synchronise()
            whole = time.perf_counter() - begun
            for part, (seconds,) in self.seconds.items():
                shares.setdefault(part, []).append(seconds / whole)
        self.running = False
        return {part: statistics.median(values) for part, values in shares.items()}

    def _timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            with self(part):
                return call(*arguments, **named)

        return timed

    def _switch(self) -> None:
        synchronise()
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]][0] += now - self._since
        self._since = now


def synchronise() -> None:
    """Waits for a GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


KINDS = {
    "convolutions": ("convolution",),
    "batch norm": ("batch_norm",),
    "ReLU and sums": ("threshold", "clamp", "relu", "aten::add"),
    "copies and casts": ("copy_", "contiguous", "clone", "aten::cat"),
}


def kinds_of_work(step: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Kind of operator → its share of the time of all."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profile:
        step()
    seconds = dict.fromkeys([*KINDS, "the rest"], 0.0)
    for event in profile.key_averages():
        if not event.key.startswith("aten::"):
            continue
        spent = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        kind = next((k for k, words in KINDS.items() if any(w in event.key for w in words)), "the rest")
        seconds[kind] += spent
    return {kind: spent / sum(seconds.values()) for kind, spent in seconds.items()}


def count_flops(step: Callable[[], object]) -> tuple[int, int]:
    """Floating-point operations of a step as PyTorch counts them, and without products with padding."""
    aten = torch.ops.aten
    inside = {aten.convolution: _forward, aten._convolution: _forward, aten.convolution_backward: _backward}
    counts = []
    for mapping in ({}, inside):
        with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
            step()
        counts.append(counter.get_total_flops())
    return counts[0], counts[1]


def _forward(
    x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, *_: Any, **__: Any
) -> int:
    """Multiplications and additions of a convolution with values that are there."""
    count = 2 * x[0] * weight[0] * weight[1]
    for size, kernel, s, p, d in zip(x[2:], weight[2:], stride, padding, dilation, strict=True):
        results = (size + 2 * p - d * (kernel - 1) - 1) // s + 1
        count *= sum(0 <= r * s + k * d - p < size for r in range(results) for k in range(kernel))
    return int(count)


def _backward(
    gradient: Any,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    *rest: Any,
    **__: Any,
) -> int:
    """As many for the input's gradient, and for the weight's."""
    mask = rest[3]  # after transposed, output padding and groups
    return _forward(x, weight, bias, stride, padding, dilation) * (int(mask[0]) + int(mask[1]))


def matmul(precision: str, device: torch.device) -> tuple[Callable[[], None], int]:
    """The matrix product that this machine computes at the highest rate, and its operations."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    best: tuple[float, int] = (0.0, 0)
    for size in (1024, 2048, 4096) if device.type == "cpu" else (4096, 8192, 16384):
        work = partial(_multiply, *(torch.randn(size, size, device=device).to(kind) for _ in range(2)))
        seconds = []
        for _ in range(3):
            begun = time.perf_counter()
            work()
            synchronise()
            seconds.append(time.perf_counter() - begun)
        best = max(best, (2 * size**3 / min(seconds), size))
    size = best[1]
    one, other = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
    return partial(_multiply, one, other), 2 * size**3


def _multiply(one: torch.Tensor, other: torch.Tensor) -> None:
    one @ other


def peak_megabytes() -> float:
    """Of the device on a GPU, of the process on a CPU."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    # Not getrusage, whose peak a process inherits from the one that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3
