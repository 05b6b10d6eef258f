"""FIMA's frame-level loss against float64 loops, closed forms and invariances."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from kinevec.methods.fima.losses import frame_motion_loss
from reference import fima as reference


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    values = rng.normal(size=shape)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def make_inputs(seed: int = 0, n: int = 5, channels: int = 6) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    prediction, key, other, first, second = (torch.tensor(unit(rng, n, channels)) for _ in range(5))
    return {
        "prediction": prediction,
        "key": key,
        "other_step_keys": [other],
        "other_clip_keys": [first, second],
        "queue": torch.tensor(unit(rng, 1, channels, 8)[0]),
    }


def oracle(inputs: dict[str, Any], temperature: float = 0.1) -> float:
    def array(tensor: Tensor) -> np.ndarray:
        return tensor.detach().to(torch.float64).numpy()

    negatives = [array(k) for k in (*inputs["other_step_keys"], *inputs["other_clip_keys"])]
    queue = None if inputs["queue"] is None else array(inputs["queue"])
    return reference.frame_motion_loss(
        array(inputs["prediction"]), array(inputs["key"]), negatives, temperature, queue
    )


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("with_queue", [True, False])
def test_loops(steps: int, with_queue: bool) -> None:
    inputs = make_inputs(seed=steps)
    spare = [inputs["other_clip_keys"][0].roll(i, dims=1) for i in range(6)]
    inputs["other_step_keys"], inputs["other_clip_keys"] = spare[: steps - 1], spare[steps - 1 :][:steps]
    if not with_queue:
        inputs["queue"] = None
    assert frame_motion_loss(**inputs).item() == pytest.approx(oracle(inputs), rel=1e-12)
    loss = frame_motion_loss(**inputs, temperature=0.5)
    assert loss.item() == pytest.approx(oracle(inputs, 0.5), rel=1e-12)


def test_closed_form() -> None:
    # Each prediction equals its positive; all negatives are orthogonal to it: 3·2 of the batch and 4 of the queue.
    axes = torch.eye(6, dtype=torch.float64)
    prediction, other = axes[:2], axes[2:4]
    queue = axes[:, [4, 4, 5, 5]]
    loss = frame_motion_loss(prediction, prediction, [other], [other, other], temperature=0.5, queue=queue)
    assert loss.item() == pytest.approx(math.log(1 + 10 * math.exp(-2)))


def test_other_samples_positives_are_no_negatives() -> None:
    inputs = make_inputs()
    key = inputs["key"].requires_grad_()
    prediction = inputs["prediction"].requires_grad_()
    loss = frame_motion_loss(**inputs)
    (gradient,) = torch.autograd.grad(loss, key, create_graph=True)
    # The gradient of a sample's own positive depends on that sample's prediction alone.
    (cross,) = torch.autograd.grad(gradient[0].sum(), prediction)
    assert cross[0].any()
    assert not cross[1:].any()


def test_own_negatives_count() -> None:
    inputs = make_inputs(n=1)
    inputs["queue"] = None
    for negatives in (inputs["other_step_keys"], inputs["other_clip_keys"]):
        negatives[0].requires_grad_()
    other, first = inputs["other_step_keys"][0], inputs["other_clip_keys"][0]
    gradients = torch.autograd.grad(frame_motion_loss(**inputs), [other, first])
    assert all(g.any() for g in gradients)


@pytest.mark.parametrize("temperature", [0.1, 0.01, 0.001])
def test_float32_is_stable_at_low_temperature(temperature: float) -> None:
    inputs = make_inputs()
    inputs["key"][0] = -inputs["prediction"][0]
    inputs["other_step_keys"][0][0] = inputs["prediction"][0]
    single = {k: [t.float() for t in v] if isinstance(v, list) else v.float() for k, v in inputs.items()}
    prediction = single["prediction"].requires_grad_()
    loss = frame_motion_loss(**single, temperature=temperature)
    loss.backward()
    assert loss.item() == pytest.approx(oracle(inputs, temperature), rel=1e-5)
    assert prediction.grad.isfinite().all()


def test_half_precision_features_are_worked_on_in_float32() -> None:
    half = {
        k: [t.bfloat16() for t in v] if isinstance(v, list) else v.bfloat16()
        for k, v in make_inputs().items()
    }
    loss = frame_motion_loss(**half, temperature=0.01)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = frame_motion_loss(**half, temperature=0.01)
    assert loss.dtype == inside.dtype == torch.float32
    assert loss.item() == inside.item() == pytest.approx(oracle(half, 0.01), rel=1e-5)


def test_order_of_samples_does_not_matter() -> None:
    inputs = make_inputs()
    order = torch.tensor([2, 4, 0, 3, 1])
    shuffled = {
        "prediction": inputs["prediction"][order],
        "key": inputs["key"][order],
        "other_step_keys": [k[order] for k in inputs["other_step_keys"]],
        "other_clip_keys": [k[order] for k in inputs["other_clip_keys"]],
        "queue": inputs["queue"],
    }
    torch.testing.assert_close(frame_motion_loss(**shuffled), frame_motion_loss(**inputs))


def test_shapes_that_do_not_fit() -> None:
    inputs = make_inputs()
    bad = torch.zeros(4, 6)
    for name, value in [
        ("prediction", torch.zeros(6)),
        ("key", bad),
        ("other_step_keys", [bad]),
        ("other_step_keys", bad),
        ("other_clip_keys", [inputs["key"], bad]),
        ("queue", torch.zeros(5, 3)),
    ]:
        with pytest.raises(ValueError, match=name):
            frame_motion_loss(**{**inputs, name: value})
    with pytest.raises(ValueError, match="negatives"):
        frame_motion_loss(inputs["key"], inputs["key"], [], [])


def test_empty_queue_is_no_queue() -> None:
    inputs = make_inputs()
    without = frame_motion_loss(**{**inputs, "queue": None})
    prediction = inputs["prediction"].requires_grad_()
    loss = frame_motion_loss(**{**inputs, "queue": torch.zeros(6, 0, dtype=torch.float64)})
    loss.backward()
    assert prediction.grad.isfinite().all()
    torch.testing.assert_close(loss, without, rtol=1e-14, atol=0)


def test_never_waits_for_the_device() -> None:
    # A fake tensor has no values: whatever would have to look at one (.item(), boolean indexing, `if`) fails.
    with FakeTensorMode():
        tokens = torch.randn(4, 6, requires_grad=True)
        frame_motion_loss(tokens, tokens, [tokens], [tokens, tokens], queue=torch.randn(6, 20)).backward()
