"""Where and how numbers are computed: device, precision, seeds; and what a result was made with."""

import contextlib
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kinevec.errors import ConfigError
from kinevec.models.conv import Conv3d, Route

log = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16"]

# bf16 rounds to 3 significant digits; a right gradient of a convolution differs from fp32 by well under
# this share, a wrong one by more than 1.
GRADIENT_TOLERANCE = 0.05


def pick_device(name: str) -> torch.device:
    """The device of a name; "auto" is the first GPU, else the CPU.

    Raises:
        ConfigError: the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
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
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores - 1) if device.type == "cuda" else max(1, cores // 4)


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
def seeded(seed: int) -> Iterator[None]:
    """Seeds PyTorch's global generator for a while, for building modules; it is as before afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def guard_bf16(model: nn.Module, example: Tensor) -> dict[str, Route]:
    """Checks every convolution of a model in bf16 against fp32 and gives wrong ones a safe route.

    Runs the model once on `example` to see the shapes in use; each distinct (layer kind, input shape) is
    then computed forward and backward in both precisions, on the device of the example. A layer whose
    output or gradients differ by more than 5 % is padded explicitly; if that is wrong too, it runs in fp32.

    Args:
        model: its `Conv3d` layers are those of `kinevec.models.conv`.
        example: (N, 3, T, H, W), a batch as in training.

    Returns:
        Name → route of the layers that need another route than the plain one.
    """
    shapes: dict[str, torch.Size] = {}
    layers = {name: module for name, module in model.named_modules() if isinstance(module, Conv3d)}

    def note_shape(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            shapes[name] = inputs[0].shape

        return hook

    hooks = [layer.register_forward_pre_hook(note_shape(name)) for name, layer in layers.items()]
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.no_grad():
        model(example)
    for name, buffer in model.named_buffers():
        buffer.copy_(kept[name])  # the run must not leave traces in batch-norm statistics
    for hook in hooks:
        hook.remove()

    routes: dict[tuple[object, ...], Route] = {}
    changed: dict[str, Route] = {}
    for name, shape in shapes.items():
        layer = layers[name]
        kind = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, shape)
        if kind not in routes:
            routes[kind] = _safe_route(layer, shape)
        layer.route = routes[kind]
        if layer.route != "plain":
            changed[name] = layer.route
    return changed


def provenance(device: str = "auto") -> dict[str, Any]:
    """What a result was made with: time, command, versions, commit, device and machine."""
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
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


def _safe_route(layer: Conv3d, shape: torch.Size) -> Route:
    generator = torch.Generator().manual_seed(0)
    few = (min(4, shape[0]), *shape[1:])
    device = layer.weight.device
    x = torch.randn(few, generator=generator).to(device).contiguous(memory_format=torch.channels_last_3d)
    right = _outcome(layer, x, "fp32")
    for route in ("plain", "padded"):
        got = _outcome(layer, x, route)
        if all(_relative_error(g, r) < GRADIENT_TOLERANCE for g, r in zip(got, right, strict=True)):
            return "plain" if route == "plain" else "padded"
    return "fp32"


def _outcome(layer: Conv3d, x: Tensor, route: Route) -> tuple[Tensor, ...]:
    """Output, input gradient and weight gradient of one layer on a given route under bf16 autocast."""
    kept, layer.route = layer.route, route
    x = x.detach().requires_grad_(True)
    weight = layer.weight
    frozen = not weight.requires_grad
    weight.requires_grad_(True)
    with torch.autocast(x.device.type, torch.bfloat16):
        y = layer(x)
    upstream = torch.cos(torch.arange(y.numel(), device=y.device)).view(y.shape).to(y.dtype)
    gradients = torch.autograd.grad(y, [x, weight], upstream)
    weight.requires_grad_(not frozen)
    layer.route = kept
    return y.detach().float(), *(gradient.float() for gradient in gradients)


def _relative_error(got: Tensor, right: Tensor) -> float:
    error = float((got - right).norm() / right.norm().clamp(min=1e-12))
    return error if error == error else float("inf")  # NaN is wrong too


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
