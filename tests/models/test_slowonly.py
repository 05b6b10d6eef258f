"""SlowOnly-50 against its table: names, parameters, shapes, arithmetic, and what a cell sees."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from kinevec.models.conv import Conv3d
from kinevec.models.slowonly import SlowOnly50
from reference import slowonly as reference


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def shape_only() -> SlowOnly50:
    with FakeTensorMode():
        return SlowOnly50()


@pytest.fixture(scope="module")
def model() -> SlowOnly50:
    """In eval mode, with batch norms that do something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SlowOnly50().eval()
    generator = torch.Generator().manual_seed(1)
    for key, value in model.state_dict().items():
        if value.ndim == 1:
            low = -0.5 if key.endswith(("bias", "running_mean")) else 0.5
            value.copy_(low + torch.rand(value.shape, generator=generator))
    return model


def test_names_and_shapes_are_mmactions(shape_only: SlowOnly50) -> None:
    found = {key: tuple(value.shape) for key, value in shape_only.state_dict().items()}
    assert found == reference.state_shapes()


def test_parameters(shape_only: SlowOnly50) -> None:
    ours = sum(parameter.numel() for parameter in shape_only.parameters())
    # He et al.'s ResNet-50 has 25,557,032 with its 1000 classes. Here, 9 first convolutions are three deep.
    image = 25_557_032 - (1000 * 2048 + 1000)
    first = (512 + 5 * 1024) * 256 + (1024 + 2 * 2048) * 512
    assert ours == image + 2 * first == 31_634_496
    assert (
        round((ours + 400 * 2048 + 400) / 1e6, 2) == 32.45
    )  # what pytorchvideo's model zoo says of slow_r50


def test_shapes_of_all_stages() -> None:
    with FakeTensorMode():
        model = SlowOnly50()
        maps = model.stages(torch.zeros(2, 3, 8, 224, 224))
        odd = model.stages(torch.zeros(1, 3, 5, 97, 65))
    sizes = ((8, 56, 56), (8, 28, 28), (8, 14, 14), (8, 7, 7))
    assert model.widths == (256, 512, 1024, 2048)
    assert model.channels == 2048
    assert [tuple(m.shape) for m in maps] == [(2, c, *s) for c, s in zip(model.widths, sizes, strict=True)]
    shares = (4, 8, 16, 32)
    assert [tuple(m.shape[2:]) for m in odd] == [(5, math.ceil(97 / s), math.ceil(65 / s)) for s in shares]


def test_forward_is_the_stated_one(model: SlowOnly50) -> None:
    state = {key: value.double() for key, value in model.state_dict().items()}
    x = noise(2, 3, 4, 36, 40)
    with torch.no_grad():
        maps = model.stages(x)
        expected = reference.forward(state, x.double())
        assert torch.equal(model(x), maps[-1])
    for got, want in zip(maps, expected, strict=True):
        assert got.shape == want.shape
        assert float((got - want).norm() / want.norm()) < 1e-5


def test_steps_meet_in_the_last_two_stages_only(model: SlowOnly50) -> None:
    """Six blocks of three frames in the third stage, and three in the fourth: 13 and 19 frames."""
    frames, middle = 23, 11
    x = noise(1, 3, frames, 16, 16)
    changed = x.clone()
    changed[:, :, middle] += 10
    with torch.no_grad():
        pairs = zip(model.double().stages(x.double()), model.stages(changed.double()), strict=True)
        moved = [((a - b).abs().amax((0, 1, 3, 4)) > 0).nonzero().flatten().tolist() for a, b in pairs]
    model.float()
    assert moved[0] == moved[1] == [middle]
    assert moved[2] == list(range(middle - 6, middle + 7))
    assert moved[3] == list(range(middle - 9, middle + 10))


def test_convolutions_can_be_guarded_and_start_he_normal() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = SlowOnly50()
    for key, module in fresh.named_modules():
        if isinstance(module, nn.Conv3d):
            assert type(module) is Conv3d, key
            outputs, _, *kernel = module.weight.shape
            deviation = math.sqrt(2 / (outputs * math.prod(kernel)))
            error = 5 / math.sqrt(2 * module.weight.numel())  # five standard errors
            assert float(module.weight.detach().std()) == pytest.approx(deviation, rel=error), key


def test_trains_in_every_parameter() -> None:
    model = SlowOnly50()
    features = model(noise(2, 3, 4, 33, 33))
    (features * noise(*features.shape, seed=1)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())
