"""Gradients averaged over the ranks while the backward pass still goes on."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from kinevec import ranks

BUCKET_BYTES = (
    25_000_000  # in a message: large enough for the network's full rate, small enough to start early
)


@dataclass
class Bucket:
    """Gradients that travel together.

    Attributes:
        flat: (n,) where they lie one after the other while they travel.
        views: of `flat`, in the shapes of the parameters.
        missing: how many are not there yet in this step.
        message: under way; None before.
    """

    parameters: list[torch.nn.Parameter]
    flat: Tensor
    views: list[Tensor]
    missing: int = 0
    message: dist.Work | None = None

    def pairs(self) -> Iterator[tuple[torch.nn.Parameter, Tensor]]:
        """The parameters that have a gradient, and where that lies."""
        pairs = zip(self.parameters, self.views, strict=True)
        return ((parameter, view) for parameter, view in pairs if parameter.grad is not None)


class GradientMean:
    """Replaces gradients by their mean over the ranks.

    A bucket is sent off as soon as the backward pass has filled it, last layers first, and always in the same
    order with the same content. (DistributedDataParallel rearranges its buckets after the first step, and with
    them the rounding of sums of more than two; a run that is resumed would then differ from one never stopped.
    It must also be told of parameters that no term reaches. Here they only travel as zeros, and stay without
    gradient.)

    Args:
        parameters: in the order of the forward pass; the same on all ranks.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], bucket_bytes: int = BUCKET_BYTES) -> None:
        self.buckets: list[Bucket] = []
        self.armed = False
        self.next = 0  # bucket to send; the same order on all ranks
        held: list[torch.nn.Parameter] = []
        for parameter in reversed(list(parameters)):
            if held and sum(p.nbytes for p in held) + parameter.nbytes > bucket_bytes:
                self._add(held)
                held = []
            held.append(parameter)
        self._add(held)

    def begin(self) -> None:
        """The next backward pass is the last of a step."""
        self.armed, self.next = True, 0
        for bucket in self.buckets:
            bucket.missing, bucket.message = len(bucket.parameters), None

    def finish(self) -> None:
        """Puts the means into the parameters' `grad`."""
        self.armed = False
        for bucket in self.buckets[self.next :]:  # not filled: some parameter has no gradient
            self._send(bucket)
        for bucket in self.buckets:
            assert bucket.message is not None
            bucket.message.wait()
            bucket.flat.div_(ranks.world())
            _copy([(p.grad, v) for p, v in bucket.pairs()])

    def _add(self, parameters: list[torch.nn.Parameter]) -> None:
        flat = torch.zeros(sum(p.numel() for p in parameters), device=parameters[0].device)
        parts = torch.split(flat, [p.numel() for p in parameters])
        bucket = Bucket(
            parameters, flat, [part.view(p.shape) for part, p in zip(parts, parameters, strict=True)]
        )
        self.buckets.append(bucket)
        for parameter in parameters:
            parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                lambda _, bucket=bucket: self._arrived(bucket)
            )

    def _arrived(self, bucket: Bucket) -> None:
        if not self.armed:
            return
        bucket.missing -= 1
        while self.next < len(self.buckets) and not self.buckets[self.next].missing:
            self._send(self.buckets[self.next])
            self.next += 1

    def _send(self, bucket: Bucket) -> None:
        _copy([(v, p.grad) for p, v in bucket.pairs()])
        bucket.message = dist.all_reduce(bucket.flat, async_op=True)


def _copy(pairs: list[tuple[Tensor | None, Tensor | None]]) -> None:
    """The second of each pair into the first."""
    if pairs:
        torch._foreach_copy_(
            [to for to, _ in pairs if to is not None], [of for _, of in pairs if of is not None]
        )
