import math

import numpy as np
import pytest
import torch

from kinevec.methods.mscl.rotation import draw_angles, rotate_flow
from kinevec.motion.color import flow_image
from reference import golden
from reference import mscl as oracle


def random_flow(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equals_the_oracle():
    flow, angle = random_flow(3, 2, 4, 5, 6), torch.tensor([0.3, -2.0, 5.0], dtype=torch.float64)
    expected = oracle.rotate_flow(flow.numpy(), angle.numpy())
    np.testing.assert_allclose(rotate_flow(flow, angle), expected, atol=1e-14)
    np.testing.assert_allclose(rotate_flow(flow.float(), angle), expected, atol=1e-5)


def test_equals_the_released_code():
    arrays = golden("mscl_flow_image_0")
    flow = torch.from_numpy(arrays["flow"]).permute(3, 0, 1, 2)
    angles = torch.tensor([(0.2 + 0.2 * j) * math.pi for j in range(8)])
    rotated = rotate_flow(flow.expand(8, -1, -1, -1, -1), angles)
    fastest = torch.linalg.vector_norm(rotated, dim=1, keepdim=True).amax(dim=(-2, -1), keepdim=True)
    normalized = (rotated / (fastest + 1e-5)).permute(0, 2, 3, 4, 1)
    np.testing.assert_allclose(normalized, arrays["rotated_normalized"], atol=1e-6)


def test_rotating_back_is_the_identity():
    flow, angle = random_flow(5, 2, 3, 4, 4), draw_angles(5, torch.Generator().manual_seed(1))
    back = rotate_flow(rotate_flow(flow, angle), -angle)
    torch.testing.assert_close(back, flow, atol=1e-12, rtol=0)
    assert not torch.allclose(rotate_flow(flow, angle), flow, atol=0.1)


def test_a_quarter_turn_of_right_is_down():
    right = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1, 1)
    assert rotate_flow(right, torch.tensor([math.pi / 2])).flatten().tolist() == pytest.approx(
        [0, 1], abs=1e-6
    )


def test_no_motion_stays_none():
    assert (rotate_flow(torch.zeros(2, 2, 3, 4, 4), torch.tensor([0.5, 2.0])) == 0).all()


def test_changes_direction_only():
    flow = random_flow(2, 2, 3, 4, 4)
    rotated = rotate_flow(flow, torch.tensor([0.4, 3.0]))
    torch.testing.assert_close(rotated.norm(dim=1), flow.norm(dim=1))
    turned = torch.atan2(rotated[:, 1], rotated[:, 0]) - torch.atan2(flow[:, 1], flow[:, 0])
    torch.testing.assert_close(turned[1].cos(), torch.full_like(turned[1], math.cos(3.0)))
    torch.testing.assert_close(turned[1].sin(), torch.full_like(turned[1], math.sin(3.0)))


def test_the_hue_of_a_flow_image_turns_by_the_angle():
    step = 2 * math.pi / 54  # of the colour wheel
    flow = torch.tensor([math.cos(7.5 * step), math.sin(7.5 * step)], dtype=torch.float64).view(1, 2, 1, 1, 1)
    turned = rotate_flow(flow, torch.tensor([11 * step], dtype=torch.float64))
    direct = torch.tensor([math.cos(18.5 * step), math.sin(18.5 * step)], dtype=torch.float64).view(
        1, 2, 1, 1, 1
    )
    torch.testing.assert_close(flow_image(turned), flow_image(direct))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_rounds_once(dtype):
    flow, angle = (50 * random_flow(2, 2, 2, 6, 6)).to(dtype), torch.tensor([0.7, 2.1])
    rotated = rotate_flow(flow, angle)
    assert rotated.dtype == dtype
    assert torch.equal(rotated, rotate_flow(flow.float(), angle).to(dtype))


def test_angles_are_the_eight_of_the_paper():
    angles = draw_angles(4000, torch.Generator().manual_seed(0))
    assert angles.dtype == torch.float32
    values, counts = angles.unique(return_counts=True)
    np.testing.assert_allclose(values, [(0.2 + 0.2 * j) * math.pi for j in range(8)], rtol=1e-6)
    assert counts.min() > 400  # of 500 expected


def test_angles_come_from_the_generator_only():
    torch.manual_seed(0)
    first = draw_angles(20, torch.Generator().manual_seed(3))
    torch.manual_seed(1)
    assert torch.equal(first, draw_angles(20, torch.Generator().manual_seed(3)))
    assert not torch.equal(first, draw_angles(20, torch.Generator().manual_seed(4)))


@pytest.mark.parametrize(
    ("flow", "angle"), [((2, 3, 1, 2, 2), (2,)), ((2, 2, 1, 2), (2,)), ((2, 2, 1, 2, 2), (3,))]
)
def test_refuses_shapes_that_do_not_fit(flow, angle):
    with pytest.raises(ValueError, match=r"\(N, 2, T, H, W\) and angle \(N,\)"):
        rotate_flow(torch.zeros(flow), torch.zeros(angle))
