"""MSCL's terms from the encoders' outputs, their weights, and what a step reads and remembers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kinevec.config import Config, Terms
from kinevec.methods.branch import Branch
from kinevec.methods.method import Losses, Method
from kinevec.methods.mscl.motion_branch import MotionBranch, at_steps
from kinevec.models.encoder import Encoder
from kinevec.models.guard import guard_bf16
from kinevec.models.neck import LinearNeck
from kinevec.runtime import autocast
from kinevec.views.pipeline import Clips
from method_steps import (
    CONTRAST,
    SMALL_MSCL,
    assert_only_query_sides_learn,
    build,
    clips,
    configured,
    features,
    noise,
    passes,
    stages,
)
from method_steps import values as values_of
from method_steps import weights as weights_of
from reference import motion as painting
from reference import mscl as reference
from reference.steps import contrast, pooled, project

ALL = Terms(instance=1, flow=1, cross=1, rotated=1, local=1)
ONE_WAY = ((0, 1),)
BOTH_WAYS = ((0, 1), (1, 0))


def mscl(terms: Terms = ALL, *, symmetric: bool = False, damping: float = 1.0, **changes: Any) -> Config:
    contrast = replace(CONTRAST, symmetric=symmetric, damping=damping)
    return configured(terms, contrast, replace(SMALL_MSCL, **changes))


@cache
def seen() -> Clips:
    """Two clips of three videos; of their flow every second frame, as the loader delivers it."""
    made = clips(configured())
    return replace(made, flow=[flow[:, :, ::2] for flow in made.flow])


@cache
def painted(clip: int, *, rotated: bool) -> Tensor:
    """The flow branch's input (N, 3, 4, H, W), in float64."""
    flow = seen().flow[clip].double().numpy()
    if rotated:
        flow = reference.rotate_flow(flow, seen().angles[clip].double().numpy())
    images = np.stack([painting.flow_image(one.transpose(1, 2, 3, 0)) for one in flow]) / 255
    views = configured().views
    return torch.tensor((images - views.mean) / views.std).permute(0, 4, 1, 2, 3)


@dataclass
class Sides:
    """Queries and keys of one branch, by the clip's number, and the maps of its queries."""

    maps: dict[int, list[np.ndarray]]
    q: dict[int, np.ndarray]
    k: dict[int, np.ndarray]


def sides(branch: Any, inputs: Sequence[Tensor]) -> Sides:
    maps = {i: stages(branch.encoder, clip) for i, clip in enumerate(inputs)}
    return Sides(
        maps,
        {i: project(weights_of(branch.projector), pooled(m[-1])) for i, m in maps.items()},
        {
            i: project(weights_of(branch.key_projector), pooled(features(branch.key_encoder, clip)))
            for i, clip in enumerate(inputs)
        },
    )


def motion_of(model: Method) -> MotionBranch:
    assert model.mscl is not None
    return model.mscl


def branch_of(model: Method) -> Branch:
    branch = motion_of(model).branch
    assert branch is not None
    return branch


def encoder_of(model: Method) -> Encoder:
    """The flow encoder, which stands alone where no clips are contrasted."""
    part = motion_of(model)
    assert (part.branch is None) != (part.encoder is None)
    return part.encoder if part.encoder is not None else branch_of(model).encoder


def inputs(*, rotated: bool) -> list[Tensor]:
    return [painted(clip, rotated=rotated) for clip in (0, 1)]


def negatives(model: Method) -> tuple[np.ndarray, np.ndarray]:
    """Of the RGB branch and of the flow branch."""
    return model.rgb.queue.keys.double().numpy(), branch_of(model).queue.keys.double().numpy()


def clip_terms(
    model: Method, rgb: Sides, flow: Sides, directions: Sequence[tuple[int, int]]
) -> dict[str, float]:
    """MSCL: InfoNCE(q^f; k^f; flow queue), and InfoNCE(q; k^f; flow queue) + InfoNCE(q^f; k; RGB queue)."""
    rgb_queue, flow_queue = negatives(model)
    tau = model.config.method.temperature
    return {
        "flow": contrast(flow.q, flow.k, directions, flow_queue, tau),
        "cross": contrast(rgb.q, flow.k, directions, flow_queue, tau)
        + contrast(flow.q, rgb.k, directions, rgb_queue, tau),
    }


