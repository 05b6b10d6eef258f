"""The flow encoder against the 2-D network that it is."""

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from kinevec.models.conv import Conv3d
from kinevec.models.flownet import FlowNet
from kinevec.views.pipeline import FLOW_EVERY
from reference import flownet as reference


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def flow_net(width: int = 4, blocks: int = 2) -> FlowNet:
    """In float64, with batch norms that do something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = FlowNet(width, blocks).double()
    generator = torch.Generator().manual_seed(1)
    for key, value in model.state_dict().items():
        if value.ndim == 1:
            low = -0.5 if key.endswith(("bias", "running_mean")) else 0.5
            value.copy_(low + torch.rand(value.shape, generator=generator, dtype=torch.float64))
    return model


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("width", "blocks"), [(4, 2), (3, 1)])
@pytest.mark.parametrize("clip", [(2, 3, 8, 36, 40), (2, 3, 5, 33, 17)])
def test_forward_is_a_2d_network_on_every_second_frame(
    clip: tuple[int, ...], width: int, blocks: int, training: bool
) -> None:
    model = flow_net(width, blocks).train(training)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    x = noise(*clip).double()
    with torch.no_grad():
        maps = model.stages(x[:, :, ::FLOW_EVERY])
        expected = reference.forward(state, blocks, training, x)
    for got, want in zip(maps, expected, strict=True):
        assert got.shape == want.shape
        assert float((got - want).norm() / want.norm()) < 1e-9


def parameters(width: int, blocks: int) -> int:
    """Kernels (7², 3², 1² in the shortcuts) and two for each channel that is normalised."""
    total = 3 * width * 49 + 2 * width
    inputs = width
    for outputs in (width, 2 * width, 4 * width, 8 * width):
        total += 9 * inputs * outputs + 9 * outputs * outputs * (2 * blocks - 1) + 2 * outputs * 2 * blocks
        if outputs > inputs:
            total += inputs * outputs + 2 * outputs
        inputs = outputs
    return total


@pytest.mark.parametrize(("width", "blocks", "total"), [(16, 2, 702_096), (8, 1, 78_312)])
def test_parameters_and_shapes(width: int, blocks: int, total: int) -> None:
    with FakeTensorMode():
        model = FlowNet(width, blocks)
        maps = model.stages(torch.zeros(2, 3, 4, 112, 112))
        assert model(torch.zeros(2, 3, 4, 64, 64)).shape == (2, 8 * width, 4, 4, 4)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters(width, blocks) == total
    widths = (width, 2 * width, 4 * width, 8 * width)
    sizes = ((4, 56, 56), (4, 28, 28), (4, 14, 14), (4, 7, 7))
    assert [tuple(m.shape) for m in maps] == [(2, c, *size) for c, size in zip(widths, sizes, strict=True)]
    assert model.widths == widths
    assert model.channels == 8 * width
    assert all(isinstance(m, Conv3d) for m in model.modules() if isinstance(m, nn.Conv3d))


def test_default_is_the_published_one() -> None:
    with FakeTensorMode():
        published = {key: tuple(value.shape) for key, value in FlowNet().state_dict().items()}
        stated = {key: tuple(value.shape) for key, value in FlowNet(16, 2).state_dict().items()}
    assert published == stated
    assert published["stem.0.weight"] == (16, 3, 1, 7, 7)
    assert published["layer4.1.conv2.0.weight"] == (128, 128, 1, 3, 3)


def test_a_step_sees_one_frame() -> None:
    model = flow_net().eval()
    x = noise(1, 3, 4, 32, 32).double()
    with torch.no_grad():
        before = model(x)
        for frame in range(4):
            changed = x.clone()
            changed[:, :, frame] += 1
            moved = (model(changed) - before).abs().amax((0, 1, 3, 4)) > 1e-9
            assert moved.tolist() == [frame == step for step in range(4)]
