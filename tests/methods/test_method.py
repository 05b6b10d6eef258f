"""Momentum contrast: the loss from the encoders' outputs by the formula, and what changes when."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from kinevec.config import Config, Model, Terms
from kinevec.errors import ConfigError
from kinevec.methods.branch import Branch
from kinevec.methods.memory import Queue
from kinevec.methods.method import Losses, Method
from kinevec.views.pipeline import Clips
from method_steps import (
    CONTRAST,
    assert_only_query_sides_learn,
    branches,
    build,
    clips,
    configured,
    features,
    noise,
    weights,
)
from reference import moco as reference
from reference.steps import contrast, pooled, project

VIDEOS = 3
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def moco(**changes: object) -> Method:
    return build(configured(contrast=replace(CONTRAST, **changes)))  # type: ignore[arg-type]


def two_clips(first: int = 1, second: int = 2) -> Clips:
    return Clips([noise(VIDEOS, 3, 4, 32, 32, seed=seed) for seed in (first, second)])


def vectors(branch: Branch, clip: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """q and k of the same clip, in float64."""
    query = project(weights(branch.projector), pooled(features(branch.encoder, clip)))
    return query, project(weights(branch.key_projector), pooled(features(branch.key_encoder, clip)))


def only_key(losses: Losses) -> Tensor:
    ((_, keys),) = losses.remember
    return keys


def test_starts_with_the_key_side_equal_to_the_query_side() -> None:
    (branch,) = branches(Method(Config(model=Model("tiny"), method=CONTRAST)))
    for key, query in [(branch.key_encoder, branch.encoder), (branch.key_projector, branch.projector)]:
        for mine, theirs in zip(key.parameters(), query.parameters(), strict=True):
            assert torch.equal(mine, theirs)
            assert not mine.requires_grad
            assert theirs.requires_grad


def test_the_queue_is_drawn_from_the_generator() -> None:
    expected = Queue(CONTRAST.dim, CONTRAST.queue, torch.Generator().manual_seed(1)).keys
    assert torch.equal(moco().rgb.queue.keys, expected)


def test_there_is_nothing_beside_the_rgb_branch() -> None:
    model = moco()
    assert (model.mscl, model.fima) == (None, None)
    assert model.encoder is model.rgb.encoder
    assert {name.split(".")[0] for name in model.state_dict()} == {"rgb"}


def test_an_unknown_encoder_is_an_error_that_names_it() -> None:
    with pytest.raises(ConfigError, match="tinny"):
        Method(Config(model=Model("tinny")))


@pytest.mark.parametrize(("temperature", "centred"), [(0.07, False), (0.2, False), (0.2, True)])
def test_loss_is_the_formula_on_the_encoders_outputs(temperature: float, centred: bool) -> None:
    model, seen = moco(temperature=temperature, centred=centred), two_clips()
    for projector in (model.rgb.projector, model.rgb.key_projector):
        assert (projector.centre is not None) == centred
        assert projector.hidden.weight.shape == (CONTRAST.hidden, model.encoder.channels)
        assert projector.out.weight.shape == (CONTRAST.dim, CONTRAST.hidden)
    q, _ = vectors(model.rgb, seen.rgb[0])
    _, k = vectors(model.rgb, seen.rgb[1])
    negatives = model.rgb.queue.keys.double().numpy()
    losses: Losses = model(seen)
    expected = reference.info_nce(q, k, negatives, temperature)
    assert list(losses.terms) == ["instance"]
    assert float(losses.terms["instance"].detach()) == pytest.approx(expected, rel=1e-4)
    assert float(losses.total.detach()) == pytest.approx(expected, rel=1e-4)
    assert losses.figures == {}
    assert losses.remember[0][0] is model.rgb.queue
    np.testing.assert_allclose(only_key(losses).numpy(), k, atol=1e-5)
    np.testing.assert_allclose(losses.embedding.numpy(), q, atol=1e-5)


def test_symmetric_loss_is_the_mean_of_both_directions_with_the_same_negatives() -> None:
    model, seen = moco(symmetric=True), two_clips()
    sides = [vectors(model.rgb, clip) for clip in seen.rgb]
    queries, keys = ({i: side[kind] for i, side in enumerate(sides)} for kind in (0, 1))
    negatives = model.rgb.queue.keys.double().numpy()
    directions = [
        contrast(queries, keys, (way,), negatives, CONTRAST.temperature) for way in ((0, 1), (1, 0))
    ]
    assert abs(directions[0] - directions[1]) > 1e-3
    # With the first direction's keys among the negatives, as in FIMA's released code, it would be another loss.
    filled = np.concatenate([negatives[:, VIDEOS:], keys[1].T], 1)
    wrong = contrast(queries, keys, ((1, 0),), filled, CONTRAST.temperature)
    assert abs(wrong - directions[1]) > 1e-2
    losses: Losses = model(seen)
    assert float(losses.total.detach()) == pytest.approx(sum(directions) / 2, rel=1e-4)
    np.testing.assert_allclose(only_key(losses).numpy(), np.concatenate([keys[1], keys[0]]), atol=1e-5)
    np.testing.assert_allclose(losses.embedding.numpy(), queries[0], atol=1e-5)


@pytest.mark.parametrize("symmetric", [False, True])
def test_forward_changes_nothing_but_batch_norm_statistics(symmetric: bool) -> None:
    model = moco(symmetric=symmetric, centred=True, damping=0.9)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses: Losses = model(two_clips())
    losses.total.backward()  # type: ignore[no-untyped-call]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) != name.endswith(STATISTICS), name
    tracked = {int(v) for name, v in model.state_dict().items() if name.endswith("num_batches_tracked")}
    assert tracked == {2 if symmetric else 1}


@pytest.mark.parametrize("symmetric", [False, True])
def test_gradient_reaches_the_query_side_and_stays_off_the_key_side(symmetric: bool) -> None:
    model = moco(symmetric=symmetric, centred=True)
    losses: Losses = model(Clips([clip.requires_grad_(True) for clip in two_clips().rgb]))
    assert not only_key(losses).requires_grad
    assert not losses.embedding.requires_grad
    losses.total.backward()  # type: ignore[no-untyped-call]
    assert_only_query_sides_learn(model)


def test_both_directions_send_gradient() -> None:
    """A symmetric step's gradient is the mean of those of two one-sided steps."""

    def gradient(model: Method, seen: Clips) -> Tensor:
        losses: Losses = model(seen)
        return torch.autograd.grad(losses.total, model.rgb.projector.out.weight)[0]

    both = gradient(moco(symmetric=True), two_clips())
    one, other = gradient(moco(), two_clips()), gradient(moco(), two_clips(2, 1))
    torch.testing.assert_close(both, (one + other) / 2, rtol=1e-3, atol=1e-5)
    assert not torch.allclose(one, other, rtol=0.1)


