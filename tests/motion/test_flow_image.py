import colorsys
import math

import numpy as np
import pytest
import torch

from kinevec.motion.color import WHEEL, flow_image, flow_image_at_scale
from reference import golden
from reference import motion as oracle


def random_flow(*shape: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equals_the_oracle():
    flow = random_flow(2, 2, 3, 5, 7)
    expected = np.stack([oracle.flow_image(clip) for clip in flow.permute(0, 2, 3, 4, 1).numpy()]) / 255
    np.testing.assert_allclose(flow_image(flow).permute(0, 2, 3, 4, 1), expected, atol=1e-12)
    np.testing.assert_allclose(flow_image(flow.float()).permute(0, 2, 3, 4, 1), expected, atol=2e-5)


def test_the_wheel_is_the_oracles():
    np.testing.assert_allclose(WHEEL * 255, oracle.color_wheel(), atol=1e-12)


def test_equals_the_released_code():
    arrays = golden("mscl_flow_image_0")
    image = flow_image(torch.from_numpy(arrays["flow"]).permute(3, 0, 1, 2)[None])[0]
    lost = image.double().numpy() - arrays["color_image"]  # the released code rounds down to 1/255
    assert lost.min() > -1e-5
    assert lost.max() < 1 / 255 + 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_stays_between_zero_and_one(dtype):
    directions = torch.linspace(-math.pi, math.pi, 721, dtype=dtype)
    axes = torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1], [-1, -0.0], [1, -0.0]], dtype=dtype)
    flow = torch.cat([torch.stack([directions.cos(), directions.sin()], dim=1), axes]).T.reshape(
        1, 2, 1, 1, -1
    )
    for scale in (1e-6, 1.0, 1e4):
        image = flow_image(flow * scale)
        assert image.min() >= 0
        assert image.max() <= 1


def test_ignores_the_scale_of_each_frame():
    flow = random_flow(2, 2, 4, 6, 5).float()
    scale = torch.tensor([0.5, 1.0, 3.0, 80.0]).view(1, 1, 4, 1, 1)
    torch.testing.assert_close(flow_image(flow * scale), flow_image(flow), atol=1e-5, rtol=0)


def test_scales_each_frame_by_itself():
    flow = random_flow(2, 2, 3, 4, 5)
    whole = flow_image(flow)
    for n in range(2):
        for t in range(3):
            assert torch.equal(flow_image(flow[n : n + 1, :, t : t + 1])[0, :, 0], whole[n, :, t])


def test_no_motion_is_white_and_differentiable():
    flow = torch.zeros(1, 2, 2, 3, 3, requires_grad=True)
    image = flow_image(flow)
    image.sum().backward()
    assert torch.equal(image, torch.ones_like(image))
    assert flow.grad is not None
    assert flow.grad.isfinite().all()


def test_still_pixels_of_a_moving_frame_are_white():
    flow = torch.zeros(1, 2, 1, 2, 2)
    flow[0, 0, 0, 0, 0] = 5.0
    image = flow_image(flow)[0, :, 0]
    assert (image[:, 1, :] == 1).all()
    assert image[:, 0, 0].tolist() == pytest.approx([1, 0, 0], abs=1e-5)  # to the right: red


def test_hue_turns_with_the_motion():
    # The Middlebury wheel visits red, yellow, green, cyan, blue, magenta at these entries of its 54 steps.
    entries = {0: "red", 15: "yellow", 21: "green", 25: "cyan", 36: "blue", 49: "magenta"}
    hues = {"red": 0, "yellow": 1 / 6, "green": 2 / 6, "cyan": 3 / 6, "blue": 4 / 6, "magenta": 5 / 6}
    for entry, name in entries.items():
        angle = 2 * math.pi * (entry + 1e-6) / 54
        flow = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64).view(1, 2, 1, 1, 1)
        red, green, blue = flow_image(flow).flatten().tolist()
        assert colorsys.rgb_to_hsv(red, green, blue)[0] == pytest.approx(hues[name], abs=1e-4)


def test_a_nan_does_not_read_outside_the_wheel():
    flow = torch.zeros(1, 2, 2, 1, 1)
    flow[0, 0, 0] = math.nan
    image = flow_image(flow)
    assert image[:, :, 0].isnan().all()
    assert (image[:, :, 1] == 1).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_painted_in_float32(dtype):
    flow = (random_flow(1, 2, 2, 8, 8) * 100).to(dtype)
    image = flow_image(flow)
    assert image.dtype == torch.float32
    assert torch.equal(image, flow_image(flow.float()))


@pytest.mark.parametrize(
    "flow",
    [torch.zeros(2, 3, 4, 5), torch.zeros(1, 3, 4, 5, 6), torch.zeros(1, 2, 4, 5, 6, dtype=torch.int32)],
)
def test_refuses_what_is_not_flow(flow):
    with pytest.raises(ValueError, match=r"\(N, 2, T, H, W\)"):
        flow_image(flow)


def test_at_one_scale_frames_are_painted_as_parts_of_one_frame():
    flow = random_flow(1, 2, 3, 4, 5) * torch.tensor([0.0, 0.1, 1.0]).view(1, 1, 3, 1, 1)
    whole = flow.permute(0, 2, 3, 4, 1).reshape(1, 12, 5, 2).numpy()
    full = float(np.hypot(*whole.reshape(-1, 2).T).max())
    found = flow_image_at_scale(flow, full)
    expected = oracle.flow_image(whole).reshape(3, 4, 5, 3) / 255
    np.testing.assert_allclose(found[0].permute(1, 2, 3, 0), expected, atol=1e-4)
    assert (found[:, :, 0] == 1).all()
    faster = flow_image_at_scale(flow, full / 2)
    np.testing.assert_allclose(1 - faster[:, :, 1], 2 * (1 - found[:, :, 1]), atol=1e-12)
    assert faster.min() >= 0
    torch.testing.assert_close(
        flow_image_at_scale(flow * 50, 1e-3)[:, :, 2], flow_image_at_scale(flow, 1e-3)[:, :, 2]
    )
    with pytest.raises(ValueError, match="speed above 0, got 0"):
        flow_image_at_scale(flow, 0)
