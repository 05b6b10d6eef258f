"""FIMA's pixel-level loss against float64 loops, the released code's arrays, closed forms and invariances."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from kinevec.methods.fima.losses import pixel_motion_loss
from reference import fima as reference

BOXES = [
    ("straight", [0.1, 0.2, 0.7, 0.8], [0.2, 0.1, 0.9, 0.7]),
    ("query flipped", [0.7, 0.2, 0.1, 0.8], [0.2, 0.1, 0.9, 0.7]),
    ("apart", [0.0, 0.0, 0.3, 0.4], [0.6, 0.5, 1.0, 1.0]),
    ("both flipped, other sizes", [0.9, 0.1, 0.2, 0.9], [0.6, 0.3, 0.3, 0.6]),
]


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    values = rng.normal(size=shape)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def make_inputs(seed: int = 0, channels: int = 6, size: tuple[int, int] = (4, 4)) -> dict[str, Any]:
    """One sample for each of BOXES, so that the third has no positive pair."""
    rng = np.random.default_rng(seed)
    n = len(BOXES)
    query, key, other = (unit(rng, n, channels, *size) for _ in range(3))
    box_query, box_key = (np.array([box[side] for box in BOXES]) for side in (1, 2))
    mask_query, mask_key = (rng.uniform(size=(n, *size)) < 0.7 for _ in range(2))
    arrays = [query, key, other, box_query, box_key, mask_query, mask_key]
    names = ["query", "key", "other_key", "box_query", "box_key", "mask_query", "mask_key"]
    return {name: torch.tensor(a) for name, a in zip(names, arrays, strict=True)}


def oracle(inputs: dict[str, Any], temperature: float = 0.1, radius: float = 0.7) -> float:
    array = {k: v.detach().to(torch.float64).numpy() for k, v in inputs.items() if v is not None}
    others = array.get("other_key")
    size = array["query"].shape[:1] + array["query"].shape[2:]
    if others is None:
        others = []
    elif others.ndim == 5:
        others = list(np.moveaxis(others, 2, 0))
    else:
        others = [others]
    return reference.pixel_motion_loss(
        array["query"],
        array["key"],
        others,
        array["box_query"],
        array["box_key"],
        array.get("mask_query", np.ones(size)).astype(bool),
        array.get("mask_key", np.ones(size)).astype(bool),
        temperature,
        radius,
        array.get("queue"),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", range(4))
def test_golden(golden: Path, case: int, dtype: torch.dtype) -> None:
    arrays = {k: torch.tensor(v) for k, v in np.load(golden / f"fima_pixel_loss_{case}.npz").items()}
    tensors = {k: arrays[k].to(dtype) for k in ("query", "key", "box_query", "box_key")}
    query = tensors["query"].requires_grad_()
    loss = pixel_motion_loss(
        **tensors,
        other_key=arrays["key_negative"].to(dtype),
        mask_query=arrays["mask_query"].bool(),
        mask_key=arrays["mask_key"].bool(),
        temperature=arrays["temperature"].item(),
        positive_radius=arrays["pos_ratio"].item(),
        queue=arrays["queue"].to(dtype) if "queue" in arrays else None,
    )
    loss.backward()
    torch.testing.assert_close(loss.double(), arrays["loss"], rtol=5e-7, atol=0)
    # A float32 gradient is off by rounding of its largest terms, also where the true one is zero: the golden
    # one alone when ours is float64, both of them otherwise.
    rounding = 2 * torch.finfo(torch.float32).eps * arrays["grad_query"].abs().max().item()
    atol = rounding if dtype == torch.float64 else 2 * rounding
    torch.testing.assert_close(query.grad.double(), arrays["grad_query"].double(), rtol=0, atol=atol)


@pytest.mark.parametrize("queue", [None, 9])
@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("size", [(4, 4), (3, 5)])
def test_loops(size: tuple[int, int], steps: int, queue: int | None) -> None:
    inputs = make_inputs(seed=steps, size=size)
    rng = np.random.default_rng(7)
    if steps == 1:
        inputs["other_key"] = None
    elif steps == 3:
        inputs["other_key"] = torch.stack([inputs["other_key"], torch.tensor(unit(rng, 4, 6, *size))], dim=2)
    if queue is not None:
        inputs["queue"] = torch.tensor(unit(rng, 1, 6, queue)[0])
    loss = pixel_motion_loss(**inputs, temperature=0.3, positive_radius=0.9)
    assert loss.item() == pytest.approx(oracle(inputs, temperature=0.3, radius=0.9), rel=1e-12)


def test_defaults_are_the_papers() -> None:
    inputs = make_inputs()
    wanted = oracle(inputs, temperature=0.1, radius=0.7)
    assert pixel_motion_loss(**inputs).item() == pytest.approx(wanted, rel=1e-12)


def test_gradient_by_differences_of_the_loops() -> None:
    inputs = make_inputs(size=(2, 3))
    query = inputs["query"].requires_grad_()
    pixel_motion_loss(**inputs).backward()
    for place in [(0, 0, 0, 0), (0, 5, 1, 2), (1, 3, 0, 2), (2, 1, 1, 1), (3, 2, 1, 0)]:
        step = torch.zeros_like(query)
        step[place] = 1e-5
        up, down = (oracle({**inputs, "query": query + s}) for s in (step, -step))
        assert query.grad[place].item() == pytest.approx((up - down) / 2e-5, abs=1e-8)


def test_without_masks_counts_every_cell() -> None:
    inputs = make_inputs()
    inputs["mask_query"] = inputs["mask_key"] = None
    assert pixel_motion_loss(**inputs).item() == pytest.approx(oracle(inputs), rel=1e-12)


def test_batch_without_positives_is_zero_with_a_zero_gradient() -> None:
    inputs = make_inputs()
    for background in (
        {"mask_query": torch.zeros(4, 4, 4, dtype=torch.bool)},
        {"mask_key": torch.zeros(4, 4, 4, dtype=torch.bool)},
        {"box_key": inputs["box_key"] + 5.0},
    ):
        query = inputs["query"].clone().requires_grad_()
        key = inputs["key"].clone().requires_grad_()
        loss = pixel_motion_loss(**{**inputs, **background, "query": query, "key": key})
        loss.backward()
        assert loss.item() == 0.0
        assert torch.equal(query.grad, torch.zeros_like(query))
        assert torch.equal(key.grad, torch.zeros_like(key))


def test_sample_with_a_single_cell_weighs_as_much_as_the_others() -> None:
    inputs = make_inputs()
    inputs["mask_query"][0] = False
    inputs["mask_query"][0, 2, 1] = True
    inputs["mask_key"][0] = True
    query = inputs["query"].requires_grad_()
    loss = pixel_motion_loss(**inputs)
    loss.backward()
    assert query.grad[0].any()
    assert loss.item() == pytest.approx(oracle(inputs), rel=1e-12)


def test_sample_without_positives_gets_no_gradient_and_is_still_a_negative() -> None:
    inputs = make_inputs()
    query, key = inputs["query"].requires_grad_(), inputs["key"].requires_grad_()
    pixel_motion_loss(**inputs).backward()
    assert not query.grad[2].any()
    assert query.grad[[0, 1, 3]].flatten(1).any(dim=1).all()
    assert key.grad.abs().amin() > 0


@pytest.mark.parametrize("temperature", [0.1, 0.01, 0.001])
def test_float32_is_stable_at_low_temperature(temperature: float) -> None:
    inputs = make_inputs()
    inputs["query"][0] = inputs["key"][0]  # the largest logits there can be: 1/τ
    inputs["query"][1] = -inputs["key"][1]  # all positives far below the rest
    exact = oracle(inputs, temperature=temperature)
    single = {k: v.float() if v.is_floating_point() else v for k, v in inputs.items()}
    query = single["query"].requires_grad_()
    loss = pixel_motion_loss(**single, temperature=temperature)
    loss.backward()
    assert loss.item() == pytest.approx(exact, rel=1e-5)
    assert query.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [0.1, 0.01])
def test_half_precision_features_are_worked_on_in_float32(temperature: float) -> None:
    inputs = make_inputs()
    features = ("query", "key", "other_key")
    half = {k: v.bfloat16() if k in features else v for k, v in inputs.items()}
    half["queue"] = torch.tensor(unit(np.random.default_rng(3), 1, 6, 5)[0]).bfloat16()
    single = {k: v.float() if v.is_floating_point() else v for k, v in half.items()}
    wanted = pixel_motion_loss(**single, temperature=temperature)
    loss = pixel_motion_loss(**half, temperature=temperature)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = pixel_motion_loss(**half, temperature=temperature)
    assert loss.dtype == inside.dtype == torch.float32
    assert loss.item() == inside.item() == pytest.approx(wanted.item(), rel=1e-6)
    assert wanted.item() == pytest.approx(oracle(half, temperature=temperature), rel=1e-5)


def test_order_of_samples_does_not_matter() -> None:
    inputs = make_inputs()
    order = torch.tensor([2, 0, 3, 1])
    query = inputs["query"].requires_grad_()
    loss = pixel_motion_loss(**inputs)
    (gradient,) = torch.autograd.grad(loss, query)
    shuffled = {k: v[order].detach() for k, v in inputs.items()}
    query = shuffled["query"].requires_grad_()
    again = pixel_motion_loss(**shuffled)
    (shuffled_gradient,) = torch.autograd.grad(again, query)
    torch.testing.assert_close(again, loss)
    torch.testing.assert_close(shuffled_gradient, gradient[order])


@pytest.mark.parametrize("side", ["query", "key"])
def test_mirroring_a_view_with_its_box_changes_nothing(side: str) -> None:
    inputs = make_inputs(size=(3, 4))
    mirrored = dict(inputs)
    mirrored[side] = inputs[side].flip(3)
    mirrored[f"mask_{side}"] = inputs[f"mask_{side}"].flip(2)
    mirrored[f"box_{side}"] = inputs[f"box_{side}"][:, [2, 1, 0, 3]]
    torch.testing.assert_close(pixel_motion_loss(**mirrored), pixel_motion_loss(**inputs))


def test_all_features_alike_is_the_share_of_positives() -> None:
    constant = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    box = torch.tensor([[0.0, 0.0, 1.0, 1.0]], dtype=torch.float64)
    loss = pixel_motion_loss(constant, constant, constant, box, box, None, None)
    assert loss.item() == pytest.approx(math.log(18))  # one positive of 9 + 9 keys
    queue = torch.ones(1, 2, dtype=torch.float64)
    loss = pixel_motion_loss(constant, constant, None, box, box, None, None, positive_radius=9.0, queue=queue)
    assert loss.item() == pytest.approx(math.log(11 / 9))


def test_empty_queue_is_no_queue() -> None:
    inputs = make_inputs()
    query = inputs["query"].requires_grad_()
    loss = pixel_motion_loss(**inputs, queue=torch.zeros(6, 0, dtype=torch.float64))
    loss.backward()
    assert query.grad.isfinite().all()
    torch.testing.assert_close(loss, pixel_motion_loss(**inputs), rtol=1e-14, atol=0)


class LargestTensor(TorchDispatchMode):
    """Remembers how many elements the largest tensor that any operation made has."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


