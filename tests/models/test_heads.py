"""Pooling and the projector against their definitions."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinevec.models.heads import Projector, pool


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def projector(*, centred: bool = False) -> Projector:
    """From 7 by 6 to 5, with biases and, where centred, a batch norm that does something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        result = Projector(7, 6, 5, centred=centred)
    if result.centre is not None:
        with torch.no_grad():
            result.centre.weight.copy_(1 + 0.5 * noise(7))
            result.centre.bias.copy_(noise(7, seed=1))
            result.centre.running_mean.copy_(noise(7, seed=2))
            result.centre.running_var.copy_(1 + noise(7, seed=3).abs())
    return result


def expected(head: Projector, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear, ReLU, Linear, unit length of one vector (7,)."""
    hidden = np.maximum(head.hidden.weight.detach().numpy() @ x + head.hidden.bias.detach().numpy(), 0)
    out = head.out.weight.detach().numpy() @ hidden + head.out.bias.detach().numpy()
    return out / np.sqrt((out**2).sum())


def test_pool_is_the_mean_over_time_and_space() -> None:
    features = noise(2, 5, 3, 4, 6)
    means = np.zeros((2, 5))
    for n, c, t, y, x in np.ndindex(2, 5, 3, 4, 6):
        means[n, c] += float(features[n, c, t, y, x]) / (3 * 4 * 6)
    np.testing.assert_allclose(pool(features).numpy(), means, atol=1e-6)


@pytest.mark.parametrize("shape", [(7,), (4, 7), (2, 3, 7)])
def test_projector_is_linear_relu_linear_to_unit_length_on_the_last_axis(shape: tuple[int, ...]) -> None:
    head, x = projector(), noise(*shape)
    assert {name for name, _ in head.named_parameters()} == {
        f"{layer}.{kind}" for layer in ("hidden", "out") for kind in ("weight", "bias")
    }
    got = head(x).detach()
    assert got.shape == (*shape[:-1], 5)
    for place in np.ndindex(shape[:-1]):
        np.testing.assert_allclose(got[place].numpy(), expected(head, x[place].double().numpy()), atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(6, 7), (2, 3, 7)])
def test_a_centred_projector_normalises_each_feature_over_all_others_first(
    shape: tuple[int, ...], training: bool
) -> None:
    head, x = projector(centred=True).train(training), 3 + noise(*shape, seed=4)
    centre = head.centre
    assert centre is not None
    rows = x.double().numpy().reshape(-1, 7)
    if training:
        mean, variance = rows.mean(0), ((rows - rows.mean(0)) ** 2).mean(0)
    else:
        mean, variance = centre.running_mean.double().numpy(), centre.running_var.double().numpy()
    scaled = (rows - mean) / np.sqrt(variance + 1e-5)
    scaled = scaled * centre.weight.detach().numpy() + centre.bias.detach().numpy()
    got = head(x).detach()
    assert got.shape == (*shape[:-1], 5)
    for row, vector in zip(scaled, got.reshape(-1, 5), strict=True):
        np.testing.assert_allclose(vector.numpy(), expected(head, row), atol=1e-5)


@pytest.mark.parametrize("centred", [False, True])
def test_vectors_have_unit_length_in_float32_under_bf16_too(centred: bool) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        got = projector(centred=centred)(noise(8, 7)).detach()
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.norm(dim=1), torch.ones(8))