def step_of(model: Method, keys: Tensor) -> Losses:
    """A step that computed nothing but has keys to remember."""
    return Losses({}, {}, [(model.rgb.queue, keys)], torch.zeros(1, 2), torch.zeros(1, 2))


def test_advance_moves_the_key_side_and_remembers_the_keys() -> None:
    model = moco(centred=True)
    with torch.no_grad():
        for parameter in [*model.rgb.encoder.parameters(), *model.rgb.projector.parameters()]:
            parameter.add_(0.1)  # an optimiser's step
    before = {name: value.clone() for name, value in model.state_dict().items()}
    keys = torch.arange(VIDEOS * CONTRAST.dim, dtype=torch.float32).reshape(VIDEOS, CONTRAST.dim)
    model.advance(step_of(model, keys), step=5, total=10)
    for name, value in model.state_dict().items():
        if name.startswith("rgb.queue."):
            continue
        query = before[name.replace("key_", "", 1)]
        is_moved = ".key_" in name and value.is_floating_point() and "running" not in name
        expected = reference.moved(before[name].double().numpy(), query.double().numpy(), 0.9)
        np.testing.assert_allclose(value.numpy(), expected if is_moved else before[name].numpy(), atol=1e-6)
    torch.testing.assert_close(model.rgb.queue.keys[:, :VIDEOS], keys.T)
    assert torch.equal(model.rgb.queue.keys[:, VIDEOS:], before["rgb.queue.keys"][:, VIDEOS:])