def test_memory_is_one_group_of_logits() -> None:
    inputs = make_inputs(size=(4, 4))
    inputs["query"].requires_grad_()
    inputs["queue"] = torch.tensor(unit(np.random.default_rng(0), 1, 6, 500)[0])
    with LargestTensor() as largest:
        pixel_motion_loss(**inputs).backward()
    assert largest.elements == (4 * 16) * 500


def test_never_waits_for_the_device() -> None:
    # A fake tensor has no values: whatever would have to look at one (.item(), boolean indexing, `if`) fails.
    with FakeTensorMode():
        features = torch.randn(4, 6, 3, 3, requires_grad=True)
        boxes, masks = torch.rand(4, 4), torch.ones(4, 3, 3, dtype=torch.bool)
        loss = pixel_motion_loss(
            features, features, features, boxes, boxes, masks, masks, queue=torch.randn(6, 20)
        )
        loss.backward()


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("query", (4, 6, 4)),
        ("key", (4, 6, 4, 5)),
        ("other_key", (3, 6, 4, 4)),
        ("other_key", (4, 6, 2, 4, 5)),
        ("box_query", (4, 2)),
        ("box_key", (3, 4)),
        ("mask_query", (4, 4)),
        ("mask_key", (4, 16)),
        ("queue", (5, 3)),
        ("queue", (6,)),
    ],
)
def test_shapes_that_do_not_fit(name: str, shape: tuple[int, ...]) -> None:
    inputs = make_inputs()
    with pytest.raises(ValueError, match=name):
        pixel_motion_loss(**{**inputs, name: torch.zeros(shape)})