def local_term(
    model: Method, rgb: Sides, flow: Sides, rotated: Sides | None, directions: Sequence[tuple[int, int]]
) -> tuple[float, float]:
    """LMCL and its accuracy; the neck is trusted, see test_neck.py."""
    neck, losses, hits = motion_of(model).neck, [], []
    assert neck is not None
    for i, _ in directions:
        maps = tuple(torch.tensor(m, dtype=torch.float32) for m in rgb.maps[i])
        with torch.no_grad():
            steps = neck(maps).double().numpy()  # type: ignore[arg-type]
        turned = None if rotated is None else rotated.maps[i][-1]
        logits = reference.local_motion_logits(steps, flow.maps[i][-1], turned, model.config.mscl.temperature)
        losses.append(
            reference.local_motion_loss(steps, flow.maps[i][-1], turned, model.config.mscl.temperature)
        )
        hits += [int(row.argmax()) == place % steps.shape[2] for place, row in enumerate(logits)]
    return sum(losses) / len(losses), sum(hits) / len(hits)


def assert_terms(losses: Losses, expected: Mapping[str, float]) -> None:
    found = values_of(losses)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=2e-4), name


@pytest.mark.parametrize(("symmetric", "neck"), [(False, "pyramid"), (True, "linear")])
def test_every_term_is_the_formula_on_the_encoders_outputs(symmetric: bool, neck: str) -> None:
    model = build(mscl(symmetric=symmetric, neck=neck))
    directions = BOTH_WAYS if symmetric else ONE_WAY
    rgb, branch = sides(model.rgb, seen().rgb), branch_of(model)
    flow, turned = (sides(branch, inputs(rotated=rotated)) for rotated in (False, True))
    expected = {"instance": contrast(rgb.q, rgb.k, directions, negatives(model)[0], 0.2)}
    expected |= clip_terms(model, rgb, flow, directions)
    expected |= {f"{k}_rotated": v for k, v in clip_terms(model, rgb, turned, directions).items()}
    expected["local"], accuracy = local_term(model, rgb, flow, turned, directions)
    remembered = {"rgb": rgb.k, "flow": flow.k}
    losses: Losses = model(seen())
    assert_terms(losses, expected)
    assert len({round(value, 4) for value in expected.values()}) == 6
    assert float(losses.total.detach()) == pytest.approx(sum(expected.values()), rel=2e-4)
    assert float(losses.figures["local_accuracy"]) == pytest.approx(accuracy)
    np.testing.assert_allclose(losses.embedding.numpy(), rgb.q[0], atol=1e-5)
    # The keys of both branches are remembered, those of rotated flow are not.
    assert [queue for queue, _ in losses.remember] == [model.rgb.queue, branch.queue]
    for (_, keys), side in zip(losses.remember, remembered.values(), strict=True):
        expected_keys = np.concatenate([side[j] for _, j in directions])
        np.testing.assert_allclose(keys.numpy(), expected_keys, atol=1e-5)
        assert not keys.requires_grad


@pytest.mark.parametrize("rotated_steps", [False, True])
def test_steps_of_rotated_flow_are_negatives_where_that_is_asked_for(rotated_steps: bool) -> None:
    model = build(mscl(Terms(instance=0, local=1), rotated_steps=rotated_steps))
    rgb = sides(model.rgb, seen().rgb)
    flow, turned = (
        Sides({i: stages(encoder_of(model), clip) for i, clip in enumerate(inputs(rotated=rotated))}, {}, {})
        for rotated in (False, True)
    )
    expected = {on: local_term(model, rgb, flow, turned if on else None, ONE_WAY)[0] for on in (False, True)}
    assert expected[True] > expected[False] + 0.1
    assert_terms(model(seen()), {"local": expected[rotated_steps]})


def test_the_rotated_steps_ablation_keeps_rotation_at_clip_level() -> None:
    on, off = build(mscl()), build(mscl(rotated_steps=False))
    one, other = values_of(on(seen())), values_of(off(seen()))
    assert {name for name in one if one[name] != other[name]} == {"local"}


def test_branch_and_queues_have_the_configured_temperatures() -> None:
    """The local term has its own; see also the formulas above, where the two differ."""
    cold = replace(SMALL_MSCL, temperature=0.05)
    one, other = build(mscl()), build(replace(mscl(), mscl=cold))
    before, after = values_of(one(seen())), values_of(other(seen()))
    assert {name for name in before if before[name] != after[name]} == {"local"}


TERMS = {
    "instance": (Terms(), {"instance"}),
    "flow": (Terms(instance=0, flow=1), {"flow"}),
    "cross": (Terms(instance=0, cross=1), {"cross"}),
    "local": (Terms(instance=0, local=1), {"local"}),
    "flow rotated": (Terms(flow=1, rotated=1), {"instance", "flow", "flow_rotated"}),
    "cross rotated": (Terms(instance=0, cross=1, rotated=1), {"cross", "cross_rotated"}),
    "two branches": (Terms(flow=1, cross=1), {"instance", "flow", "cross"}),
    "with steps": (Terms(flow=1, cross=1, local=1), {"instance", "flow", "cross", "local"}),
    "all": (ALL, {"instance", "flow", "flow_rotated", "cross", "cross_rotated", "local"}),
}


