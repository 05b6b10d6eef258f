"""Momentum contrast: the loss from the encoders' outputs by the formula, and what changes when."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kinevec.config import Config, Method, Model
from kinevec.methods.memory import Queue
from kinevec.methods.moco import Losses, Moco
from reference import moco as reference

METHOD = Method(dim=8, hidden=16, queue=12, temperature=0.2, momentum=0.9, momentum_schedule="constant")
CLIPS = 3


def build(**changes: object) -> Moco:
    config = Config(model=Model("tiny"), method=replace(METHOD, **changes))  # type: ignore[arg-type]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Moco(config, torch.Generator().manual_seed(1))
    with torch.no_grad():  # a key side that has moved away from the query side
        for i, parameter in enumerate([*model.key_encoder.parameters(), *model.key_projector.parameters()]):
            parameter.mul_(1 + 0.05 * math.cos(i))
    return model


def clips(seed: int) -> Tensor:
    return torch.randn(CLIPS, 3, 4, 32, 32, generator=torch.Generator().manual_seed(seed))


def embedding(encoder: nn.Module, projector: nn.Module, clip: Tensor) -> np.ndarray:
    """Unit vectors (N, D), in steps of its own; does not change the encoder."""
    with torch.no_grad():
        features = copy.deepcopy(encoder)(clip).double().numpy()
        pooled = torch.from_numpy(features.reshape(*features.shape[:2], -1).mean(2)).float()
        vectors = copy.deepcopy(projector)(pooled).double().numpy()
    return vectors / np.sqrt((vectors**2).sum(1, keepdims=True))


def test_starts_with_the_key_side_equal_to_the_query_side() -> None:
    model = Moco(Config(model=Model("tiny"), method=METHOD))
    for key, query in [(model.key_encoder, model.encoder), (model.key_projector, model.projector)]:
        for mine, theirs in zip(key.parameters(), query.parameters(), strict=True):
            assert torch.equal(mine, theirs)
            assert not mine.requires_grad
            assert theirs.requires_grad


def test_the_queue_is_drawn_from_the_generator() -> None:
    expected = Queue(METHOD.dim, METHOD.queue, torch.Generator().manual_seed(1)).keys
    assert torch.equal(build().queue.keys, expected)


@pytest.mark.parametrize(("temperature", "centred"), [(0.07, False), (0.2, False), (0.2, True)])
def test_loss_is_the_formula_on_the_encoders_outputs(temperature: float, centred: bool) -> None:
    model = build(temperature=temperature, centred=centred)
    first, second = clips(1), clips(2)
    q = embedding(model.encoder, model.projector, first)
    k = embedding(model.key_encoder, model.key_projector, second)
    negatives = model.queue.keys.double().numpy()
    losses: Losses = model(first, second)
    expected = reference.info_nce(q, k, negatives, temperature)
    assert float(losses.terms["instance"].detach()) == pytest.approx(expected, rel=1e-4)
    assert float(losses.total.detach()) == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(losses.keys.numpy(), k, atol=1e-5)
    np.testing.assert_allclose(losses.embedding.numpy(), q, atol=1e-5)


def test_symmetric_loss_is_the_mean_of_both_directions_with_the_same_negatives() -> None:
    model = build(symmetric=True)
    first, second = clips(1), clips(2)
    sides = {
        (name, i): embedding(encoder, projector, clip)
        for name, encoder, projector in [
            ("query", model.encoder, model.projector),
            ("key", model.key_encoder, model.key_projector),
        ]
        for i, clip in enumerate((first, second))
    }
    negatives = model.queue.keys.double().numpy()
    directions = [
        reference.info_nce(sides["query", i], sides["key", 1 - i], negatives, METHOD.temperature)
        for i in (0, 1)
    ]
    assert abs(directions[0] - directions[1]) > 1e-3
    # With the first direction's keys among the negatives, as in FIMA's released code, it would be another loss.
    seen = np.concatenate([negatives[:, CLIPS:], sides["key", 1].T], 1)
    wrong = reference.info_nce(sides["query", 1], sides["key", 0], seen, METHOD.temperature)
    assert abs(wrong - directions[1]) > 1e-2
    losses: Losses = model(first, second)
    assert float(losses.total.detach()) == pytest.approx(sum(directions) / 2, rel=1e-4)
    np.testing.assert_allclose(
        losses.keys.numpy(), np.concatenate([sides["key", 1], sides["key", 0]]), atol=1e-5
    )


@pytest.mark.parametrize("symmetric", [False, True])
def test_forward_changes_nothing_but_batch_norm_statistics(symmetric: bool) -> None:
    model = build(symmetric=symmetric, centred=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses: Losses = model(clips(1), clips(2))
    losses.total.backward()  # type: ignore[no-untyped-call]
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) != name.endswith(statistics), name
    tracked = {int(v) for name, v in model.state_dict().items() if name.endswith("num_batches_tracked")}
    assert tracked == {2 if symmetric else 1}


@pytest.mark.parametrize("symmetric", [False, True])
def test_gradient_reaches_the_query_side_and_stays_off_the_key_side(symmetric: bool) -> None:
    model = build(symmetric=symmetric, centred=True)
    losses: Losses = model(clips(1).requires_grad_(True), clips(2).requires_grad_(True))
    assert not losses.keys.requires_grad
    assert not losses.embedding.requires_grad
    losses.total.backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        if name.startswith("key_"):
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_both_directions_send_gradient() -> None:
    """A symmetric step's gradient is the mean of those of two one-sided steps."""

    def gradient(model: Moco, first: Tensor, second: Tensor) -> Tensor:
        losses: Losses = model(first, second)
        return torch.autograd.grad(losses.total, model.projector.out.weight)[0]

    first, second = clips(1), clips(2)
    both = gradient(build(symmetric=True), first, second)
    one, other = gradient(build(), first, second), gradient(build(), second, first)
    torch.testing.assert_close(both, (one + other) / 2, rtol=1e-3, atol=1e-5)
    assert not torch.allclose(one, other, rtol=0.1)


