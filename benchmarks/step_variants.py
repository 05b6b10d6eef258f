"""What `step.py` measures: methods at shapes, each as the trainer does it and in the plain way."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from step_clock import Clock
from step_plain import plain_step
from step_tables import ENCODER
from torch import Tensor, nn

from kinevec import config as configuration
from kinevec.config import Config
from kinevec.data.batch import Batch, Cut, Sample, collate
from kinevec.methods.method import Method
from kinevec.models import build_encoder
from kinevec.models.conv import Conv3d, channels_last
from kinevec.models.encoder import compile_encoders
from kinevec.models.guard import guard_bf16
from kinevec.runtime import Precision, autocast, pick_precision, seeded
from kinevec.train.clips import example_clips, to_clips
from kinevec.train.heap import keep_freed_memory
from kinevec.views.color import draw_color
from kinevec.views.pipeline import FLOW_EVERY

Step = Callable[[], float | None]  # the loss, where there is one


@dataclass(frozen=True)
class Shape:
    """An encoder and its clips; `batch` by kind of device."""

    encoder: str
    frames: int
    size: int
    batch: dict[str, int]

    @property
    def title(self) -> str:
        return f"{self.encoder} {self.frames} × {self.size}²"


SHAPES = {
    "tiny": Shape("tiny", 8, 64, {"cpu": 32, "cuda": 512}),
    "r3d18-8": Shape("r3d18", 8, 112, {"cpu": 8, "cuda": 64}),
    "r3d18-16": Shape("r3d18", 16, 112, {"cpu": 4, "cuda": 32}),
    "r2plus1d18-16": Shape("r2plus1d18", 16, 112, {"cpu": 4, "cuda": 32}),
}
# Name → preset with the tiny encoder, preset of the paper, changes to either.
METHODS = {
    "MoCo": ("moco", "moco-r3d18", []),
    "MSCL": ("mscl", "mscl-r3d18", []),
    "MoCo symmetric": ("moco", "moco-r3d18", ["method.symmetric=true"]),
    "FIMA": ("fima", "fima-ucf101", []),
    "FIMA, keys together": ("fima", "fima-ucf101", ["fima.together=true"]),
}


@dataclass(frozen=True)
class Way:
    """How a step is computed; by default as the trainer does it."""

    plain: bool = False  # see `step_plain`
    channels_last: bool = True
    precision: Literal["auto", "fp32"] = "auto"
    flat: bool = True  # where the guard says so; else padded
    keep_memory: bool = True  # on a CPU
    compiled: bool = False


WAYS = {
    "ours": Way(),
    "plain": Way(plain=True, channels_last=False, precision="fp32", keep_memory=False),
    "fp32": Way(precision="fp32"),
    "padded": Way(flat=False),
    "memory handed back": Way(keep_memory=False),
    "compiled": Way(compiled=True),
}


def configured(name: str, shape: Shape) -> Config:
    """The configuration of a method at a shape."""
    small, paper, changes = METHODS[name]
    if shape.encoder == "tiny":
        return configuration.load(small, changes)
    changes = [*changes, f"model.name={shape.encoder}", f"clip.frames={shape.frames}", "clip.size=112"]
    if name.startswith("FIMA"):
        changes.append(f"fima.steps={shape.frames // 8}")
    return configuration.load(paper, changes)


def make_step(name: str, shape: Shape, way: Way, device: torch.device, clock: Clock) -> Step:
    """A step of a method, or of the query encoder alone, that can be called again and again."""
    if way.keep_memory and device.type == "cpu":
        keep_freed_memory()
    videos = shape.batch[device.type]
    if name == ENCODER:
        return encoder_step(shape, videos, way, device)
    config = configured(name, shape)
    batch = noise(config, videos, color_here=device.type == "cpu")
    with seeded(0):
        model = Method(config).to(device)
    if way.plain:
        return plain_step(model, config, lambda: to_clips(batch, config, device, 0))
    return trainer_step(model, config, batch, device, clock, way)


def prepared(
    model: nn.Module, example: Tensor, run: Callable[[Tensor], object], device: torch.device, way: Way
) -> Precision:
    """Makes a model what the trainer makes of it; the precision to use it in."""
    if way.channels_last:
        channels_last(model)
    if device.type == "cuda" and not way.plain:
        torch.backends.cudnn.benchmark = True
    precision = pick_precision(way.precision, device)
    if precision == "bf16":
        guard_bf16(model, example, run)
    for layer in model.modules():
        if isinstance(layer, Conv3d) and layer.route == "flat" and not way.flat:
            layer.route = "padded"
    if way.compiled:
        compile_encoders(model, device)
    return precision


def trainer_step(
    model: Method, config: Config, batch: Batch, device: torch.device, clock: Clock, way: Way
) -> Step:
    """What `kinevec.train.trainer` does with a batch."""
    example = example_clips(config, 4, device)
    precision = prepared(model, example.rgb[0], lambda _: model(example), device, way)
    clock.watch(model)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)

    def step() -> float:
        with clock("clips to the device"):
            clips = to_clips(batch, config, device, 0)
        with clock("losses and heads"), seeded(0, device), autocast(device, precision):
            losses = model(clips)
        optimizer.zero_grad(set_to_none=True)
        with clock("backward"):
            losses.total.backward()
        with clock("optimiser"):
            torch.nn.utils.clip_grad_norm_(model.parameters(), 40.0)
            optimizer.step()
        with clock("key side and queue"):
            model.advance(losses, 0, 1)
        return float(losses.total.detach())

    return step


def encoder_step(shape: Shape, videos: int, way: Way, device: torch.device) -> Step:
    """Forward and backward of the query encoder."""
    with seeded(0):
        encoder = build_encoder(shape.encoder).to(device)
        x = torch.randn(videos, 3, shape.frames, shape.size, shape.size).to(device)
    if way.channels_last:
        x = x.contiguous(memory_format=torch.channels_last_3d)
    precision = prepared(encoder, x[:4], encoder, device, way)

    def step() -> None:
        with autocast(device, precision):
            features = encoder(x)
        features.float().mean((2, 3, 4)).square().sum().backward()
        encoder.zero_grad(set_to_none=True)

    return step


def noise(config: Config, videos: int, *, color_here: bool) -> Batch:
    """A batch as the loader hands it over, of noise.

    Args:
        color_here: RGB clips come with their colour changes from the workers.
    """
    rng, clip = np.random.default_rng(0), config.clip
    shape = (clip.frames, clip.size, clip.size, 3)

    def images(*, colored: bool) -> Iterator[Cut]:
        while True:
            low, high = rng.uniform(0, 0.2, 2), rng.uniform(0.8, 1, 2)
            box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
            color = None if colored else draw_color(config.views, rng)
            yield Cut(rng.integers(0, 256, shape, dtype=np.uint8), box, color)

    def flow() -> Iterator[Cut]:
        every = 1 if config.terms.fima and config.fima.motion == "flow" else FLOW_EVERY
        while True:
            values = rng.normal(0, 2, (2, clip.frames // every, clip.size, clip.size)).astype(np.float16)
            yield Cut(values, (0.0, 0.0, 1.0, 1.0))

    kinds = {"rgb": (images(colored=color_here), 2)}
    if "difference" in config.motions:
        kinds["difference"] = (images(colored=False), 2)
    if "flow" in config.motions:
        kinds["flow"] = (flow(), 2)
    if config.terms.frame:
        kinds["local"] = (images(colored=False), 2 * config.fima.steps)
    samples = [
        Sample({kind: [next(cuts) for _ in range(count)] for kind, (cuts, count) in kinds.items()}, i, [])
        for i in range(videos)
    ]
    return collate(samples)
