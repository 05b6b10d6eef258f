"""The key side's momentum and the queue against plain Python."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kinevec.methods.memory import Queue, cosine_momentum, key_copy, move_towards
from reference import moco as reference


def test_momentum_rises_by_a_cosine_from_its_start_to_one() -> None:
    for base in (0.0, 0.9, 0.994):
        assert cosine_momentum(0, 50, base) == pytest.approx(base)
        assert cosine_momentum(50, 50, base) == pytest.approx(1)
        assert cosine_momentum(25, 50, base) == pytest.approx((1 + base) / 2)
        for step in range(51):  # half-angle form
            expected = 1 - (1 - base) * math.cos(math.pi * step / 100) ** 2
            assert cosine_momentum(step, 50, base) == pytest.approx(expected)


def test_momentum_is_the_papers(golden: Path) -> None:
    with np.load(golden / "mscl_momentum_0.npz") as arrays:
        total, base = int(arrays["total_steps"]), float(arrays["base"])
        for step, expected in zip(arrays["step"], arrays["momentum"], strict=True):
            assert cosine_momentum(int(step), total, base) == pytest.approx(float(expected), abs=1e-7)


def network(seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv3d(3, 4, (1, 3, 3)), nn.BatchNorm3d(4), nn.Flatten(), nn.Linear(16, 2))


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.5, 0.98, 1.0])
def test_move_towards_is_the_moving_average_of_parameters_only(momentum: float) -> None:
    key, query = network(0), network(1)
    key.requires_grad_(False)
    query(torch.randn(3, 3, 1, 4, 4))  # buffers that differ
    before = {name: value.clone() for name, value in key.state_dict().items()}
    other = {name: value.clone() for name, value in query.state_dict().items()}
    move_towards(key, query, momentum)
    buffers = dict(key.named_buffers())
    assert len(buffers) == 3
    for name, value in key.state_dict().items():
        if name in buffers:
            assert torch.equal(value, before[name])
        elif momentum in (0.0, 1.0):
            assert torch.equal(value, (before if momentum else other)[name])
        else:
            expected = reference.moved(before[name].double().numpy(), other[name].double().numpy(), momentum)
            np.testing.assert_allclose(value.numpy(), expected, atol=1e-6)
        assert torch.equal(query.state_dict()[name], other[name])
    assert not any(parameter.requires_grad for parameter in key.parameters())
    assert all(parameter.requires_grad for parameter in query.parameters())


def test_key_copy_is_equal_apart_and_without_gradient() -> None:
    query = network(0)
    key = key_copy(query)
    for (name, mine), (other, theirs) in zip(
        key.state_dict().items(), query.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(mine, theirs)
        assert mine.data_ptr() != theirs.data_ptr()
    assert not any(parameter.requires_grad for parameter in key.parameters())
    assert all(parameter.requires_grad for parameter in query.parameters())


def test_key_copy_normalises_by_its_own_batch_and_gathers_its_own_statistics() -> None:
    query = network(0)
    key = key_copy(query)
    assert all(module.training for module in key.modules())
    x = 5 + 3 * torch.randn(6, 3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    hidden = key[1](key[0](x))
    torch.testing.assert_close(hidden.mean((0, 2, 3, 4)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(hidden.var((0, 2, 3, 4), correction=0), torch.ones(4), atol=1e-3, rtol=0)
    assert not torch.equal(key[1].running_mean, torch.zeros(4))
    assert torch.equal(query[1].running_mean, torch.zeros(4))


def test_queue_starts_with_unit_vectors_from_the_generator() -> None:
    one, again, other = (Queue(5, 40, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert one.keys.shape == (5, 40)
    torch.testing.assert_close(one.keys.norm(dim=0), torch.ones(40))
    assert torch.equal(one.keys, again.keys)
    assert not torch.equal(one.keys, other.keys)
    assert abs(float(one.keys.mean())) < 0.1


@pytest.mark.parametrize(
    "sizes",
    [
        [3, 3, 3, 3],  # does not divide K = 7, wraps within a push
        [7, 7],
        [1] * 16,
        [8, 2, 20, 5],  # more than K at once, twice its size and more
        [6, 1, 1, 0, 14, 3],
        [13],
    ],
)
def test_queue_holds_the_last_keys_in_order(sizes: list[int]) -> None:
    queue = Queue(2, 7, torch.Generator().manual_seed(0))
    history = list(queue.keys.T.clone().numpy())
    number = 0
    for size in sizes:
        keys = torch.arange(number, number + 2 * size, dtype=torch.float32).reshape(size, 2)
        number += 2 * size
        queue.push(keys)
        history += list(keys.numpy())
        oldest = int(queue.place)
        ring = torch.cat([queue.keys[:, oldest:], queue.keys[:, :oldest]], 1).T.numpy()
        np.testing.assert_array_equal(ring, np.stack(reference.last_keys(history, 7)))


def test_queue_goes_on_from_a_checkpoint_as_if_never_stopped() -> None:
    queue, resumed = Queue(2, 7), Queue(2, 7)
    queue.push(torch.ones(5, 2))
    resumed.load_state_dict(queue.state_dict())
    for each in (queue, resumed):
        each.push(torch.full((4, 2), 2.0))
    assert torch.equal(queue.keys, resumed.keys)
    assert int(resumed.place) == 2


def test_queue_takes_no_gradient_and_keeps_its_precision() -> None:
    queue = Queue(2, 7)
    keys = torch.ones(3, 2, dtype=torch.bfloat16, requires_grad=True)
    queue.push(keys * 2)
    assert not queue.keys.requires_grad
    assert queue.keys.dtype == torch.float32
    assert not list(queue.parameters())
    keys.data.fill_(9)
    assert float(queue.keys[:, :3].max()) == 2


@pytest.mark.parametrize("sizes", [[3, 3, 3, 3], [7, 7], [8, 2, 20, 5], [6, 1, 1, 0, 14, 3], [1] * 16, []])
@pytest.mark.parametrize("damping", [0.5, 0.9])
def test_similarity_fades_by_the_damping_with_every_push(sizes: list[int], damping: float) -> None:
    """Every key shrinks by the factor once for every push after its own; those at the start by one a push."""
    queue = Queue(2, 7, torch.Generator().manual_seed(0), damping=damping)
    history = [(key, 0) for key in queue.keys.T.clone().double().numpy()]
    generator = torch.Generator().manual_seed(3)
    for number, size in enumerate(sizes, start=1):
        keys = torch.randn(size, 2, generator=generator)
        queue.push(keys)
        history += [(key, number) for key in keys.double().numpy()]
    faded = []
    for key, number in history:
        similarity = key.copy()
        for _ in range(len(sizes) - number):
            similarity *= damping
        faded.append(similarity)
    oldest = int(queue.place)
    negatives = queue.negatives()
    ring = torch.cat([negatives[:, oldest:], negatives[:, :oldest]], 1).T.numpy()
    np.testing.assert_allclose(ring, np.stack(reference.last_keys(faded, 7)), rtol=1e-5, atol=1e-7)
    stored = torch.cat([queue.keys[:, oldest:], queue.keys[:, :oldest]], 1).T.numpy()
    kept = np.stack(reference.last_keys([key for key, _ in history], 7))
    np.testing.assert_array_equal(stored, kept.astype(np.float32))  # what is stored does not fade


def test_damping_of_the_paper_is_felt_over_an_epoch() -> None:
    """0.99999 a step, for 65,536 / 128 steps: the factor is rounded to float32 once, which every step repeats."""
    queue = Queue(1, 3, damping=0.99999)
    queue.push(torch.ones(3, 1))
    for _ in range(512):
        queue.push(torch.zeros(0, 1))
    np.testing.assert_allclose(queue.negatives().numpy(), 0.99999**512, rtol=512 * 2**-25 + 2**-23)


def test_without_damping_there_are_no_ages_and_negatives_are_the_keys() -> None:
    queue = Queue(2, 7)
    queue.push(torch.ones(3, 2))
    assert queue.age is None
    assert set(queue.state_dict()) == {"keys", "place"}
    assert queue.negatives() is queue.keys


def test_ages_go_on_from_a_checkpoint() -> None:
    queue, resumed = (Queue(2, 7, torch.Generator().manual_seed(0), damping=0.9) for _ in range(2))
    for size in (3, 2):
        queue.push(torch.ones(size, 2))
    resumed.load_state_dict(queue.state_dict())
    assert torch.equal(queue.negatives(), resumed.negatives())
    assert queue.age is not None
    assert sorted(queue.age.tolist()) == [0, 0, 1, 1, 1, 2, 2]
