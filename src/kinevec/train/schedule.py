"""The learning rate of every step."""

import math


def learning_rate(step: int, total: int, warmup: int, peak: float) -> float:
    """Linear from 0 over `warmup` steps, then half a cosine from `peak` to 0 at step `total`.

    The first step of a warm-up already moves: step s of it has rate `peak·(s + 1)/warmup`.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))
