"""Figures of health against loops from their definitions, and in cases whose answer is known."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from kinevec.methods.memory import Queue
from kinevec.train import health
from kinevec.train.health import (
    Recent,
    alignment,
    effective_rank,
    ends,
    figures,
    spread,
    staleness,
    uniformity,
)
from reference import health as reference


def sphere(count: int, dim: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dim, generator=generator), dim=1)


def uneven(count: int, dim: int, seed: int = 1) -> Tensor:
    """Unit vectors about a common direction, wider in some dimensions than in others."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, dim, generator=generator) * torch.logspace(0, -2, dim)
    return F.normalize(noise + torch.arange(dim) / dim, dim=1)


@pytest.mark.parametrize("x", [sphere(23, 5), uneven(31, 7), uneven(4, 9)], ids=["sphere", "uneven", "few"])
def test_figures_are_those_of_their_definitions(x: Tensor) -> None:
    y = F.normalize(x + 0.3 * sphere(*x.shape, seed=5), dim=1)
    a, b = x.double().numpy(), y.double().numpy()
    found = figures(x, y)
    assert found == {
        "spread": pytest.approx(reference.spread(a), rel=1e-9),
        "rank": pytest.approx(reference.effective_rank(a), rel=1e-6),
        "alignment": pytest.approx(reference.alignment(a, b), rel=1e-9),
        "uniformity": pytest.approx(reference.uniformity(a), rel=1e-9),
    }


def test_staleness_is_that_of_its_definition() -> None:
    q, old, new = uneven(9, 6), uneven(5, 6, seed=3).T, sphere(5, 6).T
    expected = reference.staleness(*(x.double().numpy() for x in (q, old, new)), 0.2)
    assert expected > 0.1
    assert staleness(q, old, new, 0.2) == pytest.approx(expected, rel=1e-9)
    assert staleness(q, new, old, 0.2) == pytest.approx(expected, rel=1e-9)


def test_equal_vectors() -> None:
    """Rounding of float32 does not count as a direction."""
    x = sphere(1, 128).expand(300, -1)
    noisy = x * (1 + 1e-7 * torch.randn(300, 128, generator=torch.Generator().manual_seed(0)))
    for vectors in (x, noisy):
        assert spread(vectors) == pytest.approx(0, abs=1e-6)
        assert effective_rank(vectors) == 0
        assert uniformity(vectors) == pytest.approx(0, abs=1e-9)
    assert alignment(x, x) == 0
    assert alignment(x, -x) == pytest.approx(4, rel=1e-6)


def test_vectors_spread_evenly_over_the_sphere() -> None:
    dim = 64
    x = sphere(2048, dim)
    assert spread(x) == pytest.approx(1, abs=0.01)
    assert effective_rank(x) == pytest.approx(dim, rel=0.03)
    # E exp(4u) of one coordinate u on the sphere: a power series in 4²/(2·D) (the function 0F1(; D/2; 4))
    mean, term = 0.0, 1.0
    for n in range(40):
        mean += term
        term *= 4 / ((n + 1) * (dim / 2 + n))
    assert uniformity(x) == pytest.approx(-4 + math.log(mean), abs=0.01)
    assert alignment(x, x.roll(1, 0)) == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_rank_of_vectors_in_few_directions(rank: int) -> None:
    """±e_1 … ±e_r have r equal singular values about their mean, which is 0."""
    axes = torch.eye(16)[:rank]
    x = torch.cat([axes, -axes]).repeat(20, 1)
    assert effective_rank(x) == pytest.approx(rank, rel=1e-9)
    turn = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(2)))[0]
    assert effective_rank(x @ turn) == pytest.approx(rank, rel=1e-5)


def test_a_mean_common_to_all_is_no_direction() -> None:
    """Two points are one direction, wherever they lie."""
    x = sphere(2, 10).repeat(30, 1)
    assert effective_rank(x) == pytest.approx(1, rel=1e-9)


