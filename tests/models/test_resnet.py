"""The video ResNets against a second statement of their architecture; the routes of their convolutions."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from kinevec.errors import ConfigError
from kinevec.models import build_encoder
from kinevec.models.conv import Conv3d, Route, channels_last
from kinevec.models.resnet import VideoResNet
from reference.resnet import Forward, state_shapes

NAMES = ("tiny", "r3d18", "r2plus1d18")
SPLIT = {"r3d18": False, "r2plus1d18": True}


def encoder(name: str, seed: int = 0) -> VideoResNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_encoder(name)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", SPLIT)
def test_state_dict_is_torchvisions_without_fc(name: str) -> None:
    with FakeTensorMode():
        shapes = {key: tuple(value.shape) for key, value in build_encoder(name).state_dict().items()}
    assert shapes == state_shapes(SPLIT[name])


@pytest.mark.parametrize(("name", "total"), [("r3d18", 33_371_472), ("r2plus1d18", 31_505_325)])
def test_parameters_with_400_classes_are_as_many_as_torchvision_says(name: str, total: int) -> None:
    shapes = state_shapes(SPLIT[name], classes=400)
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    stated = sum(math.prod(shape) for key, shape in shapes.items() if not key.endswith(buffers))
    with FakeTensorMode():
        ours = sum(parameter.numel() for parameter in build_encoder(name).parameters())
    assert stated == total
    assert ours + 400 * 512 + 400 == total


@pytest.mark.parametrize(
    ("name", "clip", "maps"),
    [
        (
            "r3d18",
            (16, 112, 112),
            [(64, 16, 56, 56), (128, 8, 28, 28), (256, 4, 14, 14), (512, 2, 7, 7)],
        ),
        (
            "r2plus1d18",
            (16, 112, 112),
            [(64, 16, 56, 56), (128, 8, 28, 28), (256, 4, 14, 14), (512, 2, 7, 7)],
        ),
        ("r3d18", (8, 112, 112), [(64, 8, 56, 56), (128, 4, 28, 28), (256, 2, 14, 14), (512, 1, 7, 7)]),
        ("tiny", (8, 64, 64), [(16, 8, 32, 32), (32, 4, 16, 16), (64, 2, 8, 8), (128, 2, 4, 4)]),
    ],
)
def test_shapes_of_the_feature_maps(
    name: str, clip: tuple[int, int, int], maps: list[tuple[int, int, int, int]]
) -> None:
    with FakeTensorMode():
        model = build_encoder(name)
        found = model.stages(torch.zeros(2, 3, *clip))
    assert [tuple(features.shape) for features in found] == [(2, *shape) for shape in maps]
    assert model.channels == maps[-1][0]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", SPLIT)
def test_forward_is_the_stated_one(name: str, training: bool) -> None:
    model = encoder(name).double().train(training)
    generator = torch.Generator().manual_seed(1)
    for key, value in model.state_dict().items():  # fresh batch norms do nothing that a test could see
        if value.ndim == 1:
            low = -0.5 if key.endswith(("bias", "running_mean")) else 0.5
            value.copy_(low + torch.rand(value.shape, generator=generator, dtype=torch.float64))
    state = {key: value.clone() for key, value in model.state_dict().items()}
    x = noise(2, 3, 8, 20, 24).double()
    with torch.no_grad():
        maps = model.stages(x)
        expected = Forward(state, SPLIT[name], training)(x)
        if not training:
            assert torch.equal(model(x), maps[-1])
    for got, want in zip(maps, expected, strict=True):
        assert got.shape == want.shape
        assert float((got - want).norm() / want.norm()) < 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_gradient_reaches_every_parameter(name: str) -> None:
    model = encoder(name)
    features = model(noise(3, 3, 8, 24, 24))
    (features * noise(*features.shape, seed=1)).sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", NAMES)
def test_convolutions_start_he_normal_and_batch_norms_at_identity(name: str) -> None:
    for key, module in encoder(name).named_modules():
        if isinstance(module, nn.Conv3d):
            assert module.bias is None, key
            outputs, _, *kernel = module.weight.shape
            deviation = math.sqrt(2 / (outputs * math.prod(kernel)))
            error = 5 / math.sqrt(2 * module.weight.numel())  # five standard errors
            assert float(module.weight.detach().std()) == pytest.approx(deviation, rel=error), key
        elif isinstance(module, nn.BatchNorm3d):
            assert (module.weight == 1).all(), key
            assert (module.bias == 0).all(), key


def test_unknown_encoders_name_the_nearest_one() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown encoder 'r3d-18'; did you mean 'r3d18'.*tiny.*r2plus1d18"
    ):
        build_encoder("r3d-18")
    with pytest.raises(ConfigError, match=r"unknown encoder 'zzz'; known: tiny"):
        build_encoder("zzz")


CONVOLUTIONS = {  # kernel, stride, padding
    "block": (3, 1, 1),
    "block, halving": (3, 2, 1),
    "in time": ((3, 1, 1), (1, 1, 1), (1, 0, 0)),
    "in time, halving": ((3, 1, 1), (2, 1, 1), (1, 0, 0)),
    "in space": ((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    "stem": ((3, 7, 7), (1, 2, 2), (1, 3, 3)),
    "shortcut": (1, 2, 0),
}


def outcome(layer: Conv3d, x: Tensor, route: Route) -> list[Tensor]:
    """Output, and the gradients of input, weight and bias."""
    layer.route = route
    x = x.clone().requires_grad_(True)
    y = layer(x)
    upstream = noise(*y.shape, seed=2).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, [x, *layer.parameters()], upstream)]


@pytest.mark.parametrize("geometry", CONVOLUTIONS.values(), ids=CONVOLUTIONS.keys())
@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("route", ["padded", "fp32"])
def test_all_routes_compute_the_same(geometry: tuple[int, int, int], depth: int, route: Route) -> None:
    layer = Conv3d(3, 4, *geometry)  # with a bias
    x = noise(2, 3, depth, 9, 8)
    for got, want in zip(outcome(layer, x, route), outcome(layer, x, "plain"), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_groups_and_dilation_survive_padding() -> None:
    layer = Conv3d(4, 4, 3, 1, (2, 2, 2), dilation=2, groups=2)
    x = noise(2, 4, 6, 6, 6)
    for got, want in zip(outcome(layer, x, "padded"), outcome(layer, x, "plain"), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_fp32_route_is_exact_under_autocast_and_the_others_are_bf16() -> None:
    layer = Conv3d(8, 8, 3, 1, 1, bias=False)
    x = noise(2, 8, 4, 6, 6)
    exact = outcome(layer, x, "plain")[0]
    with torch.autocast("cpu", torch.bfloat16):
        kinds = {route: outcome(layer, x, route)[0] for route in ("plain", "padded", "fp32")}
        rounded = outcome(layer, x.bfloat16(), "fp32")[0]
    assert {route: y.dtype for route, y in kinds.items()} == {
        "plain": torch.bfloat16,
        "padded": torch.bfloat16,
        "fp32": torch.float32,
    }
    torch.testing.assert_close(kinds["fp32"], exact, rtol=1e-5, atol=1e-5)
    assert rounded.dtype == torch.float32
    for route in ("plain", "padded"):
        assert float((kinds[route].float() - exact).norm() / exact.norm()) < 0.01


def test_channels_last_changes_the_layout_and_nothing_else() -> None:
    model = encoder("tiny").eval()
    x = noise(2, 3, 4, 32, 32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        expected = model(x)
        channels_last(model)
        got = model(x)
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            assert module.weight.is_contiguous(memory_format=torch.channels_last_3d)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert got.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