@pytest.mark.parametrize(("terms", "expected"), TERMS.values(), ids=TERMS)
def test_a_weight_of_zero_leaves_out_the_term_and_what_only_it_needs(
    terms: Terms, expected: set[str]
) -> None:
    model, whole = build(mscl(terms)), values_of(build(mscl())(seen()))
    losses: Losses = model(seen())
    assert set(losses.terms) == expected
    assert set(losses.weights) == expected
    # What remains is what it was: the same weights, the same clips, and each view in a pass of its own.
    with_steps = {"local"} if "local" in expected else set()
    for name in expected - with_steps:
        assert values_of(losses)[name] == pytest.approx(whole[name], rel=1e-5), name
    assert (model.mscl is not None) == terms.mscl
    assert set(losses.figures) == {f"{name}_accuracy" for name in with_steps}
    queues = [model.rgb.queue]
    if model.mscl is not None:
        branch = model.mscl.branch
        assert (model.mscl.neck is not None) == bool(terms.local)
        views = 1 + bool(terms.rotated or terms.local)
        assert passes(encoder_of(model)) == {views}
        assert (branch is not None) == bool(terms.flow or terms.cross)
        if branch is not None:
            assert passes(branch.key_encoder) == {1 + bool(terms.rotated)}
            queues.append(branch.queue)
    assert [queue for queue, _ in losses.remember] == queues


def test_without_rotation_the_flow_is_seen_once() -> None:
    model = build(mscl(Terms(flow=1, cross=1, local=1), rotated_steps=False))
    model(seen())
    assert passes(branch_of(model).encoder) == {1}
    assert passes(branch_of(model).key_encoder) == {1}
    assert passes(model.rgb.encoder) == {1}


