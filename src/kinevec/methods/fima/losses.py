"""The two motion losses of FIMA as pure functions.

Of two clips m and n of one video, m's features make *predictions* (with gradient) of n's *keys* (without).
Both are unit length along the channel axis D. Logits and losses are computed in float32 or finer, whatever
the precision of the features and inside autocast too, and nothing waits for the device.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from kinevec.methods.fima.cells import positive_pairs


def pixel_motion_loss(
    query: Tensor,
    key: Tensor,
    other_key: Tensor | None,
    box_query: Tensor,
    box_key: Tensor,
    mask_query: Tensor | None,
    mask_key: Tensor | None,
    *,
    temperature: float = 0.1,
    positive_radius: float = 0.7,
    queue: Tensor | None = None,
) -> Tensor:
    """Pixel-level motion loss L_pix of one direction at one time step.

    For each cell i of the predictions P that has positives among the cells of its own sample's keys D:

        -log( Σ_{j ∈ pos(i)} exp(P_i·D_j / τ)  /  Σ_{k ∈ all} exp(P_i·k / τ) )

    where *all* is every cell of the keys D and of the other steps' keys D' of every sample, and the queue.
    The mean over a sample's cells that have positives, then over the samples that have such cells. Exactly 0,
    with a gradient of zeros, when no sample has any (the released code returns a small constant there).

    Args:
        query: (N, D, H, W) predictions P from clip m; unit length along D.
        key: (N, D, H, W) dense difference keys D of clip n at the same step; unit length along D.
        other_key: (N, D, H, W) keys D' of clip n at the other step; (N, D, S, H, W) at S other steps when there
            are more than two in all; None when there is only one.
        box_query: (N, 4) crop box (x1, y1, x2, y2) of clip m in [0, 1], x1 and x2 swapped where it is flipped.
        box_key: (N, 4) crop box of clip n.
        mask_query: (N, H, W) bool foreground of clip m; None counts every cell (no foreground sampling).
        mask_key: (N, H, W) bool foreground of clip n; None counts every cell.
        temperature: τ.
        positive_radius: cells closer than this are positives; in cell diagonals, see `positive_pairs`.
        queue: (D, K) past dense keys, all negatives. The backward pass reads it: change it only after that.

    Returns:
        Scalar; float32 or finer.

    Raises:
        ValueError: shapes that do not fit together.

    Source: FIMA (arXiv:2309.00297), pixel-level motion loss.
    """
    _check_pixel_shapes(query, key, other_key, box_query, box_key, mask_query, mask_key, queue)
    with torch.autocast(query.device.type, enabled=False):
        size = (query.shape[2], query.shape[3])
        positive = positive_pairs(box_query, box_key, mask_query, mask_key, size=size, radius=positive_radius)
        counted = positive.any(dim=2)

        p = _at_least_float32(query).flatten(2).transpose(1, 2) / temperature  # (N, HW, D)
        own = p @ key.flatten(2).to(p.dtype)  # (N, HW, HW)
        # A cell without positives keeps all its logits: finite, and the loss below leaves it out.
        numerator = own.masked_fill(~positive & counted[:, :, None], -torch.inf).logsumexp(dim=2)

        groups = [k.movedim(1, 0).flatten(1) for k in (key, other_key) if k is not None]
        if queue is not None:
            groups.append(queue)
        denominator = _log_sum_exp(p.flatten(0, 1), groups).view_as(numerator)

        cells = counted.sum(dim=1)
        sample_loss = torch.where(counted, denominator - numerator, 0.0).sum(dim=1) / cells.clamp(min=1)
        return sample_loss.sum() / (cells > 0).sum().clamp(min=1)


def frame_motion_loss(
    prediction: Tensor,
    key: Tensor,
    other_step_keys: Sequence[Tensor],
    other_clip_keys: Sequence[Tensor],
    *,
    temperature: float = 0.1,
    queue: Tensor | None = None,
) -> Tensor:
    """Frame-level motion loss L_frame of one direction at one time step: InfoNCE on keys of local clips.

    For the class token's prediction p_i of sample i and its positive l_i, the key of local clip t of clip n:

        -log( exp(p_i·l_i / τ)  /  ( exp(p_i·l_i / τ) + Σ_{k ∈ negatives} exp(p_i·k / τ) ) )

    The negatives are the keys of clip n's other local clips and of all local clips of m, of *every* sample, i's own
    included, and the queue. The positives l of other samples are not negatives, as in the released code.
    The mean over samples.

    Args:
        prediction: (N, D) class-token predictions of step t of clip n; unit length along D.
        key: (N, D) keys l_t^n, the positives; unit length along D.
        other_step_keys: keys l_s^n with s ≠ t, each (N, D): one of them when there are two steps.
        other_clip_keys: keys l_1^m, l_2^m, …, each (N, D).
        temperature: τ.
        queue: (D, K) past local keys, all negatives. The backward pass reads it: change it only after that.

    Returns:
        Scalar; float32 or finer.

    Raises:
        ValueError: shapes that do not fit together, or no negatives at all.

    Source: FIMA (arXiv:2309.00297), frame-level motion loss.
    """
    _check_frame_shapes(prediction, key, other_step_keys, other_clip_keys, queue)
    with torch.autocast(prediction.device.type, enabled=False):
        p = _at_least_float32(prediction) / temperature
        positive = (p * key.to(p.dtype)).sum(dim=1)
        groups = [k.T for k in (*other_step_keys, *other_clip_keys)]
        if queue is not None:
            groups.append(queue)
        return (torch.logaddexp(positive, _log_sum_exp(p, groups)) - positive).mean()


def _log_sum_exp(p: Tensor, groups: Sequence[Tensor]) -> Tensor:
    """log Σ_k exp(p_i·k) over the keys k of all groups: p (M, D), groups (D, K_g) → (M,).

    Group by group: the keys are never copied into one matrix, and temporaries are one group's logits large.
    """
    return torch.stack([(p @ group.to(p.dtype)).logsumexp(dim=1) for group in groups]).logsumexp(dim=0)


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _check_pixel_shapes(
    query: Tensor,
    key: Tensor,
    other_key: Tensor | None,
    box_query: Tensor,
    box_key: Tensor,
    mask_query: Tensor | None,
    mask_key: Tensor | None,
    queue: Tensor | None,
) -> None:
    if query.ndim != 4:
        raise ValueError(f"query must be (N, D, H, W); got {tuple(query.shape)}")
    n, d, h, w = query.shape
    _check_shape("key", key, (n, d, h, w))
    if other_key is not None and other_key.ndim == 5:
        _check_shape("other_key", other_key, (n, d, other_key.shape[2], h, w))
    else:
        _check_shape("other_key", other_key, (n, d, h, w))
    for name, box in (("box_query", box_query), ("box_key", box_key)):
        _check_shape(name, box, (n, 4))
    for name, mask in (("mask_query", mask_query), ("mask_key", mask_key)):
        _check_shape(name, mask, (n, h, w))
    if queue is not None:
        _check_shape("queue", queue, (d, queue.shape[-1]))


def _check_frame_shapes(
    prediction: Tensor,
    key: Tensor,
    other_step_keys: Sequence[Tensor],
    other_clip_keys: Sequence[Tensor],
    queue: Tensor | None,
) -> None:
    if prediction.ndim != 2:
        raise ValueError(f"prediction must be (N, D); got {tuple(prediction.shape)}")
    n, d = prediction.shape
    _check_shape("key", key, (n, d))
    for name, keys in (("other_step_keys", other_step_keys), ("other_clip_keys", other_clip_keys)):
        for i, k in enumerate(keys):
            _check_shape(f"{name}[{i}]", k, (n, d))
    if queue is not None:
        _check_shape("queue", queue, (d, queue.shape[-1]))
    elif not len(other_step_keys) + len(other_clip_keys):
        raise ValueError("InfoNCE needs negatives: pass other_step_keys, other_clip_keys or a queue")


def _check_shape(name: str, tensor: Tensor | None, shape: tuple[int, ...]) -> None:
    if tensor is not None and tuple(tensor.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}; got {tuple(tensor.shape)}")
