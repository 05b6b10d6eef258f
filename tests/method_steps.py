"""Methods of a few thousand weights and made-up clips for them: what the tests of the method room share."""

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinevec.config import Clip, Config, Fima, Method, Model, Mscl, Terms
from kinevec.methods import method as room
from kinevec.methods.branch import Branch
from kinevec.views.pipeline import Clips

Array = NDArray[np.float64]

CONTRAST = Method(dim=8, hidden=16, queue=12, temperature=0.2, momentum=0.9, momentum_schedule="constant")
SMALL_MSCL = Mscl(width=4, blocks=1, temperature=0.15)
SMALL_FIMA = Fima(
    vanilla_queue=5,
    dense_queue=7,
    local_queue=6,
    temperature=0.3,
    width=8,
    heads=2,
    feedforward=12,
    dropout=0,
)


def configured(
    terms: Terms | None = None, contrast: Method = CONTRAST, mscl: Mscl = SMALL_MSCL, fima: Fima = SMALL_FIMA
) -> Config:
    """The tiny encoder at 8 frames, with small heads."""
    return Config(
        clip=Clip(frames=8, stride=2, size=32),
        model=Model("tiny"),
        terms=terms or Terms(),
        method=contrast,
        mscl=mscl,
        fima=fima,
    )


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def build(config: Config) -> room.Method:
    """A method whose key sides have moved away from their query sides, and whose decoder has no zeros."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = room.Method(config, torch.Generator().manual_seed(1))
    with torch.no_grad():
        for branch in branches(model):
            for i, parameter in enumerate(key_parameters(branch)):
                parameter.mul_(1 + 0.05 * math.cos(i))
        if model.fima is not None and model.fima.decoder is not None:
            for i, parameter in enumerate(model.fima.decoder.parameters()):
                parameter.add_(0.2 * noise(*parameter.shape, seed=100 + i))
    return model


def branches(model: nn.Module) -> list[Branch]:
    return [module for module in model.modules() if isinstance(module, Branch)]


def key_parameters(branch: Branch) -> list[nn.Parameter]:
    return [*branch.key_encoder.parameters(), *branch.key_projector.parameters()]


def clips(
    config: Config, videos: int = 3, *, size: tuple[int, int] = (32, 32), frames: int = 8, seed: int = 0
) -> Clips:
    """Noise of every kind, with all frames of flow; crops that overlap, half of them flipped."""
    seeds = iter(range(1000 * seed, 1000 * seed + 100))

    def images() -> Tensor:
        return noise(videos, 3, frames, *size, seed=next(seeds))

    def flow() -> Tensor:
        return 3 * noise(videos, 2, frames, *size, seed=next(seeds))

    local = flow if config.fima.motion == "flow" else images
    rng = np.random.default_rng(seed)
    return Clips(
        [images() for _ in range(2)],
        [_boxes(videos, rng) for _ in range(2)],
        [0.2 * math.pi * torch.tensor(rng.integers(1, 9, videos), dtype=torch.float32) for _ in range(2)],
        [images() for _ in range(2)],
        [flow() for _ in range(2)],
        [[local() for _ in range(config.fima.steps)] for _ in range(2)],
    )


def _boxes(videos: int, rng: np.random.Generator) -> Tensor:
    low, high = rng.uniform(0, 0.35, (videos, 2)), rng.uniform(0.65, 1, (videos, 2))
    boxes = np.concatenate([low, high], axis=1)
    boxes[::2] = boxes[::2, [2, 1, 0, 3]]
    return torch.tensor(boxes, dtype=torch.float32)


def taken(values: Clips, places: Sequence[int]) -> Clips:
    """The clips of some of the videos."""

    def of(tensors: Sequence[Tensor]) -> list[Tensor]:
        return [tensor[list(places)] for tensor in tensors]

    return Clips(
        of(values.rgb),
        of(values.boxes),
        of(values.angles),
        of(values.difference),
        of(values.flow),
        [of(part) for part in values.local],
    )


def stages(encoder: nn.Module, clip: Tensor) -> list[Array]:
    """The feature maps of an encoder, by a copy of it in float64 that is then thrown away."""
    with torch.no_grad():
        return [x.numpy() for x in copy.deepcopy(encoder).double().stages(clip.double())]


def features(encoder: nn.Module, clip: Tensor) -> Array:
    """The last of them."""
    return stages(encoder, clip)[-1]


def weights(module: nn.Module) -> dict[str, Array]:
    return {name: value.detach().double().numpy() for name, value in module.state_dict().items()}


def values(losses: room.Losses) -> dict[str, float]:
    return {name: float(term.detach()) for name, term in losses.terms.items()}


def passes(module: nn.Module) -> set[int]:
    """How often its batch norms have normalised a batch, each of them."""
    return {int(v) for name, v in module.state_dict().items() if name.endswith("num_batches_tracked")}


def assert_only_query_sides_learn(model: nn.Module) -> None:
    """After a backward pass: a gradient for every parameter but those of key sides, which take none."""
    for name, parameter in model.named_parameters():
        if ".key_" in name:
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name
