"""Where and how numbers are computed: device, precision, seeds; and what a result was made with."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from multiprocessing.context import BaseContext
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch

from kinevec.errors import ConfigError

Precision = Literal["fp32", "bf16"]


def pick_device(name: str) -> torch.device:
    """The device of a name; "auto" is the first GPU, else the CPU.

    Raises:
        ConfigError: the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # some names are known to PyTorch and still compute nothing
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ConfigError(
            f"train.device is '{name}', which cannot be used here; try 'cpu' or 'auto'"
        ) from error
    return device


def pick_precision(name: str, device: torch.device) -> Precision:
    """fp32 or bf16; "auto" is bf16 where the hardware multiplies it natively."""
    if name == "auto":
        native = torch.cuda.is_bf16_supported() if device.type == "cuda" else _cpu_has_bf16()
        return "bf16" if native else "fp32"
    return "bf16" if name == "bf16" else "fp32"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """A context in which convolutions and products run in the given precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def default_workers(device: torch.device) -> int:
    """Loader processes: all cores but one beside a GPU; beside a CPU few, since training needs the cores."""
    return max(1, cores() - 1) if device.type == "cuda" else max(1, cores() // 4)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Computes with one thread for a while: many small products gain nothing from more, and lose ten-fold
    where other processes use the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seeds PyTorch's global generators (the CPU's, and that of a GPU) for a while; then they are as before."""
    gpu = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpu):
        torch.default_generator.manual_seed(seed)
        if gpu:
            with torch.cuda.device(gpu[0]):
                torch.cuda.manual_seed(seed)
        yield


def clean_processes(*preload: str) -> BaseContext:
    """Processes that do not inherit the threads of this one, with whose locks a fork can hang for ever.

    They come from a server process that imports PyTorch, and the modules `preload`, once. The death of one is
    noticed when its work is asked for, never in the middle of a step.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    return context


def quiet_worker(worker: int) -> None:
    """For `DataLoader(worker_init_fn=)`: one thread each, and Ctrl-C is left to the parent.

    Ctrl-C reaches the whole process group; the parent ends its workers when it has saved its work. A parent that is
    killed cannot: the workers would wait for ever, and so keep the server alive that they take for their parent.
    """
    import cv2  # costs a command line that needs no workers 0.1 s

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    """Ends this process when another one has ended, however that happened."""
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


@contextlib.contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """While open, SIGINT and SIGTERM only set the event; a second SIGINT stops at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    kept = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def provenance(device: str = "auto", *, command: bool = True) -> dict[str, Any]:
    """What a result was made with: time, command, versions, commit, device and machine.

    Args:
        command: also the command line, which may name folders; leave it out of what is told to others.
    """
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        **({"command": sys.argv} if command else {}),
        "kinevec": metadata.version("kinevec"),
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": str(pick_device(device)),
        "machine": machine(device),
    }


def machine(device: str = "auto") -> str:
    """The hardware that a device name stands for, in words: the GPU, or the processor and its threads."""
    chosen = pick_device(device)
    if chosen.type == "cuda":
        return torch.cuda.get_device_name(chosen)
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name}, {torch.get_num_threads()} threads"


def _cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 natively; emulated bf16 is slower than fp32."""
    with contextlib.suppress(OSError):
        flags = Path("/proc/cpuinfo").read_text()
        return "avx512_bf16" in flags or "amx_bf16" in flags
    return False


@cache
def _commit() -> str | None:
    """The git commit of kinevec's own source tree, with + where it was changed; None for an installed copy."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        run = [
            subprocess.run(
                ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
            ).stdout
            for arguments in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "-uno"])
        ]
    except (OSError, subprocess.CalledProcessError):
        return None
    return run[0].strip() + ("+" if run[1].strip() else "")