def test_advance_moves_the_key_side_and_remembers_the_keys() -> None:
    model = build(centred=True)
    with torch.no_grad():
        for parameter in [*model.encoder.parameters(), *model.projector.parameters()]:
            parameter.add_(0.1)  # an optimiser's step
    before = {name: value.clone() for name, value in model.state_dict().items()}
    keys = torch.arange(CLIPS * METHOD.dim, dtype=torch.float32).reshape(CLIPS, METHOD.dim)
    model.advance(keys, step=5, total=10)
    for name, value in model.state_dict().items():
        if name.startswith("queue."):
            continue
        query = before[name.replace("key_", "", 1)]
        is_moved = name.startswith("key_") and value.is_floating_point() and "running" not in name
        expected = reference.moved(before[name].double().numpy(), query.double().numpy(), 0.9)
        np.testing.assert_allclose(value.numpy(), expected if is_moved else before[name].numpy(), atol=1e-6)
    torch.testing.assert_close(model.queue.keys[:, :CLIPS], keys.T)
    assert torch.equal(model.queue.keys[:, CLIPS:], before["queue.keys"][:, CLIPS:])


def test_the_keys_of_a_step_are_those_of_the_key_side_before_it_moved() -> None:
    model = build(symmetric=True, queue=2 * CLIPS)
    losses: Losses = model(clips(1), clips(2))
    keys = losses.keys.clone()
    model.advance(losses.keys, step=0, total=10)
    torch.testing.assert_close(model.queue.keys, keys.T)  # full of the step's keys, and of nothing else
    assert int(model.queue.place) == 0


@pytest.mark.parametrize(
    ("schedule", "expected"), [("constant", [0.9, 0.9, 0.9]), ("cosine", [0.9, 0.95, 1.0])]
)
def test_momentum_follows_its_schedule(schedule: str, expected: list[float]) -> None:
    model = build(momentum_schedule=schedule)
    assert [model.momentum(step, 10) for step in (0, 5, 10)] == pytest.approx(expected)
    before = model.key_projector.hidden.weight.clone()
    model.projector.hidden.weight.data.add_(1)
    query = model.projector.hidden.weight.detach()
    model.advance(torch.zeros(1, METHOD.dim), step=5, total=10)
    expected_weight = reference.moved(before.double().numpy(), query.double().numpy(), expected[1])
    np.testing.assert_allclose(model.key_projector.hidden.weight.numpy(), expected_weight, atol=1e-6)


def test_total_is_the_sum_of_the_terms() -> None:
    terms = {"a": torch.tensor(1.5), "b": torch.tensor(-0.25), "c": torch.tensor(2.0)}
    assert float(Losses(terms, torch.zeros(1, 2), torch.zeros(1, 2)).total) == 3.25


def test_the_whole_state_is_in_the_state_dict() -> None:
    model, other = build(), build(temperature=0.2)
    losses: Losses = model(clips(1), clips(2))
    model.advance(losses.keys, step=0, total=10)
    other.load_state_dict(model.state_dict())
    for one, again in zip(
        model(clips(3), clips(4)).terms.values(), other(clips(3), clips(4)).terms.values(), strict=True
    ):
        assert torch.equal(one, again)
