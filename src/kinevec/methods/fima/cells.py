"""Where the cells of a feature map lie in the source frame, and which cells of two views show the same place."""

import torch
from torch import Tensor


def cell_centres(box: Tensor, height: int, width: int) -> Tensor:
    """Centres of the cells of a feature map, in coordinates of the frame that its clip was cropped from.

    Args:
        box: (N, 4) crop box (x1, y1, x2, y2) as fractions of the frame: where the view's left, top, right and
            bottom edge lie. A flipped view has x1 > x2, and its cells run backwards in x.
        height: number of cells along H.
        width: number of cells along W.

    Returns:
        (N, H·W, 2): (x, y) of each cell, row by row, as fractions of the frame; float32 or finer.

    Raises:
        ValueError: the box is not (N, 4).

    Source: FIMA (arXiv:2309.00297), pixel-level motion loss.
    """
    x1, y1, x2, y2 = _edges(box)
    across = (torch.arange(width, device=box.device, dtype=x1.dtype) + 0.5) / width
    down = (torch.arange(height, device=box.device, dtype=x1.dtype) + 0.5) / height
    x = (x1 + (x2 - x1) * across)[:, None, :].expand(-1, height, -1)
    y = (y1 + (y2 - y1) * down)[:, :, None].expand(-1, -1, width)
    return torch.stack((x, y), dim=-1).flatten(1, 2)


def cell_diagonal(box: Tensor, height: int, width: int) -> Tensor:
    """Length of the diagonal of one cell of a feature map, as a fraction of the frame.

    Args:
        box: (N, 4) crop box as for `cell_centres`; swapped edges change nothing.
        height: number of cells along H.
        width: number of cells along W.

    Returns:
        (N,); float32 or finer.

    Raises:
        ValueError: the box is not (N, 4).

    Source: FIMA (arXiv:2309.00297), pixel-level motion loss.
    """
    x1, y1, x2, y2 = _edges(box)
    return torch.hypot((x2 - x1) / width, (y2 - y1) / height).squeeze(1)


def positive_pairs(
    box_query: Tensor,
    box_key: Tensor,
    mask_query: Tensor | None,
    mask_key: Tensor | None,
    *,
    size: tuple[int, int],
    radius: float,
) -> Tensor:
    """Pairs of cells of two views of one video that show the same place and are both foreground.

    Same place: the centres are closer than `radius` times the longer of the two views' cell diagonals.

    Args:
        box_query: (N, 4) crop box of the view that predicts, as for `cell_centres`.
        box_key: (N, 4) crop box of the view that is predicted.
        mask_query: (N, H, W) bool, foreground of the predicting view; None lets every cell pass.
        mask_key: (N, H, W) bool, foreground of the predicted view; None lets every cell pass.
        size: (H, W) of both feature maps.
        radius: in cell diagonals; 0.7 in the paper.

    Returns:
        (N, H·W, H·W) bool: [n, i, j] is true where cell j of the predicted view is a positive of cell i.

    Raises:
        ValueError: a box is not (N, 4).

    Source: FIMA (arXiv:2309.00297), pixel-level motion loss.
    """
    here, there = cell_centres(box_query, *size), cell_centres(box_key, *size)
    distance = torch.hypot(
        here[:, :, None, 0] - there[:, None, :, 0],
        here[:, :, None, 1] - there[:, None, :, 1],
    )
    diagonal = torch.maximum(cell_diagonal(box_query, *size), cell_diagonal(box_key, *size))
    pairs = distance < radius * diagonal[:, None, None]
    if mask_query is not None:
        pairs = pairs & mask_query.flatten(1)[:, :, None]
    if mask_key is not None:
        pairs = pairs & mask_key.flatten(1)[:, None, :]
    return pairs


def _edges(box: Tensor) -> tuple[Tensor, ...]:
    """x1, y1, x2, y2, each (N, 1): bfloat16 could not tell the cells of a small box apart."""
    if box.ndim != 2 or box.shape[1] != 4:
        raise ValueError(f"a box must be (N, 4) of x1, y1, x2, y2; got {tuple(box.shape)}")
    return box.to(torch.promote_types(box.dtype, torch.float32)).unsqueeze(2).unbind(dim=1)
