import numpy as np
import pytest
import torch

from kinevec.motion.difference import frame_difference
from reference import motion as oracle


@pytest.mark.parametrize("shape", [(2, 3, 5, 4, 3), (1, 3, 1, 2, 2)])
def test_equals_the_oracle(shape):
    clip = np.random.default_rng(0).uniform(size=shape)
    np.testing.assert_allclose(
        frame_difference(torch.from_numpy(clip)), oracle.frame_difference(clip), atol=1e-15
    )


def test_is_the_same_for_each_clip_alone():
    clips = torch.rand(3, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    together = frame_difference(clips)
    assert all(torch.equal(together[n : n + 1], frame_difference(clips[n : n + 1])) for n in range(3))


def test_spans_zero_to_one():
    flashing = torch.tensor([0.0, 1.0, 0.0]).view(1, 1, 3, 1, 1).expand(1, 3, 3, 2, 2)
    assert frame_difference(flashing)[0, 0, :, 0, 0].tolist() == [0.5, 1.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_keeps_the_type(dtype):
    clip = torch.ones(1, 3, 2, 2, 2, dtype=dtype)
    difference = frame_difference(clip)
    assert difference.dtype == dtype
    assert torch.equal(difference, torch.full_like(clip, 0.5))


@pytest.mark.parametrize("clip", [torch.zeros(3, 4, 5, 6), torch.zeros(1, 3, 4, 5, 6, dtype=torch.uint8)])
def test_refuses_what_is_not_a_clip(clip):
    with pytest.raises(ValueError, match=r"\(N, 3, T, H, W\)"):
        frame_difference(clip)
