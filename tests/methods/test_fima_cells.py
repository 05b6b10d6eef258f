"""Where cells lie: hand-computed centres, flips, and which pairs are near enough."""

import numpy as np
import pytest
import torch

from kinevec.methods.fima.cells import cell_centres, cell_diagonal, positive_pairs
from reference import fima as reference


def test_centres_row_by_row() -> None:
    centres = cell_centres(torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.2, 0.1, 0.8, 0.5]]), 2, 3)
    x, y = [1 / 6, 3 / 6, 5 / 6], [0.25, 0.75]
    torch.testing.assert_close(centres[0], torch.tensor([[a, b] for b in y for a in x]))
    x, y = [0.3, 0.5, 0.7], [0.2, 0.4]
    torch.testing.assert_close(centres[1], torch.tensor([[a, b] for b in y for a in x]))


def test_a_flipped_box_runs_backwards_in_x_only() -> None:
    box = torch.tensor([[0.1, 0.2, 0.7, 0.9]], dtype=torch.float64)
    straight = cell_centres(box, 4, 5).view(4, 5, 2)
    flipped = cell_centres(box[:, [2, 1, 0, 3]], 4, 5).view(4, 5, 2)
    torch.testing.assert_close(flipped, straight.flip(1))


def test_diagonal() -> None:
    box = torch.tensor([[0.1, 0.1, 0.7, 0.9], [0.7, 0.1, 0.1, 0.9]], dtype=torch.float64)
    diagonal = cell_diagonal(box, 2, 2)
    torch.testing.assert_close(diagonal, torch.tensor([0.5, 0.5], dtype=torch.float64))
    diagonal = cell_diagonal(box[:1], 1, 3)  # cells of 0.2 × 0.8
    torch.testing.assert_close(diagonal, torch.tensor([0.68**0.5], dtype=torch.float64))


def test_the_same_view_pairs_each_cell_with_itself_until_neighbours_come_into_reach() -> None:
    box = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    # Neighbours of square cells are 1/√2 = 0.707 diagonals apart, diagonal neighbours exactly 1.
    itself = positive_pairs(box, box, None, None, size=(3, 3), radius=0.7)
    assert torch.equal(itself[0], torch.eye(9, dtype=torch.bool))
    cross = positive_pairs(box, box, None, None, size=(3, 3), radius=0.71)[0, 4].view(3, 3)
    assert cross.tolist() == [[False, True, False], [True, True, True], [False, True, False]]
    assert positive_pairs(box, box, None, None, size=(3, 3), radius=1.01)[0, 4].all()


def test_the_longer_diagonal_decides_whichever_side_it_is_on() -> None:
    wide, narrow = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[0.0, 0.0, 0.5, 0.5]])
    # All four small cells lie within 0.7·√2/2 of the first large cell's centre, (0.25, 0.25).
    pairs = positive_pairs(wide, narrow, None, None, size=(2, 2), radius=0.7)[0]
    assert pairs[0].tolist() == [True] * 4
    back = positive_pairs(narrow, wide, None, None, size=(2, 2), radius=0.7)[0]
    assert torch.equal(back, pairs.T)


def test_exactly_at_the_radius_is_no_pair() -> None:
    box = torch.tensor([[0.0, 0.0, 0.75, 1.0]])  # cells of 0.375 × 0.5, diagonal 0.625: exact in binary
    pairs = positive_pairs(box, box, None, None, size=(2, 2), radius=1.0)[0]
    assert pairs[0].tolist() == [True, True, True, False]


def test_masks_and_direction() -> None:
    box = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(2, 4)
    mask_query = torch.tensor([[[True, True], [False, False]], [[True, True], [True, True]]])
    mask_key = torch.tensor([[[True, False], [True, False]], [[True, False], [False, True]]])
    far = positive_pairs(box, box, mask_query, mask_key, size=(2, 2), radius=9.0)
    wanted = mask_query.flatten(1)[:, :, None] & mask_key.flatten(1)[:, None, :]
    assert torch.equal(far, wanted)
    assert far[0].tolist() == [[True, False, True, False]] * 2 + [[False] * 4] * 2


def test_boxes_apart_have_no_pairs() -> None:
    left, right = torch.tensor([[0.0, 0.0, 0.3, 1.0]]), torch.tensor([[0.7, 0.0, 1.0, 1.0]])
    assert not positive_pairs(left, right, None, None, size=(7, 7), radius=0.7).any()


def test_loops() -> None:
    rng = np.random.default_rng(1)
    boxes = rng.uniform(size=(2, 30, 4))
    boxes[..., 3] = boxes[..., 1] + rng.uniform(0.1, 0.5, size=(2, 30))  # x either way round, y1 < y2
    masks = rng.uniform(size=(2, 30, 3, 4)) < 0.8
    pairs = positive_pairs(*torch.tensor(boxes), *torch.tensor(masks), size=(3, 4), radius=0.7)
    cells = [(r, c) for r in range(3) for c in range(4)]
    found = 0
    for n in range(30):
        reach = 0.7 * max(reference.diagonal(boxes[0, n], 3, 4), reference.diagonal(boxes[1, n], 3, 4))
        for i, (r, c) in enumerate(cells):
            for j, (r2, c2) in enumerate(cells):
                here, there = boxes[0, n], boxes[1, n]
                a, b = reference.centre(here, r, c, 3, 4), reference.centre(there, r2, c2, 3, 4)
                near = float(np.hypot(a[0] - b[0], a[1] - b[1])) < reach
                wanted = near and masks[0, n, r, c] and masks[1, n, r2, c2]
                assert pairs[n, i, j].item() == wanted
                found += wanted
    assert found > 50


def test_half_precision_boxes_are_worked_on_in_float32() -> None:
    box = torch.tensor(
        [[0.5, 0.25, 0.625, 0.5]], dtype=torch.bfloat16
    )  # exact in bfloat16, its cells are not
    assert torch.equal(cell_centres(box, 7, 7), cell_centres(box.float(), 7, 7))
    assert torch.equal(cell_diagonal(box, 7, 7), cell_diagonal(box.float(), 7, 7))


def test_a_box_has_four_edges() -> None:
    for shape in [(3, 2), (4,), (3, 4, 1)]:
        with pytest.raises(ValueError, match=r"\(N, 4\)"):
            cell_centres(torch.zeros(shape), 7, 7)