def test_original_and_rotated_flow_gather_statistics_in_passes_of_their_own() -> None:
    model = build(mscl())
    branch = branch_of(model)
    before = {side: weights_of(getattr(branch, side).stem[1]) for side in ("encoder", "key_encoder")}
    raw = {
        (side, rotated): np.moveaxis(_stem(getattr(branch, side), painted(clip, rotated=rotated)), 1, -1)
        for side, clip in (("encoder", 0), ("key_encoder", 1))
        for rotated in (False, True)
    }
    model(seen())
    for side, state in before.items():
        mean, variance = state["running_mean"], state["running_var"]
        for rotated in (False, True):
            pixels = raw[side, rotated].reshape(-1, 4)
            mean = 0.9 * mean + 0.1 * pixels.mean(0)
            variance = 0.9 * variance + 0.1 * pixels.var(0, ddof=1)
        norm = getattr(branch, side).stem[1]
        assert int(norm.num_batches_tracked) == 2
        np.testing.assert_allclose(norm.running_mean.numpy(), mean, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(norm.running_var.numpy(), variance, rtol=1e-4)


def _stem(encoder: Any, clip: Tensor) -> np.ndarray:
    """What the first batch norm is given."""
    with torch.no_grad():
        weight = encoder.stem[0].weight.double()
        return torch.nn.functional.conv3d(clip, weight, None, (1, 2, 2), (0, 3, 3)).numpy()


def test_total_is_the_weighted_sum_and_rotation_multiplies() -> None:
    weighted = build(mscl(Terms(instance=0.5, flow=2, cross=3, rotated=0.25, local=0.7)))
    losses: Losses = weighted(seen())
    found = values_of(losses)
    assert found == pytest.approx(values_of(build(mscl())(seen())), rel=1e-5)
    expected = 0.5 * found["instance"] + 2 * found["flow"] + 3 * found["cross"] + 0.7 * found["local"]
    expected += 0.25 * (2 * found["flow_rotated"] + 3 * found["cross_rotated"])
    assert float(losses.total.detach()) == pytest.approx(expected, rel=1e-5)


def test_all_frames_of_flow_are_as_good_as_every_second() -> None:
    """FIMA's keys need all frames where they are made of flow, the loader then delivers them."""
    every = clips(configured())
    assert every.flow[0].shape[2] == 8
    assert values_of(build(mscl())(every)) == values_of(build(mscl())(seen()))


def test_every_step_of_the_clip_meets_its_own_step_of_the_flow() -> None:
    """A clip of 8 frames has 4 steps: the accuracy comes in quarters, the loss starts near log 8."""
    model = build(mscl(Terms(instance=0, local=1)))
    losses: Losses = model(seen())
    flow = encoder_of(model).stages(painted(0, rotated=False).float())[-1]
    assert flow.shape[2] == 4
    twelfths = 12 * float(losses.figures["local_accuracy"])  # 3 videos with 4 steps each
    assert twelfths == pytest.approx(round(twelfths), abs=1e-5)


@pytest.mark.parametrize("symmetric", [False, True])
def test_frame_differences_can_stand_for_flow(symmetric: bool) -> None:
    terms = Terms(flow=1, cross=1, local=1)
    model = build(mscl(terms, symmetric=symmetric, motion="difference", rotated_steps=False))
    directions = BOTH_WAYS if symmetric else ONE_WAY
    rgb = sides(model.rgb, seen().rgb)
    difference = sides(branch_of(model), [clip[:, :, ::2] for clip in seen().difference])
    expected = {"instance": contrast(rgb.q, rgb.k, directions, negatives(model)[0], 0.2)}
    expected |= clip_terms(model, rgb, difference, directions)
    expected["local"], _ = local_term(model, rgb, difference, None, directions)
    assert_terms(model(replace(seen(), flow=(), angles=())), expected)


@pytest.mark.parametrize("symmetric", [False, True])
def test_gradient_reaches_all_query_sides_and_no_key_side(symmetric: bool) -> None:
    model = build(mscl(symmetric=symmetric))
    losses: Losses = model(seen())
    losses.total.backward()  # type: ignore[no-untyped-call]
    assert_only_query_sides_learn(model)
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {"rgb", "mscl"}


@pytest.mark.parametrize(
    ("term", "reached"),
    [
        ("flow", {"mscl.branch.encoder", "mscl.branch.projector"}),
        ("cross", {"rgb.encoder", "rgb.projector", "mscl.branch.encoder", "mscl.branch.projector"}),
        ("local", {"rgb.encoder", "mscl.neck", "mscl.branch.encoder"}),
    ],
)
def test_what_a_term_trains(term: str, reached: set[str]) -> None:
    model = build(mscl())
    losses: Losses = model(seen())
    losses.terms[term].backward()  # type: ignore[no-untyped-call]
    touched = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    parts = {".".join(name.split(".")[: 3 if name.startswith("mscl.branch") else 2]) for name in touched}
    assert parts == reached


@pytest.mark.parametrize("symmetric", [False, True])
def test_forward_changes_nothing_but_batch_norm_statistics(symmetric: bool) -> None:
    model = build(mscl(symmetric=symmetric, damping=0.9))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    given = [tensor.clone() for tensor in (*seen().rgb, *seen().flow)]
    losses: Losses = model(seen())
    losses.total.backward()  # type: ignore[no-untyped-call]
    for name, value in model.state_dict().items():
        statistic = name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        assert torch.equal(value, before[name]) != statistic, name
    assert all(torch.equal(a, b) for a, b in zip((*seen().rgb, *seen().flow), given, strict=True))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_losses_and_gradients_stay_finite_at_a_low_temperature(precision: Any) -> None:
    config = mscl(symmetric=True, temperature=0.01)
    model = build(replace(config, method=replace(config.method, temperature=0.01)))
    guard_bf16(model, seen().rgb[0], lambda _: model(seen()))
    with autocast(torch.device("cpu"), precision):
        losses: Losses = model(seen())
    losses.total.backward()  # type: ignore[no-untyped-call]
    assert all(torch.isfinite(term) and term.dtype == torch.float32 for term in losses.terms.values())
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


def test_advance_remembers_each_branchs_keys_in_its_own_queue() -> None:
    model = build(mscl(symmetric=True))
    losses: Losses = model(seen())
    (_, rgb), (_, flow) = losses.remember
    expected = rgb.clone(), flow.clone()
    model.advance(losses, 0, 10)
    torch.testing.assert_close(model.rgb.queue.keys[:, :6], expected[0].T)
    torch.testing.assert_close(branch_of(model).queue.keys[:, :6], expected[1].T)


def test_both_queues_fade() -> None:
    """Damped queues give shorter negatives to every term that reads them; the local term reads none."""
    plain, faded = build(mscl()), build(mscl(damping=0.5))
    for model in (plain, faded):
        for queue in (model.rgb.queue, branch_of(model).queue):
            queue.push(torch.zeros(0, CONTRAST.dim))  # a step, and no new key
    one, other = values_of(plain(seen())), values_of(faded(seen()))
    assert {name for name in one if one[name] != pytest.approx(other[name], rel=1e-4)} == set(one) - {"local"}


def test_the_linear_neck_is_built_where_asked_for() -> None:
    assert isinstance(motion_of(build(mscl(neck="linear"))).neck, LinearNeck)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_features_with_more_steps_than_the_flow_are_averaged(steps: int) -> None:
    maps = noise(2, 3, 4, 5, 6)
    got = at_steps(maps, steps)
    expected = torch.stack([part.mean(2) for part in maps.chunk(steps, dim=2)], dim=2)
    torch.testing.assert_close(got, expected)
    with pytest.raises(ValueError, match="4 steps of RGB features cannot meet 5 steps of flow"):
        at_steps(maps, 5)
