"""InfoNCE against float64 loops written from its formula."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from kinevec.methods.infonce import info_nce
from reference import moco as reference


def vectors(count: int, dim: int = 6, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def problem(count: int = 4, negatives: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    return vectors(count), vectors(count, seed=1), vectors(negatives, seed=2).T.contiguous()


@pytest.mark.parametrize("temperature", [0.01, 0.07, 0.1, 0.5, 1.0, 2.0])
def test_loss_is_the_formula_at_any_temperature(temperature: float) -> None:
    q, k, n = problem()
    expected = reference.info_nce(*(x.double().numpy() for x in (q, k, n)), temperature)
    assert float(info_nce(q, k, n, temperature)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("count", "negatives"), [(1, 1), (1, 9), (5, 1), (3, 40)])
def test_any_number_of_queries_and_negatives(count: int, negatives: int) -> None:
    q, k, n = problem(count, negatives)
    expected = reference.info_nce(*(x.double().numpy() for x in (q, k, n)), 0.2)
    assert float(info_nce(q, k, n, 0.2)) == pytest.approx(expected, rel=1e-5)


def test_gradient_of_the_query_is_that_of_the_formula() -> None:
    q, k, n = problem()
    q.requires_grad_(True)
    info_nce(q, k, n, 0.1).backward()
    expected = reference.info_nce_gradient(*(x.detach().double().numpy() for x in (q, k, n)), 0.1)
    assert q.grad is not None
    np.testing.assert_allclose(q.grad.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_known_values() -> None:
    same = torch.tensor([[1.0, 0.0]])
    apart = torch.tensor([[0.0], [1.0]])
    assert float(info_nce(same, same, same.T, 0.07)) == pytest.approx(math.log(2))
    assert float(info_nce(same, same, apart, 0.5)) == pytest.approx(math.log(1 + math.exp(-2)))
    assert float(info_nce(same, -same, same.T, 0.001)) == pytest.approx(2000)  # e^1000 would not fit


def test_float32_whatever_comes_in_and_around() -> None:
    q, k, n = problem(16, 64)
    exact = info_nce(q, k, n, 0.07)
    with torch.autocast("cpu", torch.bfloat16):
        within = info_nce(q, k, n, 0.07)
    assert within.dtype == torch.float32
    assert float(within) == pytest.approx(float(exact), rel=1e-6)
    rounded = info_nce(q.bfloat16(), k.bfloat16(), n.bfloat16(), 0.07)
    assert rounded.dtype == torch.float32
    expected = info_nce(q.bfloat16().float(), k.bfloat16().float(), n.bfloat16().float(), 0.07)
    assert float(rounded) == pytest.approx(float(expected), rel=1e-6)
