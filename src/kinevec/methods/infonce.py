"""The InfoNCE loss of all contrastive terms."""

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(query: Tensor, key: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Mean over the batch of `-log( exp(q·k/τ) / (exp(q·k/τ) + Σ_i exp(q·n_i/τ)) )` (MoCo §3.1, equation 1).

    Args:
        query: q, (N, D), unit length.
        key: k, the positives, (N, D), unit length; pass them detached.
        negatives: n_i, (D, K), shared by all queries.
        temperature: τ.

    Returns:
        Scalar, computed in float32, also inside autocast.
    """
    with torch.autocast(query.device.type, enabled=False):  # which would multiply in bf16
        query, key, negatives = query.float(), key.float(), negatives.float()
        positive = (query * key).sum(1, keepdim=True)
        logits = torch.cat([positive, query @ negatives], 1) / temperature
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))
