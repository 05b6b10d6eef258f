"""Foreground sampling against loops, the released code's arrays and hand-made maps."""

from pathlib import Path

import numpy as np
import pytest
import torch

from kinevec.methods.fima.foreground import activation_map, foreground_mask
from reference import fima as reference


def test_golden(golden: Path) -> None:
    arrays = np.load(golden / "fima_foreground_0.npz")
    mask = foreground_mask(torch.tensor(arrays["rgb_features"]), torch.tensor(arrays["diff_features"]))
    assert mask.dtype == torch.bool
    np.testing.assert_array_equal(mask.numpy(), arrays["mask"].astype(bool))


@pytest.mark.parametrize(
    ("size", "count"), [((7, 7), 24), ((4, 4), 8), ((3, 5), 7), ((2, 4), 4), ((1, 1), 0)]
)
def test_loops(size: tuple[int, int], count: int) -> None:
    rng = np.random.default_rng(0)
    rgb = rng.normal(size=(5, 6, 2, *size))
    difference = rng.normal(size=(5, 6, 2, *size))
    mask = foreground_mask(torch.tensor(rgb), torch.tensor(difference))
    np.testing.assert_array_equal(mask.numpy(), reference.foreground_mask(rgb, difference))
    assert mask.sum(dim=(1, 2)).tolist() == [count] * 5


def test_both_modalities_count_the_same_whatever_their_channels_and_steps() -> None:
    rgb = torch.zeros(1, 8, 4, 2, 2)
    rgb[..., 0, 0] = 1.0
    difference = torch.zeros(1, 2, 1, 2, 2)
    difference[..., 1, 1] = 1.5
    rgb[..., 0, 1] = 0.9
    difference[..., 0, 1] = 0.9
    assert foreground_mask(rgb, difference).tolist() == [[[False, True], [False, True]]]


def test_ties_with_the_median_are_background() -> None:
    features = torch.tensor([1.0, 2.0, 2.0, 2.0, 3.0, 0.0]).view(1, 1, 1, 2, 3)
    assert foreground_mask(features, features).tolist() == [[[False, False, False], [False, True, False]]]
    assert not foreground_mask(torch.ones(1, 3, 2, 4, 4), torch.ones(1, 3, 2, 4, 4)).any()


def test_half_precision_features_are_averaged_in_float32() -> None:
    features = torch.ones(1, 4096, 1, 1, 2, dtype=torch.bfloat16)
    features[0, 0, 0, 0, 1] = 2.0  # 1 + 1/4096 is 1 in bfloat16
    assert activation_map(features).dtype == torch.float32
    assert foreground_mask(features, features).tolist() == [[[False, True]]]


@pytest.mark.parametrize("shape", [(2, 3, 2, 4), (3, 3, 2, 4, 4), (2, 3, 2, 5, 4), (2, 3, 2, 4, 5)])
def test_shapes_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(2, 3, 2, 4, 4\)"):
        foreground_mask(torch.zeros(2, 3, 2, 4, 4), torch.zeros(shape))
