"""Eight bits a component: how far off, and what a block of bytes gives back."""

import io

import numpy as np
import pytest

from kinevec.motion.block import Block, block_bytes
from kinevec.motion.encoding import decode, encode


def random_flow(fields: int, height: int = 5, width: int = 7) -> np.ndarray:
    rng = np.random.default_rng(fields)
    scale = 10 ** rng.uniform(-4, 3, (fields, 1, 1, 1))
    return (scale * rng.normal(size=(fields, 2, height, width))).astype(np.float32)


def test_every_component_is_off_by_half_a_step_at_most() -> None:
    flow = random_flow(200)
    codes, steps = encode(flow)
    assert codes.dtype == np.int8
    assert codes.shape == flow.shape
    largest = np.abs(flow).max((1, 2, 3))
    np.testing.assert_allclose(steps, largest / 127, rtol=1e-6)
    off = np.abs(decode(codes, steps).astype(np.float64) - flow).max((1, 2, 3))
    assert (off <= largest / 254 * (1 + 1e-5)).all()
    assert (off > largest / 400).any()  # the bound is no larger than it must be


def test_the_fastest_motion_keeps_its_size_and_sign() -> None:
    flow = np.zeros((2, 2, 3, 4), np.float32)
    flow[0, 1, 2, 3] = -8.0
    flow[1, 0, 0, 0] = 1e-30  # too little for a step
    codes, steps = encode(flow)
    assert codes[0, 1, 2, 3] == -127
    np.testing.assert_allclose(decode(codes, steps)[0], flow[0], rtol=1e-6)
    assert np.isfinite(decode(codes, steps)).all()


def test_rounds_to_the_nearest_step() -> None:
    flow = np.array([127.0, 2.4, 2.6, -2.4, -2.6, 0.0], np.float32).reshape(1, 2, 1, 3)
    assert encode(flow)[0].ravel().tolist() == [127, 2, 3, -2, -3, 0]


def test_no_motion_is_exactly_none() -> None:
    codes, steps = encode(np.zeros((3, 2, 4, 4), np.float32))
    assert steps.tolist() == [0, 0, 0]
    assert not decode(codes, steps).any()
    assert decode(codes, steps).dtype == np.float32


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_refuses_flow_that_is_not_finite(bad: float) -> None:
    flow = random_flow(3)
    flow[1, 0, 0, 0] = bad
    with pytest.raises(ValueError, match=r"\(3, 2, 5, 7\) is not finite in \[1\]"):
        encode(flow)


@pytest.mark.parametrize("shift", [0, 1, 3])
def test_a_block_gives_back_what_was_written(shift: int) -> None:
    flow = random_flow(6, 5, 7)
    codes, steps = encode(flow)
    change = np.arange(6, dtype=np.float32)
    buffer = io.BytesIO()
    buffer.write(bytes(shift) + codes.tobytes() + steps.tobytes() + change.tobytes())
    data = np.frombuffer(buffer.getvalue(), np.uint8)[shift:]
    assert len(data) == block_bytes(6, 5, 7) == 6 * (2 * 5 * 7 + 8)
    block = Block.of(data, 5, 7)
    assert block.codes.base is not None  # a view: nothing is read before it is asked for
    numbers = [5, 0, 3, 3, 6, 99]  # the last field stays
    np.testing.assert_array_equal(block.read(numbers), decode(codes, steps)[[5, 0, 3, 3, 5, 5]])
    assert block.change_of(8).tolist() == [0, 1, 2, 3, 4, 4, 4, 4]  # of the last field none is known


def test_change_that_was_not_measured_is_not_given() -> None:
    block = Block(*encode(random_flow(2)), np.full(2, np.nan, np.float32))
    with pytest.raises(ValueError, match="was not measured: build with scores=True"):
        block.change_of(2)
