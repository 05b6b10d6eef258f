import math

import numpy as np
import pytest
import torch

from kinevec.methods.mscl.losses import (
    local_motion_accuracy,
    local_motion_logits,
    local_motion_loss,
    local_motion_loss_of,
)
from reference import golden
from reference import mscl as oracle


def features(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def triple(n: int, d: int, t: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """RGB, flow and rotated flow features with different space."""
    return features(n, d, t, 5, 4, seed=1), features(n, d, t, 2, 3, seed=2), features(n, d, t, 2, 3, seed=3)


def one_hot_steps(t: int) -> torch.Tensor:
    """Two clips whose T steps have orthogonal features: (2, D, T, 1, 1)."""
    return torch.eye(t, dtype=torch.float64).view(1, t, t, 1, 1).repeat(2, 1, 1, 1, 1)


@pytest.mark.parametrize("steps", [4, 1, 3, 7])
@pytest.mark.parametrize("with_rotated", [True, False])
def test_equals_the_oracle(steps, with_rotated):
    rgb, flow, rotated = triple(3, 6, steps)
    views = [x.numpy() if x is not None else None for x in (rgb, flow, rotated if with_rotated else None)]
    tensors = (rgb, flow, rotated if with_rotated else None)
    logits = local_motion_logits(*tensors, temperature=0.2)
    np.testing.assert_allclose(logits, oracle.local_motion_logits(*views, 0.2), atol=1e-12)
    loss = oracle.local_motion_loss(*views, 0.2)
    assert local_motion_loss(*tensors, temperature=0.2).item() == pytest.approx(loss, rel=1e-12)
    assert local_motion_loss_of(logits, steps).item() == pytest.approx(loss, rel=1e-12)


def test_default_temperature_is_the_papers():
    views = triple(2, 6, 4)
    expected = oracle.local_motion_loss(*(x.numpy() for x in views), 0.07)
    assert local_motion_loss(*views).item() == pytest.approx(expected, rel=1e-12)
    assert torch.equal(local_motion_logits(*views), local_motion_logits(*views, temperature=0.07))


def test_equals_the_released_code():
    arrays = golden("mscl_local_loss_0")
    rgb, flow, rotated = (
        torch.from_numpy(arrays[k]).requires_grad_() for k in ("rgb", "flow", "rotated_flow")
    )
    temperature = float(arrays["temperature"])
    logits = local_motion_logits(rgb, flow, rotated, temperature)
    np.testing.assert_allclose(logits.detach(), arrays["logits"], atol=5e-6)
    loss = local_motion_loss(rgb, flow, rotated, temperature)
    assert loss.item() == pytest.approx(float(arrays["loss"]), rel=1e-6)
    loss.backward()
    for tensor, key in ((rgb, "grad_rgb"), (flow, "grad_flow"), (rotated, "grad_rotated_flow")):
        np.testing.assert_allclose(tensor.grad, arrays[key], atol=1e-7)
    hits = arrays["logits"].argmax(axis=1) == arrays["labels"]
    assert local_motion_accuracy(logits, steps=4).item() == pytest.approx(hits.mean())


def test_gradients_equal_finite_differences_of_the_oracle():
    views = [x.requires_grad_() for x in triple(2, 4, 3)]
    local_motion_loss(*views, temperature=0.5).backward()
    arrays, h = [x.detach().numpy() for x in views], 1e-5
    for seed in range(3):
        ways = [features(*x.shape, seed=10 * seed + k).numpy() for k, x in enumerate(views)]
        ahead = oracle.local_motion_loss(*(x + h * way for x, way in zip(arrays, ways, strict=True)), 0.5)
        behind = oracle.local_motion_loss(*(x - h * way for x, way in zip(arrays, ways, strict=True)), 0.5)
        slope = sum(float((x.grad.numpy() * way).sum()) for x, way in zip(views, ways, strict=True))
        assert slope == pytest.approx((ahead - behind) / (2 * h), rel=1e-6)


def test_is_least_when_time_orders_match():
    steps = one_hot_steps(5)
    far = -steps.roll(1, dims=1)
    ordered = local_motion_loss(steps, steps, far)
    # Positive 1/τ against nine negatives: eight of 0, and −1/τ for one step of the rotated flow.
    expected = math.log1p((8 + math.exp(-1 / 0.07)) * math.exp(-1 / 0.07))
    assert ordered.item() == pytest.approx(expected, rel=1e-9)


def test_rises_with_each_step_out_of_order():
    steps = one_hot_steps(4)
    orders = [[0, 1, 2, 3], [1, 0, 2, 3], [1, 2, 0, 3], [1, 2, 3, 0]]
    losses = [local_motion_loss(steps, steps[:, :, order], None).item() for order in orders]
    assert losses == sorted(losses)
    assert len(set(losses)) == 4
    accuracies = [
        local_motion_accuracy(local_motion_logits(steps, steps[:, :, order], None), steps=4).item()
        for order in orders
    ]
    assert accuracies == [1.0, 0.5, 0.25, 0.0]


def test_is_equal_for_clips_in_another_order():
    rgb, flow, rotated = triple(4, 6, 3)
    order = torch.tensor([2, 0, 3, 1])
    loss = local_motion_loss(rgb, flow, rotated)
    torch.testing.assert_close(local_motion_loss(rgb[order], flow[order], rotated[order]), loss)


def test_other_clips_are_no_negatives():
    rgb, flow, rotated = triple(2, 6, 3)
    alone = [local_motion_loss(rgb[n : n + 1], flow[n : n + 1], rotated[n : n + 1]) for n in range(2)]
    torch.testing.assert_close(local_motion_loss(rgb, flow, rotated), (alone[0] + alone[1]) / 2)


def test_ignores_the_length_of_features():
    rgb, flow, rotated = triple(2, 6, 4)
    loss = local_motion_loss(rgb, flow, rotated)
    torch.testing.assert_close(local_motion_loss(3 * rgb, 0.1 * flow, 7 * rotated), loss)


def test_a_rotated_flow_adds_negatives():
    rgb, flow, rotated = triple(2, 6, 4)
    assert local_motion_loss(rgb, flow, rotated) > local_motion_loss(rgb, flow, None)
    # A rotated flow that cannot be told from the flow itself leaves every step with an equal rival.
    doubled = local_motion_loss(rgb, flow, flow)
    torch.testing.assert_close(doubled, local_motion_loss(rgb, flow, None) + math.log(2))


def test_a_tie_is_not_a_win():
    rgb, flow, _ = triple(2, 6, 4)
    assert local_motion_accuracy(local_motion_logits(rgb, flow, flow), steps=4) == 0
    assert local_motion_accuracy(torch.zeros(8, 8), steps=4) == 0


@pytest.mark.parametrize("zero", [0, 1, 2])
def test_features_of_zero_stay_finite(zero):
    views = [x.float() for x in triple(2, 6, 4)]
    views[zero] = torch.zeros_like(views[zero])
    views = [x.requires_grad_() for x in views]
    loss = local_motion_loss(*views)
    loss.backward()
    assert loss.isfinite()
    assert all(x.grad.isfinite().all() and x.grad.abs().max() < 1e8 for x in views)


def test_all_zero_is_chance():
    zero = torch.zeros(2, 6, 4, 3, 3)
    assert local_motion_loss(zero, zero, zero).item() == pytest.approx(math.log(8))
    assert local_motion_loss(zero, zero, None).item() == pytest.approx(math.log(4))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    views = [(30 * x).to(dtype) for x in triple(2, 16, 4)]
    expected = local_motion_loss(*(x.float() for x in views))
    assert torch.equal(local_motion_loss(*views), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = local_motion_loss(*views)
        logits = local_motion_logits(*views)
    assert inside.dtype == logits.dtype == torch.float32
    assert torch.equal(inside, expected)


@pytest.mark.parametrize(
    ("rgb", "flow", "rotated"),
    [
        ((2, 6, 4, 3, 3), (2, 6, 3, 3, 3), None),
        ((2, 6, 4, 3, 3), (2, 6, 4, 3, 3), (1, 6, 4, 3, 3)),
        ((2, 6, 4, 3, 3), (2, 5, 4, 3, 3), None),
        ((2, 6, 4), (2, 6, 4), None),
    ],
)
def test_refuses_features_that_do_not_agree(rgb, flow, rotated):
    with pytest.raises(ValueError, match=r"must agree in \(N, D, T, ·, ·\), got .*2, 6, 4"):
        local_motion_loss(
            torch.zeros(rgb), torch.zeros(flow), None if rotated is None else torch.zeros(rotated)
        )