def test_the_rank_weighs_directions() -> None:
    """Singular values 3 and 1: exp(H(3/4, 1/4))."""
    x = torch.tensor([[3.0, 0], [-3, 0], [0, 1], [0, -1]])
    assert effective_rank(x) == pytest.approx(
        math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)), rel=1e-9
    )


def test_alike_ends_are_fresh_and_foreign_ones_stale() -> None:
    q = uneven(64, 16)
    assert staleness(q, uneven(500, 16, 7).T, uneven(500, 16, 8).T, 0.1) < 0.1
    assert staleness(q, -uneven(500, 16, 7).T, uneven(500, 16, 8).T, 0.1) > 0.95


@pytest.mark.parametrize("pushed", [0, 3, 7, 8, 13])
def test_the_ends_of_a_queue_are_its_oldest_and_newest_keys(pushed: int) -> None:
    """Every key holds its number; those of the first filling count from −8."""
    queue = Queue(3, 8)
    queue.keys.copy_(torch.arange(-8.0, 0).expand(3, 8))
    for number in range(pushed):
        queue.push(torch.full((1, 3), float(number)))
    oldest, newest = ends(queue)
    assert sorted(oldest[0].tolist()) == [pushed - 8, pushed - 7]
    assert sorted(newest[0].tolist()) == [pushed - 2, pushed - 1]


def test_the_ends_are_as_they_serve_and_not_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue(4, 40, damping=0.5)
    for _ in range(12):
        queue.push(sphere(4, 4))
    oldest, newest = ends(queue)
    assert oldest.shape == newest.shape == (4, 10)
    assert float(oldest.norm(dim=0).max()) < 0.01
    assert float(newest.norm(dim=0).min()) > 0.2
    monkeypatch.setattr(health, "END", 6)
    assert ends(queue)[0].shape == (4, 6)
    assert [part.shape for part in ends(Queue(4, 1))] == [(4, 1), (4, 1)]


@pytest.mark.parametrize("batch", [1, 3, 4, 5, 11])
def test_the_last_pairs_are_remembered(batch: int) -> None:
    recent = Recent(5)
    for start in range(0, 22, batch):
        numbers = torch.arange(start, start + batch).float()[:, None].expand(-1, 2)
        recent.add(numbers, numbers + 0.5)
        queries, keys = recent.read()
        seen = start + batch
        assert sorted(queries[:, 0].tolist()) == [*range(max(0, seen - 5), seen)]
        assert torch.equal(keys, queries + 0.5)


def test_the_oldest_pairs_give_way_after_a_batch_that_was_too_large() -> None:
    recent = Recent(5)
    for numbers in (torch.arange(11.0), torch.arange(11.0, 13.0)):
        recent.add(numbers[:, None], numbers[:, None])
    assert sorted(recent.read()[0][:, 0].tolist()) == [8, 9, 10, 11, 12]


def test_what_is_remembered_survives() -> None:
    whole, first, rest = Recent(6), Recent(6), Recent(6)
    whole.add(sphere(4, 3), sphere(4, 3, 1))
    first.add(sphere(4, 3), sphere(4, 3, 1))
    rest.restore(first.state(), torch.device("cpu"))
    for recent in (whole, rest):
        recent.add(sphere(3, 3, 2), sphere(3, 3, 3))
    assert all(torch.equal(a, b) for a, b in zip(whole.read(), rest.read(), strict=True))
    empty = Recent(6)
    empty.restore(Recent(6).state(), torch.device("cpu"))
    with pytest.raises(ValueError, match="nothing was added"):
        empty.read()


def test_uniformity_has_a_lower_bound() -> None:
    """Four corners of a tetrahedron are as far apart as four points can be."""
    corners = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / math.sqrt(3)
    assert uniformity(corners) == pytest.approx(-4 * 4 / 3, rel=1e-6)
    assert uniformity(F.normalize(corners + torch.tensor([0.1, 0, 0]), dim=1)) > -4 * 4 / 3
    assert np.isfinite(uniformity(torch.cat([corners, corners])))