def test_advance_moves_every_branch() -> None:
    model = build(configured(Terms(flow=1)))
    assert len(branches(model)) == 2
    before = [branch.key_projector.hidden.weight.clone() for branch in branches(model)]
    model.advance(Losses({}, {}, [], torch.zeros(1, 2), torch.zeros(1, 2)), step=0, total=1)
    for branch, old in zip(branches(model), before, strict=True):
        expected = reference.moved(
            old.double().numpy(), branch.projector.hidden.weight.detach().double().numpy(), 0.9
        )
        np.testing.assert_allclose(branch.key_projector.hidden.weight.numpy(), expected, atol=1e-6)


def test_the_keys_of_a_step_are_those_of_the_key_side_before_it_moved() -> None:
    model = moco(symmetric=True, queue=2 * VIDEOS)
    losses: Losses = model(two_clips())
    keys = only_key(losses).clone()
    model.advance(losses, step=0, total=10)
    torch.testing.assert_close(model.rgb.queue.keys, keys.T)  # full of the step's keys, and of nothing else
    assert int(model.rgb.queue.place) == 0


@pytest.mark.parametrize(
    ("schedule", "expected"), [("constant", [0.9, 0.9, 0.9]), ("cosine", [0.9, 0.95, 1.0])]
)
def test_momentum_follows_its_schedule(schedule: str, expected: list[float]) -> None:
    model = moco(momentum_schedule=schedule)
    assert [model.momentum(step, 10) for step in (0, 5, 10)] == pytest.approx(expected)
    before = model.rgb.key_projector.hidden.weight.clone()
    model.rgb.projector.hidden.weight.data.add_(1)
    query = model.rgb.projector.hidden.weight.detach()
    model.advance(step_of(model, torch.zeros(1, CONTRAST.dim)), step=5, total=10)
    expected_weight = reference.moved(before.double().numpy(), query.double().numpy(), expected[1])
    np.testing.assert_allclose(model.rgb.key_projector.hidden.weight.numpy(), expected_weight, atol=1e-6)


def test_damped_keys_count_less_with_every_step() -> None:
    model, seen = moco(damping=0.5, queue=3 * VIDEOS), two_clips()
    history = [*model.rgb.queue.keys.T.double().numpy()]
    pushed = [0] * len(history)
    for step in range(2):
        before: Losses = model(two_clips(step + 5, step + 7))
        model.advance(before, step, 10)
        history += [*only_key(before).double().numpy()]
        pushed += [step + 1] * VIDEOS
    q, _ = vectors(model.rgb, seen.rgb[0])
    _, k = vectors(model.rgb, seen.rgb[1])
    faded = [key * 0.5 ** (2 - at) for key, at in zip(history, pushed, strict=True)]
    negatives = np.stack(reference.last_keys(faded, 3 * VIDEOS), axis=1)
    losses: Losses = model(seen)
    expected = reference.info_nce(q, k, negatives, CONTRAST.temperature)
    assert float(losses.total.detach()) == pytest.approx(expected, rel=1e-4)


def test_total_is_the_weighted_sum_of_the_terms() -> None:
    terms = {"a": torch.tensor(1.5), "b": torch.tensor(-0.25), "c": torch.tensor(2.0)}
    assert (
        float(Losses(terms, {"a": 2.0, "b": 4.0, "c": 0.5}, [], torch.zeros(1, 2), torch.zeros(1, 2)).total)
        == 3.0
    )


def test_the_weight_of_the_instance_term_scales_it() -> None:
    plain, heavy = build(configured()), build(configured(Terms(instance=2.5)))
    one: Losses = plain(two_clips())
    other: Losses = heavy(two_clips())
    assert torch.equal(one.terms["instance"], other.terms["instance"])
    assert float(other.total.detach()) == pytest.approx(2.5 * float(one.total.detach()))


def test_without_an_instance_term_keys_are_still_remembered() -> None:
    """Other terms hold their queries against them."""
    terms = Terms(instance=0, cross=1)
    model = build(configured(terms))
    losses: Losses = model(clips(model.config))
    assert "instance" not in losses.terms
    assert losses.remember[0][0] is model.rgb.queue


def test_the_whole_state_is_in_the_state_dict() -> None:
    model, other = moco(damping=0.9), moco(damping=0.9, temperature=0.2)
    losses: Losses = model(two_clips())
    model.advance(losses, step=0, total=10)
    other.load_state_dict(model.state_dict())
    assert model.rgb.queue.age is not None
    for one, again in zip(
        model(two_clips(3, 4)).terms.values(), other(two_clips(3, 4)).terms.values(), strict=True
    ):
        assert torch.equal(one, again)
