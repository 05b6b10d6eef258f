"""What momentum contrast remembers: a slowly moving key encoder and a queue of past keys (MoCo)."""

import copy
import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

M = TypeVar("M", bound=nn.Module)


def cosine_momentum(step: int, total: int, base: float) -> float:
    """m(s) = 1 − (1 − m₀)·(cos(π s/S) + 1)/2: from m₀ at the first step to 1 at the last (MSCL)."""
    return 1 - (1 - base) * (math.cos(math.pi * step / total) + 1) / 2


def key_copy(model: M) -> M:
    """A copy whose parameters take no gradient; batch norms keep statistics of their own in training."""
    return copy.deepcopy(model).requires_grad_(False)


@torch.no_grad()
def move_towards(key: nn.Module, query: nn.Module, momentum: float) -> None:
    """Changes `key` in place: θ_k ← m·θ_k + (1 − m)·θ_q, in one fused call over all parameters.

    Buffers (batch-norm statistics) are left alone: the key encoder gathers its own.
    """
    torch._foreach_lerp_(list(key.parameters()), list(query.parameters()), 1 - momentum)


class Queue(nn.Module):
    """The last K keys as a ring, in buffers that checkpoints carry.

    Starts full of random unit vectors, as in MoCo.

    Args:
        dim: D.
        size: K.
        damping: similarity to a key fades by this factor with every step of its age (MSCL, after VideoMoCo).
        generator: of the random vectors.

    Attributes:
        keys: (D, K), unit columns.
        place: (), the column that the next key goes to.
        age: (K,), pushes since each column was written; kept only where there is damping.
    """

    keys: Tensor
    place: Tensor
    age: Tensor | None

    def __init__(
        self, dim: int, size: int, generator: torch.Generator | None = None, *, damping: float = 1.0
    ) -> None:
        super().__init__()
        self.damping = damping
        self.register_buffer("keys", F.normalize(torch.randn(dim, size, generator=generator), dim=0))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))
        self.register_buffer("age", torch.zeros(size) if damping < 1 else None)

    def negatives(self) -> Tensor:
        """(D, K): the keys, the older the shorter where there is damping.

        Without damping it is the queue itself: the next push changes it.
        """
        return self.keys if self.age is None else self.keys * self.damping**self.age

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        """Overwrites the oldest columns with `keys` (N, D); of more than K keys the last K stay."""
        size = self.keys.shape[1]
        kept = keys[-size:]
        first = self.place + (len(keys) - len(kept))
        columns = (first + torch.arange(len(kept), device=self.keys.device)) % size
        self.keys[:, columns] = kept.T.to(self.keys)
        self.place.copy_((self.place + len(keys)) % size)
        if self.age is not None:
            self.age += 1
            self.age.index_fill_(0, columns, 0)  # `[columns] = 0` would wait for a GPU
