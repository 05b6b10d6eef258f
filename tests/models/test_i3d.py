"""I3D against the papers' tables, float64 loops, and the receptive field that follows from the tables."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from kinevec.models.conv import Conv3d
from kinevec.models.i3d import I3D, Inception, SameMaxPool, Unit
from reference import i3d as reference

# Szegedy et al., Table 1: #1×1, #3×3 reduce, #3×3, #5×5 reduce, #5×5, pool projection.
INCEPTION = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
# Carreira and Zisserman, Fig. 3: (kernel, stride) in time and in space of what stands in a row. A block's widest
# branch has one kernel of 3.
ROW = {
    "Conv3d_1a_7x7": ((7, 2), (7, 2)),
    "MaxPool3d_2a_3x3": ((1, 1), (3, 2)),
    "Conv3d_2b_1x1": ((1, 1), (1, 1)),
    "Conv3d_2c_3x3": ((3, 1), (3, 1)),
    "MaxPool3d_3a_3x3": ((1, 1), (3, 2)),
    "Mixed_3b": ((3, 1), (3, 1)),
    "Mixed_3c": ((3, 1), (3, 1)),
    "MaxPool3d_4a_3x3": ((3, 2), (3, 2)),
    **{f"Mixed_4{letter}": ((3, 1), (3, 1)) for letter in "bcdef"},
    "MaxPool3d_5a_2x2": ((2, 2), (2, 2)),
    "Mixed_5b": ((3, 1), (3, 1)),
    "Mixed_5c": ((3, 1), (3, 1)),
}
FAKE = FakeTensorMode()  # shapes without arithmetic


def convolutions() -> dict[str, tuple[int, int, int]]:
    """Name → (inputs, outputs, kernel) of every convolution, from the tables."""
    found = {"Conv3d_1a_7x7": (3, 64, 7), "Conv3d_2b_1x1": (64, 64, 1), "Conv3d_2c_3x3": (64, 192, 3)}
    inputs = 192
    for name, (one, reduce3, three, reduce5, five, pool) in INCEPTION.items():
        found[f"{name}.b0"] = (inputs, one, 1)
        found[f"{name}.b1a"] = (inputs, reduce3, 1)
        found[f"{name}.b1b"] = (reduce3, three, 3)
        found[f"{name}.b2a"] = (inputs, reduce5, 1)
        found[f"{name}.b2b"] = (reduce5, five, 3)
        found[f"{name}.b3b"] = (inputs, pool, 1)
        inputs = one + three + five + pool
    return found


@pytest.fixture(scope="module")
def model() -> I3D:
    return I3D().eval()


@pytest.fixture(scope="module")
def shape_only() -> I3D:
    with FAKE:
        return I3D().eval()


@pytest.fixture(scope="module")
def uniform_model() -> I3D:
    uniform = I3D().eval()
    with torch.no_grad():
        for parameter in uniform.parameters():
            if parameter.ndim == 5:
                parameter.fill_(1 / parameter[0].numel())
    return uniform


def test_names_and_shapes(model: I3D) -> None:
    wanted = {}
    for name, (inputs, outputs, kernel) in convolutions().items():
        wanted[f"{name}.conv3d.weight"] = (outputs, inputs, kernel, kernel, kernel)
        for entry in ("weight", "bias", "running_mean", "running_var"):
            wanted[f"{name}.bn.{entry}"] = (outputs,)
        wanted[f"{name}.bn.num_batches_tracked"] = ()
    assert {name: tuple(t.shape) for name, t in model.state_dict().items()} == wanted
    parameters = sum(i * o * k**3 + 2 * o for i, o, k in convolutions().values())
    assert sum(p.numel() for p in model.parameters()) == parameters == 12_287_264
    assert model.channels == 1024


def test_batch_norm_settings_and_guardable_convolutions(model: I3D) -> None:
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm3d)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.01)}
    assert {type(m) for m in model.modules() if isinstance(m, nn.Conv3d)} == {Conv3d}


@pytest.mark.parametrize("size", [(16, 224, 224), (16, 112, 112), (32, 224, 224), (9, 65, 79), (1, 8, 8)])
def test_shapes_of_all_stages(shape_only: I3D, size: tuple[int, int, int]) -> None:
    seen = {}
    hooks = [
        module.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: tuple(out.shape)}))
        for name, module in shape_only.named_children()
    ]
    with FAKE:
        stages = shape_only.stages(torch.zeros(2, 3, *size))
    for hook in hooks:
        hook.remove()
    widths = {"Conv3d_1a_7x7": 64, "Conv3d_2b_1x1": 64, "Conv3d_2c_3x3": 192}
    widths |= {name: w[0] + w[2] + w[4] + w[5] for name, w in INCEPTION.items()}
    channels, (t, h, w) = 3, size
    for name, ((_, in_time), (_, in_space)) in ROW.items():
        channels = widths.get(name, channels)
        t, h, w = math.ceil(t / in_time), math.ceil(h / in_space), math.ceil(w / in_space)
        assert seen[name] == (2, channels, t, h, w)
    ends = ["Conv3d_2c_3x3", "Mixed_3c", "Mixed_4f", "Mixed_5c"]
    assert [tuple(s.shape) for s in stages] == [seen[name] for name in ends]


def test_sixteen_frames_at_224_give_two_steps_of_7_by_7(shape_only: I3D) -> None:
    with FAKE:
        assert shape_only(torch.zeros(1, 3, 16, 224, 224)).shape == (1, 1024, 2, 7, 7)


@pytest.mark.parametrize("axis", ["time", "space"])
@pytest.mark.parametrize("odd", [False, True])
def test_receptive_field(uniform_model: I3D, axis: str, odd: bool) -> None:
    """With positive weights an impulse reaches exactly the cells whose receptive field holds it.

    Gradients would not show it: a max-pool hands them to one element of each window only.
    """
    row = [pair[0] if axis == "time" else pair[1] for pair in ROW.values()]
    size = (128 if axis == "time" else 512) - (7 if odd else 0)
    cell = 8
    first, last = receptive_field(row, size, cell)
    assert last - first + 1 == (99 if axis == "time" else 379)
    assert 0 < first < last < size - 1

    with torch.no_grad():
        impulses = torch.zeros(4, 3, *((size, 8, 8) if axis == "time" else (1, 8, size)))
        for n, place in enumerate([first - 1, first, last, last + 1]):
            impulses[n].select(1 if axis == "time" else 3, place).fill_(1.0)
        features = uniform_model(impulses)
    reached = features.amax(dim=(1, 3, 4) if axis == "time" else (1, 2, 3))[:, cell] > 0
    assert reached.tolist() == [False, True, True, False]


def receptive_field(row: list[tuple[int, int]], size: int, cell: int) -> tuple[int, int]:
    """First and last place of the input that a cell of the last layer sees along one axis."""
    starts = []
    for kernel, stride in row:
        starts.append(reference.same_start(size, kernel, stride))
        size = math.ceil(size / stride)
    first = last = cell
    for (kernel, stride), start in zip(reversed(row), reversed(starts), strict=True):
        first, last = first * stride + start, last * stride + start + kernel - 1
    return first, last


def positive_statistics(module: nn.Module) -> dict[str, np.ndarray]:
    """Random float64 weights and statistics, as arrays."""
    generator = torch.Generator().manual_seed(0)
    module.double().eval()
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor += 0.3 * torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
                if name.endswith("running_var"):
                    tensor.abs_()
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def test_inception_loops() -> None:
    block = Inception(4, (2, 3, 4, 2, 3, 5))
    weights = positive_statistics(block)
    x = np.random.default_rng(0).normal(size=(2, 4, 2, 3, 4))
    out = block(torch.tensor(x)).detach().numpy()
    wanted = np.stack([reference.inception(sample, weights) for sample in x])
    assert (wanted > 0).mean() > 0.2
    np.testing.assert_allclose(out, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(4, 9, 10), (3, 8, 7), (1, 1, 2)])
def test_strided_unit_loops(size: tuple[int, int, int]) -> None:
    stem = Unit(2, 3, 7, stride=2)
    weights = {f"stem.{k}": v for k, v in positive_statistics(stem).items()}
    x = np.random.default_rng(1).normal(size=(2, *size))
    out = stem(torch.tensor(x)[None])[0].detach().numpy()
    np.testing.assert_allclose(out, reference.unit(x, weights, "stem", (2, 2, 2)), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("kernel", "stride"),
    [((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2)), ((3, 3, 3), (1, 1, 1))],
)
def test_max_pool_loops(kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
    pool = SameMaxPool(kernel, stride)
    rng = np.random.default_rng(2)
    for size in itertools.product((1, 2, 3, 4), (1, 2, 5, 6), (1, 4, 7)):
        x = rng.normal(size=(2, *size)) - 3.0  # below zero: a border must not win
        out = pool(torch.tensor(x)[None])[0].numpy()
        np.testing.assert_array_equal(out, reference.max_pool(x, kernel, stride))


def test_trains_in_every_parameter() -> None:
    model = I3D()
    x = torch.randn(2, 3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    model(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


def test_memory_format_and_precision(model: I3D) -> None:
    x = torch.randn(1, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = model(x)
        assert torch.equal(model.stages(x)[-1], plain)
        last = model(x.contiguous(memory_format=torch.channels_last_3d))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = model(x)
    torch.testing.assert_close(last, plain)
    assert (half.float() - plain).norm() < 0.05 * plain.norm()
