"""Pooling and the projector against their definitions."""

import numpy as np
import pytest
import torch

from kinevec.models.heads import Projector, pool


def test_pool_is_the_mean_over_time_and_space() -> None:
    features = torch.randn(2, 5, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    expected = np.zeros((2, 5))
    for n, c, t, y, x in np.ndindex(2, 5, 3, 4, 6):
        expected[n, c] += float(features[n, c, t, y, x]) / (3 * 4 * 6)
    np.testing.assert_allclose(pool(features).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(7,), (4, 7), (2, 3, 7)])
def test_projector_is_linear_relu_linear_to_unit_length_on_the_last_axis(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    projector = Projector(7, 6, 5)
    x = torch.randn(shape)
    w1, b1, w2, b2 = (parameter.detach().double().numpy() for parameter in projector.parameters())
    assert (w1.shape, w2.shape) == ((6, 7), (5, 6))
    got = projector(x)
    assert got.shape == (*shape[:-1], 5)
    for place in np.ndindex(shape[:-1]):
        hidden = np.maximum(w1 @ x[place].double().numpy() + b1, 0)
        out = w2 @ hidden + b2
        np.testing.assert_allclose(got[place].detach().numpy(), out / np.sqrt((out**2).sum()), atol=1e-5)


def test_vectors_have_unit_length_in_float32_under_bf16_too() -> None:
    torch.manual_seed(1)
    projector = Projector(32, 16, 64)
    with torch.autocast("cpu", torch.bfloat16):
        got = projector(torch.randn(8, 32))
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.norm(dim=1), torch.ones(8))
