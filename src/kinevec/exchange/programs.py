"""An encoder as a program that runs without kinevec: ONNX, and PyTorch's exported program; both checked.

The program takes uint8 RGB clips (N, T, S, S, 3) as decoders give them; normalisation is a part of it. N is free.
It gives `features` (N, C) and `map` (N, C, T', H', W'), in fp32.
"""

import copy
import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from kinevec.config import Config
from kinevec.encoders import Loaded
from kinevec.errors import InputError, WorkError
from kinevec.models.conv import Conv3d
from kinevec.models.heads import pool
from kinevec.views.color import normalise

INPUT, OUTPUTS = "clips", ("features", "map")
BATCHES = (1, 2, 3)  # clips at once, for the check
TOLERANCE = 1e-4  # of the largest value; fp32 sums in another order differ by some 1e-6
NEEDED = ("onnx", "onnxscript", "onnxruntime")

Run = Callable[[NDArray[np.uint8]], Sequence[Any]]  # clips → features, map


class ClipProgram(nn.Module):
    """What is exported: the encoder on raw clips, with normalisation before and pooling after it.

    Attributes:
        shape: (T, S, S, 3) of a clip.
    """

    def __init__(self, encoder: nn.Module, config: Config) -> None:
        super().__init__()
        self.encoder = encoder
        self.views = config.views
        self.shape = (config.clip.frames, config.clip.size, config.clip.size, 3)

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (N, T, S, S, 3) → features (N, C) and map (N, C, T', H', W'), float32."""
        frames = clips.permute(0, 4, 1, 2, 3).to(torch.float32) / 255
        features = self.encoder(normalise(frames, self.views))
        return pool(features), features


def check_extra() -> None:
    """Refuses an ONNX export where a package that it needs is missing.

    Raises:
        InputError: says how to install it.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"ONNX needs {', '.join(missing)}: pip install 'kinevec[onnx]'")


def trace(loaded: Loaded) -> tuple[ClipProgram, ExportedProgram]:
    """The program of an encoder, as a module and traced; on the CPU, the encoder itself is left as it is."""
    encoder = copy.deepcopy(loaded.encoder).cpu().eval().requires_grad_(False)
    for module in encoder.modules():
        if isinstance(module, Conv3d):  # as plain as it was before this machine's bf16 was tried
            module.route = "plain"
            module.weight.data = module.weight.data.contiguous()
    program = ClipProgram(encoder, loaded.config).eval()
    example = torch.zeros(2, *program.shape, dtype=torch.uint8)
    with _quiet():
        traced = torch.export.export(program, (example,), dynamic_shapes={INPUT: {0: Dim.DYNAMIC}})
    for part in traced.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, GraphModule) else ():
            node.meta.pop("stack_trace", None)  # names folders of this machine
    return program, traced


def write_onnx(program: ClipProgram, traced: ExportedProgram, path: Path) -> float:
    """Writes an ONNX file and compares what onnxruntime makes of it with PyTorch.

    Returns:
        The largest difference, as a share of the largest value.

    Raises:
        WorkError: it computes something else.
    """
    with _quiet():
        torch.onnx.export(
            traced,
            f=path,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes={INPUT: {0: Dim("batch")}},
            external_data=False,
            dynamo=True,
            verbose=False,
        )
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return _checked(program, lambda clips: session.run(list(OUTPUTS), {INPUT: clips}), path)


def write_program(program: ClipProgram, traced: ExportedProgram, path: Path) -> float:
    """Writes a `torch.export` program, reads it again and compares it with the module; else as `write_onnx`."""
    with _quiet():
        torch.export.save(traced, path)
        again = torch.export.load(path).module()  # reading one runs what is in it: never one of others
    return _checked(program, lambda clips: again(torch.from_numpy(clips)), path)


def _checked(program: ClipProgram, run: Run, path: Path) -> float:
    rng = np.random.default_rng(0)
    found = []
    for count in BATCHES:
        clips = rng.integers(0, 256, (count, *program.shape), dtype=np.uint8)
        with torch.no_grad():
            expected, got = program(torch.from_numpy(clips)), run(clips)
        for right, value in zip(expected, got, strict=True):
            largest = max(float(right.abs().max()), 1e-12)
            found.append(float(np.abs(np.asarray(value) - right.numpy()).max()) / largest)
    worst = float(np.max(found))  # NaN where one is
    if not worst <= TOLERANCE:
        raise WorkError(
            f"{path.name} differs from PyTorch by {worst:.1e} of the largest value, more than {TOLERANCE:.0e}: it was "
            "not kept. Please report it with the versions of torch, onnx and onnxruntime"
        )
    return worst


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what PyTorch's exporter warns of in its own parts from people who cannot change it."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        registration.setLevel(level)
