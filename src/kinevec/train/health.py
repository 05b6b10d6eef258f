"""Is the representation sound? Figures of the last queries and keys, which training has at hand anyway.

Everything is gathered on the device without waiting for it; the figures themselves are computed when the log
is written, in float64 on the host.
"""

import math
from typing import Any

import torch
from torch import Tensor

from kinevec.methods.memory import Queue

END = 2_048  # keys at either end of the queue that are compared
ASKED = 128  # queries that compare them
RECENT = 512  # queries and their keys that the figures look at: several times D, whatever the batch
NOISE = 1e-6  # singular values of unit vectors below √N times this are rounding


def spread(vectors: Tensor) -> float:
    """Mean over the dimensions of the standard deviation, times √D: how evenly unit vectors use all directions.

    Args:
        vectors: (N, D), unit length.

    Returns:
        1 where they are spread evenly over the sphere, 0 where all are equal.
    """
    return float(vectors.double().std(0, correction=0).mean()) * math.sqrt(vectors.shape[1])


def effective_rank(vectors: Tensor) -> float:
    """exp(−Σ p_i log p_i) of the singular values p_i = σ_i / Σσ of the centred vectors: how many directions they use.

    The effective rank of Roy and Vetterli (EUSIPCO 2007), which RankMe (Garrido et al., ICML 2023) takes of
    embeddings; here they are centred first, so that a mean common to all does not count as a direction.

    Args:
        vectors: (N, D), unit length.

    Returns:
        1 to min(N − 1, D); 0 where all vectors are equal.
    """
    centred = vectors.double() - vectors.double().mean(0)
    values = torch.linalg.svdvals(centred)
    values = values[values > NOISE * math.sqrt(len(vectors))]
    if not len(values):
        return 0.0
    share = values / values.sum()
    return math.exp(-float((share * share.log()).sum()))


def alignment(queries: Tensor, keys: Tensor) -> float:
    """Mean of ‖q − k‖² over positive pairs (Wang and Isola, ICML 2020, with α = 2): 0 equal, 2 unrelated.

    Args:
        queries: (N, D), unit length.
        keys: (N, D), of the other clips of the same videos.
    """
    return float((queries.double() - keys.double()).square().sum(1).mean())


def uniformity(vectors: Tensor) -> float:
    """log of the mean over pairs i < j of exp(−2‖x_i − x_j‖²) (Wang and Isola, ICML 2020, with t = 2).

    Args:
        vectors: (N, D), unit length, N ≥ 2.

    Returns:
        0 where all vectors are equal; about −4 + 8/D, and at least −4·N/(N − 1), where they are spread evenly.
    """
    distances = torch.pdist(vectors.double())
    return float((-2 * distances.square()).exp().mean().log())


def staleness(queries: Tensor, oldest: Tensor, newest: Tensor, temperature: float) -> float:
    """How far the oldest keys of a queue and its newest ones differ in what they are to the queries of now.

    With the weights exp(q·n/τ) that negatives have in the loss, a query gives the oldest keys the share
    s = Σ_old / (Σ_old + Σ_new). Returned is |1 − 2·mean s|: 0 where the oldest keys act like those of the
    present; towards 1 the key encoder has moved on since they were made, and only one kind still matters.

    Args:
        queries: (N, D), unit length.
        oldest: (D, n), as they serve as negatives.
        newest: (D, n), likewise.
        temperature: τ.
    """
    old, new = ((queries.double() @ keys.double() / temperature).logsumexp(1) for keys in (oldest, newest))
    return abs(1 - 2 * float(torch.sigmoid(old - new).mean()))


def ends(queue: Queue) -> tuple[Tensor, Tensor]:
    """The oldest and the newest quarter of a queue, (D, n) each, at most `END` keys; on the host."""
    size = queue.keys.shape[1]
    count = min(max(1, size // 4), END)
    nearest = torch.arange(count, device=queue.keys.device)
    keys, place = queue.negatives(), queue.place
    oldest, newest = keys[:, (place + nearest) % size], keys[:, (place - 1 - nearest) % size]
    return oldest.cpu(), newest.cpu()


def figures(queries: Tensor, keys: Tensor) -> dict[str, float]:
    """All figures of queries (N, D) and their positive keys (N, D), N ≥ 2, by name."""
    return {
        "spread": spread(queries),
        "rank": effective_rank(queries),
        "alignment": alignment(queries, keys),
        "uniformity": uniformity(queries),
    }


class Recent:
    """The last `size` queries and their positive keys, as a ring on the device.

    Attributes:
        seen: pairs that ever went in.
    """

    def __init__(self, size: int = RECENT) -> None:
        self.size = size
        self.pairs: Tensor | None = None  # (2, size, D)
        self.seen = 0

    @torch.no_grad()
    def add(self, queries: Tensor, keys: Tensor) -> None:
        """Takes in N pairs, (N, D) each; of more than `size` the last stay."""
        both = torch.stack([queries.float(), keys.float()])
        if self.pairs is None:
            self.pairs = both.new_zeros(2, self.size, both.shape[2])
        kept = both[:, -self.size :]
        first = self.seen + both.shape[1] - kept.shape[1]
        columns = torch.arange(first, first + kept.shape[1], device=both.device) % self.size
        self.pairs[:, columns] = kept
        self.seen += both.shape[1]

    def read(self) -> tuple[Tensor, Tensor]:
        """Queries and keys, (n, D) each, on the host, in no order; waits for the device."""
        if self.pairs is None:
            raise ValueError("nothing was added yet")
        held = self.pairs[:, : min(self.seen, self.size)].cpu()
        return held[0], held[1]

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"pairs": self.pairs, "seen": self.seen}

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Takes up a state."""
        self.pairs = None if state["pairs"] is None else state["pairs"].to(device)
        self.seen = state["seen"]
