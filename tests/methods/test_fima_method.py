"""FIMA's terms from the encoders' outputs, and what a step reads, remembers and leaves alone."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kinevec.config import Config, Fima, Terms
from kinevec.errors import ConfigError
from kinevec.methods.fima.alignment import MotionAlignment, project_cells
from kinevec.methods.method import Losses, Method
from kinevec.models.guard import guard_bf16
from kinevec.runtime import autocast
from kinevec.views.pipeline import Clips, paint_flow
from method_steps import (
    CONTRAST,
    SMALL_FIMA,
    build,
    clips,
    configured,
    features,
    noise,
    passes,
    taken,
)
from method_steps import values as values_of
from method_steps import weights as weights_of
from reference.steps import FimaStep, contrast, pooled, project
from reference.steps import project_cells as reference_cells

ALL = Terms(instance=1, vanilla=1, pixel=1, frame=1)
CELLS = (64, 48)  # pixels, of which the tiny encoder makes 4 × 3 cells


def fima(
    terms: Terms = ALL, *, centred: bool = False, damping: float = 1.0, frames: int = 8, **changes: Any
) -> Config:
    contrast = replace(CONTRAST, symmetric=True, centred=centred, damping=damping)
    settings = replace(SMALL_FIMA, **changes)
    plain = configured(terms, contrast)
    clip = replace(plain.clip, frames=frames, stride=max(plain.clip.stride, settings.steps))
    return replace(plain, clip=clip, fima=settings)


def alignment_of(model: Method) -> MotionAlignment:
    assert model.fima is not None
    return model.fima


def step_of(model: Method, seen: Clips) -> FimaStep:
    """What the oracle reads: feature maps by copies of the encoders, every clip in a pass of its own."""
    settings, branch = model.config.fima, model.rgb
    decoder = alignment_of(model).decoder
    motion, local = list(seen.difference), [list(part) for part in seen.local]
    if settings.motion == "flow":
        motion = [paint_flow(flow, model.config.views) for flow in seen.flow]
        local = [[paint_flow(flow, model.config.views) for flow in part] for part in seen.local]
    return FimaStep(
        query=[features(branch.encoder, clip) for clip in seen.rgb],
        key=[features(branch.key_encoder, clip) for clip in seen.rgb],
        motion=[features(branch.key_encoder, clip) for clip in motion],
        local=[[features(branch.key_encoder, clip) for clip in part] for part in local],
        projector=weights_of(branch.projector),
        key_projector=weights_of(branch.key_projector),
        decoder=None if decoder is None else weights_of(decoder),
        boxes=[box.double().numpy() for box in seen.boxes],
        temperature=settings.temperature,
        radius=settings.positive_radius,
        foreground=settings.foreground,
        layers=settings.layers,
        heads=settings.heads,
    )


def keys_of(queue: Any) -> np.ndarray | None:
    return None if queue is None else queue.keys.double().numpy()


def expected_terms(model: Method, seen: Clips) -> dict[str, float]:
    step, parts, terms = step_of(model, seen), alignment_of(model), model.config.terms
    expected = {}
    if terms.instance:
        queries = {i: project(step.projector, pooled(m)) for i, m in enumerate(step.query)}
        keys = dict(enumerate(step.vectors(step.key)))
        tau = model.config.method.temperature
        expected["instance"] = contrast(queries, keys, ((0, 1), (1, 0)), keys_of(model.rgb.queue), tau)
    if terms.vanilla:
        expected["vanilla"] = step.vanilla(keys_of(parts.vanilla_queue))
    if terms.pixel:
        expected["pixel"] = step.pixel(keys_of(parts.dense_queue))
    if terms.frame:
        expected["frame"] = step.frame(keys_of(parts.local_queue))
    return expected


def assert_terms(losses: Losses, expected: Mapping[str, float]) -> None:
    found = values_of(losses)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert value > 0
        assert found[name] == pytest.approx(value, rel=2e-4), name


STEPS = {
    "as published": ({}, 8),
    "centred": ({"centred": True}, 8),
    "without queues": ({"dense_queue": 0, "local_queue": 0}, 8),
    "without foreground": ({"foreground": False, "positive_radius": 1.1}, 8),
    "another decoder": ({"layers": 1, "heads": 4, "width": 16, "feedforward": 5}, 8),
    "one time step": ({"steps": 1}, 4),
    "four time steps": ({"steps": 4, "layers": 1}, 16),
    "made of flow": ({"motion": "flow"}, 8),
}


@pytest.mark.parametrize(("changes", "frames"), STEPS.values(), ids=STEPS)
def test_every_term_is_the_formula_on_the_encoders_outputs(changes: dict[str, Any], frames: int) -> None:
    model = build(fima(frames=frames, **changes))
    seen = clips(model.config, 2, size=CELLS if frames == 8 else (32, 48), frames=frames)
    expected = expected_terms(model, seen)
    losses: Losses = model(seen)
    assert_terms(losses, expected)
    assert len({round(value, 4) for value in expected.values()}) == 4
    assert float(losses.total.detach()) == pytest.approx(sum(expected.values()), rel=2e-4)


@pytest.mark.parametrize("foreground", [False, True])
def test_without_decoder_a_clips_own_cells_are_compared(foreground: bool) -> None:
    model = build(fima(Terms(pixel=1), decoder=False, foreground=foreground))
    assert alignment_of(model).decoder is None
    seen = clips(model.config, 2, size=CELLS)
    assert_terms(model(seen), expected_terms(model, seen))


# The paper's rows, in its order.
ROWS: dict[str, tuple[Terms, dict[str, Any], set[str]]] = {
    "MoCo": (Terms(), {}, {"instance"}),
    "+ L_VD": (Terms(vanilla=1), {}, {"instance", "vanilla"}),
    "+ L_pix": (Terms(pixel=1), {"decoder": False, "foreground": False}, {"instance", "pixel"}),
    "+ decoder": (Terms(pixel=1), {"foreground": False}, {"instance", "pixel"}),
    "+ foreground": (Terms(pixel=1), {}, {"instance", "pixel"}),
    "+ L_frame": (Terms(pixel=1, frame=1), {}, {"instance", "pixel", "frame"}),
    "L_frame alone": (Terms(instance=0, frame=1), {}, {"frame"}),
}


@pytest.mark.parametrize(("terms", "changes", "expected"), ROWS.values(), ids=ROWS)
def test_a_row_has_its_terms_and_what_they_need(
    terms: Terms, changes: dict[str, Any], expected: set[str]
) -> None:
    model = build(fima(terms, **changes))
    seen = clips(model.config)
    if not terms.frame:
        seen = replace(seen, local=())
    losses: Losses = model(seen)
    assert set(losses.terms) == set(losses.weights) == expected
    assert (model.fima is not None) == terms.fima
    queues = [model.rgb.queue]
    motion_passes = 0
    if model.fima is not None:
        part, motion_passes = model.fima, 2 * bool(terms.vanilla or terms.pixel) + 4 * bool(terms.frame)
        assert (part.decoder is not None) == (changes.get("decoder", True) and not terms.vanilla)
        for queue, weight in [
            (part.vanilla_queue, terms.vanilla),
            (part.dense_queue, terms.pixel),
            (part.local_queue, terms.frame),
        ]:
            assert (queue is not None) == bool(weight)
            queues += [queue] if queue is not None else []
    assert [queue for queue, _ in losses.remember] == queues
    assert passes(model.rgb.encoder) == {2}
    assert passes(model.rgb.key_encoder) == {2 + motion_passes}


def test_queues_of_size_zero_are_left_out() -> None:
    part = alignment_of(build(fima(dense_queue=0, local_queue=0)))
    assert (part.dense_queue, part.local_queue) == (None, None)
    sizes = {"vanilla_queue": 5, "dense_queue": 7, "local_queue": 6}
    part = alignment_of(build(fima(**sizes)))
    assert {name: getattr(part, name).keys.shape for name in sizes} == {
        name: (CONTRAST.dim, size) for name, size in sizes.items()
    }


def test_total_is_the_weighted_sum() -> None:
    seen = clips(fima())
    weighted = build(fima(Terms(instance=0.5, vanilla=2, pixel=3, frame=0.7)))
    losses: Losses = weighted(seen)
    found = values_of(losses)
    assert found == pytest.approx(values_of(build(fima())(seen)), rel=1e-5)
    expected = 0.5 * found["instance"] + 2 * found["vanilla"] + 3 * found["pixel"] + 0.7 * found["frame"]
    assert float(losses.total.detach()) == pytest.approx(expected, rel=1e-5)


def test_each_queue_remembers_its_own_keys_after_the_step() -> None:
    """Queues longer than what a step pushes, so that the order shows too."""
    model = build(fima(vanilla_queue=40, dense_queue=100, local_queue=50))
    seen = clips(model.config, 2, size=CELLS)
    step, part = step_of(model, seen), alignment_of(model)
    cells = [
        step.dense(clip)[n, :, t, y, x]
        for clip in (0, 1)
        for n, t, y, x in np.ndindex(2, step.motion[0].shape[2], 4, 3)
    ]
    local = [keys for clip in (0, 1) for keys in step.vectors(step.local[clip])]
    expected = {
        part.vanilla_queue: np.concatenate(step.vectors(step.motion)),
        part.dense_queue: np.array(cells),
        part.local_queue: np.concatenate(local),
        model.rgb.queue: np.concatenate(step.vectors(step.key)[::-1]),
    }
    before = {queue: queue.keys.clone() for queue in expected if queue is not None}
    losses: Losses = model(seen)
    assert all(torch.equal(queue.keys, keys) for queue, keys in before.items())  # only read
    model.advance(losses, 0, 10)
    for queue, keys in expected.items():
        assert queue is not None
        count = min(len(keys), CONTRAST.queue) if queue is model.rgb.queue else len(keys)
        np.testing.assert_allclose(queue.keys.T[:count].numpy(), keys, atol=1e-5)
        assert torch.equal(queue.keys[:, count:], before[queue][:, count:])
        assert int(queue.place) == count % queue.keys.shape[1]
    assert len(cells) == 2 * 2 * 2 * 12
    assert len(np.concatenate(local)) == 2 * 2 * 2


def test_all_queues_fade() -> None:
    plain, faded = build(fima()), build(fima(damping=0.5))
    seen = clips(plain.config)
    for model in (plain, faded):
        part = alignment_of(model)
        for queue in (model.rgb.queue, part.vanilla_queue, part.dense_queue, part.local_queue):
            assert queue is not None
            queue.push(torch.zeros(0, CONTRAST.dim))  # a step, and no new key
    one, other = values_of(plain(seen)), values_of(faded(seen))
    assert all(one[name] != pytest.approx(other[name], rel=1e-4) for name in one)


@pytest.mark.parametrize(("frames", "steps"), [(4, 1), (16, 4)])
def test_another_number_of_time_steps_is_an_error_that_names_it(frames: int, steps: int) -> None:
    with pytest.raises(ConfigError) as caught:
        Method(fima(frames=frames))
    assert str(caught.value) == (
        f"fima.steps is 2, but the encoder tiny gives {steps} time steps for clips of {frames} frames; "
        f"set fima.steps={steps}"
    )


@pytest.mark.parametrize("decoder", [False, True])
def test_gradient_reaches_encoder_projector_and_decoder_and_no_key_side(decoder: bool) -> None:
    terms = Terms(instance=0, pixel=1, frame=float(decoder))
    model = build(fima(terms, decoder=decoder, centred=True))
    losses: Losses = model(clips(model.config, 2))
    losses.total.backward()  # type: ignore[no-untyped-call]
    assert any(name.startswith("fima.decoder") for name, _ in model.named_parameters()) == decoder
    for name, parameter in model.named_parameters():
        if ".key_" in name:
            assert parameter.grad is None, name
        elif name.endswith("attention.in_proj_bias"):  # the softmax does not feel the keys' bias
            assert parameter.grad is not None
            query, _, value = parameter.grad.chunk(3)
            assert min(float(query.abs().max()), float(value.abs().max())) > 0
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("term", ["vanilla", "pixel", "frame"])
def test_motion_clips_take_no_gradient(term: str) -> None:
    model = build(fima())
    seen = clips(model.config, 2)
    given = [*seen.difference, *seen.local[0], *seen.local[1]]
    for tensor in (*given, *seen.rgb):
        tensor.requires_grad_(True)
    losses: Losses = model(seen)
    losses.terms[term].backward()  # type: ignore[no-untyped-call]
    assert all(tensor.grad is None for tensor in given)
    assert all(tensor.grad is not None and tensor.grad.abs().max() > 0 for tensor in seen.rgb)


def test_forward_changes_nothing_but_batch_norm_statistics() -> None:
    model = build(fima(damping=0.9, centred=True))
    seen = clips(model.config, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    given = [tensor.clone() for tensor in (*seen.rgb, *seen.difference, *seen.boxes)]
    losses: Losses = model(seen)
    losses.total.backward()  # type: ignore[no-untyped-call]
    for name, value in model.state_dict().items():
        statistic = name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        assert torch.equal(value, before[name]) != statistic, name
    assert all(
        torch.equal(a, b) for a, b in zip((*seen.rgb, *seen.difference, *seen.boxes), given, strict=True)
    )


def test_the_order_of_the_batch_does_not_matter() -> None:
    seen, order = clips(fima(), 4), [2, 0, 3, 1]
    one: Losses = build(fima())(seen)
    other: Losses = build(fima())(taken(seen, order))
    assert values_of(other) == pytest.approx(values_of(one), rel=1e-4)
    torch.testing.assert_close(other.embedding, one.embedding[order], rtol=1e-3, atol=1e-4)


def test_the_clips_can_be_swapped() -> None:
    """Both directions are computed, so which clip is called the first does not matter."""
    seen = clips(fima(), 2)
    swapped = Clips(*(tuple(getattr(seen, name))[::-1] for name in Clips.__dataclass_fields__))
    assert values_of(build(fima())(swapped)) == pytest.approx(values_of(build(fima())(seen)), rel=1e-4)


def test_kinds_of_clips_do_not_share_batch_norm_statistics() -> None:
    """Other differences do not change what becomes of RGB clips, and other local clips not of differences."""
    seen = clips(fima(), 2)
    brighter = replace(seen, difference=[10 + 3 * clip for clip in seen.difference])
    one: Losses = build(fima())(seen)
    other: Losses = build(fima())(brighter)
    assert torch.equal(one.remember[0][1], other.remember[0][1])
    assert values_of(one)["instance"] == values_of(other)["instance"]
    louder = replace(seen, local=[[5 - 2 * clip for clip in part] for part in seen.local])
    third: Losses = build(fima())(louder)
    for (_, keys), (_, again) in zip(one.remember[:3], third.remember[:3], strict=True):
        assert torch.equal(keys, again)
    # A local clip's keys do not depend on the other local clips.
    changed = replace(seen, local=[[seen.local[0][0], 9 * seen.local[0][1]], seen.local[1]])
    fourth: Losses = build(fima())(changed)
    before, after = one.remember[3][1], fourth.remember[3][1]
    moved = [not torch.equal(a, b) for a, b in zip(before.chunk(4), after.chunk(4), strict=True)]
    assert moved == [False, True, False, False]


def test_kinds_of_clips_in_one_pass_are_as_if_each_went_alone() -> None:
    apart, together = (build(fima(together=value, dropout=0.0)) for value in (False, True))
    seen = clips(fima(), 3)
    first, second = values_of(apart(seen)), values_of(together(seen))
    assert first == pytest.approx(second, rel=1e-5)
    for (name, one), other in zip(apart.state_dict().items(), together.state_dict().values(), strict=True):
        if "key_projector" not in name:  # whose running statistics take the kinds in another order
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6, msg=name)


def test_a_batch_without_foreground_or_overlap_has_no_pixel_loss_but_a_gradient() -> None:
    model = build(fima(Terms(instance=0, pixel=1)))
    apart = [torch.tensor([[0.0, 0.0, 0.3, 0.3]] * 2), torch.tensor([[0.9, 0.9, 0.6, 1.0]] * 2)]
    losses: Losses = model(replace(clips(model.config, 2), boxes=apart))
    assert float(losses.total.detach()) == 0
    losses.total.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in model.rgb.encoder.parameters()]
    assert all(g is not None and not g.any() for g in gradients)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_losses_and_gradients_stay_finite_at_a_low_temperature(precision: Any) -> None:
    config = fima(temperature=0.01, centred=True)
    config = replace(config, method=replace(config.method, temperature=0.01))
    model, seen = build(config), clips(config, 3)
    guard_bf16(model.rgb.encoder, seen.rgb[0])
    with autocast(torch.device("cpu"), precision):
        losses: Losses = model(seen)
    losses.total.backward()  # type: ignore[no-untyped-call]
    assert all(torch.isfinite(term) for term in losses.terms.values())
    assert all(term.dtype == torch.float32 for term in losses.terms.values())
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name
    model.advance(losses, 0, 1)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_dropout_is_in_the_decoder_alone_and_off_in_evaluation() -> None:
    model = build(fima(dropout=0.5))
    seen = clips(model.config, 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        one, other = values_of(copy.deepcopy(model)(seen)), values_of(copy.deepcopy(model)(seen))
    assert {name for name in one if one[name] != other[name]} == {"pixel", "frame"}


def test_mscl_and_fima_go_together() -> None:
    """MSCL's local term beside FIMA's pixel term on one encoder: each is what it is alone."""
    union = fima(Terms(instance=1, local=1, pixel=1))
    seen = clips(union, 2)
    model = build(union)
    losses: Losses = model(seen)
    found = values_of(losses)
    assert set(found) == {"instance", "local", "pixel"}
    assert float(losses.total.detach()) == pytest.approx(sum(found.values()), rel=1e-6)
    assert found["pixel"] == pytest.approx(expected_terms(build(union), seen)["pixel"], rel=2e-4)
    for other in (Terms(local=1), Terms(pixel=1)):
        alone = build(replace(union, terms=other))
        for mine, theirs in ((model.mscl, alone.mscl), (model.fima, alone.fima)):
            if mine is not None and theirs is not None:
                theirs.load_state_dict(mine.state_dict())
        for name, value in values_of(alone(seen)).items():
            assert value == pytest.approx(found[name], rel=1e-4), name
    assert [queue for queue, _ in losses.remember] == [model.rgb.queue, alignment_of(model).dense_queue]
    model.advance(losses, 0, 1)


def test_mscl_takes_half_of_the_flow_that_fima_takes_whole() -> None:
    config = fima(Terms(instance=1, flow=1, vanilla=1), motion="flow")
    seen = clips(config, 2)
    found = values_of(build(config)(seen))
    halved = [flow.clone() for flow in seen.flow]
    for flow in halved:
        flow[:, :, 1::2] = flow[:, :, 1::2].flip(0)
    other = values_of(build(config)(replace(seen, flow=halved)))
    assert {name for name in found if found[name] != other[name]} == {"vanilla"}


def test_projecting_cells_is_the_projector_at_every_position() -> None:
    model = build(fima())
    maps = noise(2, 128, 3, 4, 5)
    with torch.no_grad():
        got: Tensor = project_cells(model.rgb.projector, maps)
    expected = reference_cells(weights_of(model.rgb.projector), maps.double().numpy())
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-5)


def test_defaults_are_the_papers() -> None:
    settings = Fima()
    assert (settings.motion, settings.decoder, settings.foreground, settings.steps) == (
        "difference",
        True,
        True,
        2,
    )
    assert (settings.positive_radius, settings.temperature) == (0.7, 0.1)
    assert (settings.width, settings.heads, settings.feedforward, settings.layers) == (512, 4, 512, 2)
    assert settings.dropout == 0.1
