"""Batch norms over other batches than what is passed: over parts of it, or over the batches of all ranks.

Clips of different kinds (RGB and difference, global and local) must not share one batch-norm batch: mixed
statistics ruin the representation. One pass over all of them is still possible where only batch norm
treats them apart, since it is the only layer here that looks across clips.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from kinevec import ranks

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def batch_norms(module: nn.Module) -> list[BatchNorm]:
    """Its batch norms at any depth."""
    return [norm for norm in module.modules() if isinstance(norm, BatchNorm)]


def synchronise(norms: Iterable[BatchNorm]) -> None:
    """From now on these batch norms use, in training, the statistics of all ranks' batches as if they were one.

    Works on CPUs too, which `torch.nn.SyncBatchNorm` does not, and leaves types and names of modules as they are. All
    ranks must pass batches of the same size. Copies of the modules made afterwards are not synchronised.
    """
    for norm in norms:
        norm.forward = partial(_forward_synchronised, norm)  # type: ignore[method-assign]


@contextmanager
def grouped_statistics(module: nn.Module, groups: int) -> Iterator[None]:
    """Inside, the batch norms of `module` treat `groups` equal, contiguous parts of a batch one by one.

    `with grouped_statistics(f, 2): y = f(torch.cat([a, b]))` gives `torch.cat([f(a), f(b)])` and leaves the
    running statistics as two calls in that order do, gradients included. Batch norms in eval mode, and all
    other layers, work as ever: whatever else looks across a batch, or draws random numbers, is not grouped.

    Args:
        module: its BatchNorm1d, 2d and 3d at any depth are affected, until the context is left. A context
            within a context divides the parts again.
        groups: number of parts; the parts of a tensor follow each other along its first axis.

    Raises:
        ValueError: `groups` is less than 1; or, in the pass, a batch is no multiple of it.
    """
    if groups < 1:
        raise ValueError(f"a batch has at least 1 group, not {groups}")
    # An instance's own `forward` goes before its class's: types, names and parameters stay what they are.
    norms = batch_norms(module)
    before = [vars(norm).get("forward") for norm in norms]
    for norm in norms:
        norm.forward = partial(_forward_by_group, norm, norm.forward, groups)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm, own in zip(norms, before, strict=True):
            del norm.forward
            if own is not None:
                norm.forward = own  # type: ignore[method-assign]


def _forward_by_group(norm: BatchNorm, forward: Callable[[Tensor], Tensor], groups: int, x: Tensor) -> Tensor:
    """(N, C, ...) → the same shape, each of the parts by its own statistics."""
    if not norm.training and norm.running_mean is not None:
        return forward(x)
    if len(x) % groups:
        raise ValueError(f"a batch of {len(x)}, {tuple(x.shape)}, does not divide into {groups} equal groups")
    return torch.cat([forward(part) for part in x.chunk(groups)])


def _forward_synchronised(norm: BatchNorm, x: Tensor) -> Tensor:
    """(N, C, ...) → the same shape."""
    if not norm.training:
        return type(norm).forward(norm, x)
    y, mean, variance = _Synchronised.apply(x, norm.weight, norm.bias, norm.eps)  # type: ignore[no-untyped-call]
    count, step = x.numel() // x.shape[1] * ranks.world(), norm.momentum
    if step is None or norm.running_mean is None or norm.running_var is None:
        raise ValueError(
            "a batch norm without running statistics, or with a plain mean of them, is not known here"
        )
    with torch.no_grad():
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        norm.running_mean.lerp_(mean.to(norm.running_mean), step)
        norm.running_var.lerp_(variance.to(norm.running_var) * (count / (count - 1)), step)
    normal: Tensor = y
    return normal


class _Synchronised(torch.autograd.Function):
    """y = γ (x − μ) / √(σ² + ε) + β with μ and σ² over N and space of all ranks; gives y, μ and σ².

    In the backward pass `Σ dy` and `Σ dy·x̂` are summed over the ranks too: dx is the gradient of the sum of all
    ranks' losses. Those of γ and β are this rank's share, to be averaged over the ranks like all others.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        axes, shape = _axes(x)
        mine = wide.mean(axes)
        around = (wide - mine.view(shape)).square().mean(axes)
        means, arounds = ranks.gather(torch.stack([mine, around])[None]).unbind(1)  # (world, C)
        mean = means.mean(0)
        variance = (arounds + (means - mean).square()).mean(0)
        scale = (variance + eps).rsqrt()
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.mark_non_differentiable(mean, variance)
        y = (wide - mean.view(shape)) * (scale * weight).view(shape) + bias.view(shape)
        return y.to(x.dtype), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, scale = ctx.saved_tensors
        axes, shape = _axes(x)
        dy = gradients[0].to(mean.dtype)
        normal = (x.to(mean.dtype) - mean.view(shape)) * scale.view(shape)
        sums = torch.stack([dy.sum(axes), (dy * normal).sum(axes)])
        both = ranks.gather(sums[None]).sum(0) / (x.numel() // x.shape[1] * ranks.world())
        dx = (dy - both[0].view(shape) - normal * both[1].view(shape)) * (scale * weight).view(shape)
        return dx.to(x.dtype), sums[1].to(weight), sums[0].to(weight), None


def _axes(x: Tensor) -> tuple[list[int], list[int]]:
    """The axes that a batch norm looks across, and the shape in which a channel's number meets (N, C, ...)."""
    return [0, *range(2, x.ndim)], [1, -1, *[1] * (x.ndim - 2)]
