import numpy as np
import pytest
import torch

from kinevec.motion import statistics
from kinevec.motion.statistics import color_differential, motion_energy
from reference import golden
from reference import motion as oracle


def random_flow(frames: int, height: int, width: int) -> np.ndarray:
    """Flow (T, 2, H, W) that is stronger in some blocks than in others."""
    rng = np.random.default_rng(frames * height + width)
    strength = rng.uniform(0.1, 4, (frames, 1, -(-height // 14), -(-width // 14)))
    strength = strength.repeat(14, axis=2).repeat(14, axis=3)[:, :, :height, :width]
    return (strength * rng.normal(size=(frames, 2, height, width))).astype(np.float32)


def channels_last(flow: np.ndarray) -> np.ndarray:
    return flow.astype(np.float64).transpose(0, 2, 3, 1)


@pytest.mark.parametrize("shape", [(3, 7, 5), (1, 1, 1), (2, 56, 84)])
def test_energy_equals_the_oracle(shape):
    flow = random_flow(*shape)
    np.testing.assert_allclose(
        motion_energy(flow), oracle.motion_energy(channels_last(flow)).mean((1, 2)), rtol=1e-5
    )


# 80×50: sides that blocks of 28 do not divide; 9×20: frames smaller than a block; 293 and 295: the nearest
# number of blocks is 10 and 11, which no other block size gives for both.
@pytest.mark.parametrize(
    "shape",
    [(3, 56, 84), (3, 80, 50), (2, 9, 20), (2, 20, 9), (1, 28, 28), (2, 293, 6), (2, 6, 293), (2, 295, 6)],
)
def test_differential_equals_the_oracle(shape):
    flow = random_flow(*shape)
    expected = oracle.color_differential(channels_last(flow))
    np.testing.assert_allclose(color_differential(flow), expected, rtol=1e-4, atol=1e-6)


def test_energy_equals_the_released_code():
    arrays = golden("mscl_motion_sampling_0")
    energy = motion_energy(arrays["flow"].transpose(0, 3, 1, 2))
    np.testing.assert_allclose(energy, arrays["motion_map_mean"], rtol=1e-5)


def test_differential_equals_the_released_code_up_to_its_rounding():
    arrays = golden("mscl_motion_sampling_0")
    flow, theirs = arrays["flow"].transpose(0, 3, 1, 2), arrays["color_difference_mean"]
    # The released code rounds colours down to whole levels. With that rounding the oracle agrees with it ...
    some = arrays["flow"][:6].astype(np.float64)
    np.testing.assert_allclose(oracle.color_differential(some, quantised=True)[:5], theirs[:5], rtol=1e-5)
    # ... and without, the oracle agrees with ours, which is within a fraction of a level of theirs.
    ours = color_differential(flow)
    np.testing.assert_allclose(ours[:5], oracle.color_differential(some)[:5], rtol=1e-5)
    np.testing.assert_allclose(ours, theirs, atol=0.15)


@pytest.mark.parametrize("score", [motion_energy, color_differential])
def test_chunks_do_not_show(score, monkeypatch):
    flow = random_flow(9, 30, 30)
    whole = score(flow)
    for chunk in (1, 3, 4, 8, 9):
        monkeypatch.setattr(statistics, "CHUNK", chunk)
        np.testing.assert_allclose(score(flow), whole, rtol=1e-6)


def test_pieces_that_overlap_by_a_frame_give_the_whole():
    flow = random_flow(7, 30, 30)
    pieces = np.concatenate([color_differential(flow[:4])[:-1], color_differential(flow[3:])])
    np.testing.assert_allclose(pieces, color_differential(flow), rtol=1e-6)


@pytest.mark.parametrize("uv", [(0.0, 0.0), (3.7, -1.3)])
def test_motion_without_structure_scores_zero(uv):
    flow = np.broadcast_to(np.array(uv, dtype=np.float32)[None, :, None, None], (3, 2, 40, 30)).copy()
    np.testing.assert_allclose(motion_energy(flow), 0, atol=1e-6)
    assert np.isfinite(color_differential(flow)).all()
    if uv == (0.0, 0.0):
        assert (color_differential(flow) == 0).all()


def test_motion_that_stays_the_same_scores_zero():
    flow = random_flow(1, 56, 56).repeat(4, axis=0)
    assert (motion_energy(flow) > 0).all()
    assert (color_differential(flow) == 0).all()


def test_motion_at_the_far_edge_counts():
    flow = np.zeros((2, 2, 44, 44), dtype=np.float32)  # whole blocks of 28 from the corner would leave 16 out
    flow[0, :, 30:, 30:] = random_flow(1, 14, 14)[0]
    assert color_differential(flow)[0] > 1


def test_takes_tensors_and_half_precision():
    flow = torch.from_numpy(random_flow(3, 30, 30)).half()
    for score in (motion_energy, color_differential):
        assert score(flow).dtype == np.float32
        np.testing.assert_array_equal(score(flow), score(flow.float().numpy()))


@pytest.mark.parametrize("score", [motion_energy, color_differential])
@pytest.mark.parametrize(
    "flow", [np.zeros((2, 5, 5), "f4"), np.zeros((2, 3, 5, 5), "f4"), np.zeros((2, 2, 5, 5), "i4")]
)
def test_refuses_what_is_not_flow(score, flow):
    with pytest.raises(ValueError, match=r"\(T, 2, H, W\)"):
        score(flow)
