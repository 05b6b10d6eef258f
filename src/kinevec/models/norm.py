"""Several clip groups in one pass, each with batch-norm statistics of its own.

Clips of different kinds (RGB and difference, global and local) must not share one batch-norm batch: mixed
statistics ruin the representation. One pass over all of them is still possible where only batch norm
treats them apart, since it is the only layer here that looks across clips.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


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
    norms = [norm for norm in module.modules() if isinstance(norm, BatchNorm)]
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
