"""The squares of the test protocols."""

import numpy as np
import pytest

from kinevec.evaluate.crops import crop_geometries, crop_views
from kinevec.views.geometry import centre_square


@pytest.mark.parametrize(
    ("height", "width", "boxes"),
    [
        (4, 10, [(0, 0, 4, 4), (3, 0, 7, 4), (6, 0, 10, 4)]),
        (10, 4, [(0, 0, 4, 4), (0, 3, 4, 7), (0, 6, 4, 10)]),
        (5, 8, [(0, 0, 5, 5), (1, 0, 6, 5), (3, 0, 8, 5)]),
        (6, 6, [(0, 0, 6, 6)] * 3),
    ],
)
def test_three_squares_lie_along_the_longer_side(
    height: int, width: int, boxes: list[tuple[int, int, int, int]]
) -> None:
    found = crop_geometries(height, width, 3)
    assert [view.box for view in found] == boxes
    assert not any(view.flip for view in found)
    assert crop_geometries(height, width, 1) == [centre_square(height, width)] == found[1:2]


def test_views_are_cut_out_of_the_frames() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 4, 9, 3), dtype=np.uint8)
    views = crop_views(frames, 4, 3)
    assert views.shape == (3, 2, 4, 4, 3)
    for view, start in zip(views, (0, 2, 5), strict=True):
        np.testing.assert_array_equal(view, frames[:, :, start : start + 4])


def test_other_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="2 crops; there are views with 1 or 3"):
        crop_geometries(4, 4, 2)
