"""The routes of a convolution compute the same, in float64 to the last digits."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from kinevec.models.conv import Conv3d, Route


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Steps, kernel, stride and padding; steps are no more than the kernel is deep, but for one.
CASES = [
    (1, (3, 3, 3), (1, 1, 1), (1, 1, 1)),
    (2, (3, 3, 3), (1, 1, 1), (1, 1, 1)),
    (2, (3, 3, 3), (2, 2, 2), (1, 1, 1)),
    (3, (3, 3, 3), (1, 2, 1), (1, 1, 0)),
    (3, (3, 1, 2), (2, 1, 2), (1, 0, 1)),
    (3, (3, 3, 1), (1, 1, 1), (0, 1, 0)),
    (2, (5, 1, 1), (1, 1, 1), (2, 0, 0)),
    (1, (1, 3, 3), (1, 1, 1), (0, 1, 1)),
    (4, (3, 3, 3), (1, 1, 1), (1, 1, 1)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("route", ["flat", "padded"])
def test_routes_give_the_output_and_the_gradients_of_the_plain_convolution(
    case: tuple[int, tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]],
    bias: bool,
    route: Route,
) -> None:
    steps, kernel, stride, padding = case
    layer = Conv3d(3, 5, kernel, stride, padding, bias=bias).double()
    layer.weight.data = noise(*layer.weight.shape, seed=1)
    if layer.bias is not None:
        layer.bias.data = noise(5, seed=2)
    x = noise(2, 3, steps, 5, 6, seed=3).requires_grad_(True)
    given = [tensor for tensor in (x, layer.weight, layer.bias) if tensor is not None]
    right = F.conv3d(x, layer.weight, layer.bias, stride, padding)
    upstream = noise(*right.shape, seed=4)
    layer.route = route
    got = layer(x)
    torch.testing.assert_close(got, right, rtol=1e-12, atol=1e-12)
    pairs = zip(
        torch.autograd.grad(got, given, upstream), torch.autograd.grad(right, given, upstream), strict=True
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("route", ["plain", "flat", "padded", "fp32"])
def test_routes_keep_channels_last_and_give_what_autocast_asks_for(route: Route) -> None:
    layer = Conv3d(4, 8, 3, 1, 1)
    layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last_3d)
    layer.route = route
    x = noise(2, 4, 2, 5, 6, seed=0).float().contiguous(memory_format=torch.channels_last_3d)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.is_contiguous(memory_format=torch.channels_last_3d)
    assert y.dtype == (torch.float32 if route == "fp32" else torch.bfloat16)
    assert layer(x).dtype == torch.float32


def test_layers_that_have_no_flat_route_say_so() -> None:
    assert Conv3d(4, 4, 3, 1, 1).can_be_flat
    assert not Conv3d(4, 4, 3, 1, 1, groups=2).can_be_flat
    assert not Conv3d(4, 4, 3, 1, 2, dilation=2).can_be_flat
    assert not Conv3d(4, 4, 3, 1, 1, padding_mode="circular").can_be_flat
