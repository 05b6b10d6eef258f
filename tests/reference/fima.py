"""FIMA in float64 NumPy, written from the paper's equations (arXiv:2309.00297) with plain loops."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def dot(a: Array, b: Array) -> float:
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def log_sum_exp(values: list[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(v - top) for v in values))


def centre(box: Array, row: int, column: int, rows: int, columns: int) -> tuple[float, float]:
    x1, y1, x2, y2 = (float(e) for e in box)
    cell_width, cell_height = (x2 - x1) / columns, (y2 - y1) / rows
    return x1 + cell_width * column + cell_width / 2, y1 + cell_height * row + cell_height / 2


def diagonal(box: Array, rows: int, columns: int) -> float:
    x1, y1, x2, y2 = (float(e) for e in box)
    return math.sqrt(((x2 - x1) / columns) ** 2 + ((y2 - y1) / rows) ** 2)


def pixel_motion_loss(
    query: Array,
    key: Array,
    others: list[Array],
    box_query: Array,
    box_key: Array,
    mask_query: NDArray[np.bool_],
    mask_key: NDArray[np.bool_],
    temperature: float,
    radius: float,
    queue: Array | None = None,
) -> float:
    """query, key and each of others (N, D, H, W); queue (D, K). 0 where no cell has a positive."""
    n_samples, _, rows, columns = query.shape
    cells = [(r, c) for r in range(rows) for c in range(columns)]
    everything = [k[n, :, r, c] for k in [key, *others] for n in range(n_samples) for r, c in cells]
    if queue is not None:
        everything += list(queue.T)
    samples = []
    for n in range(n_samples):
        reach = radius * max(diagonal(box_query[n], rows, columns), diagonal(box_key[n], rows, columns))
        losses = []
        for r, c in cells:
            positives = [
                key[n, :, r2, c2]
                for r2, c2 in cells
                if mask_query[n, r, c]
                and mask_key[n, r2, c2]
                and math.dist(
                    centre(box_query[n], r, c, rows, columns), centre(box_key[n], r2, c2, rows, columns)
                )
                < reach
            ]
            if positives:
                p = query[n, :, r, c]
                above = log_sum_exp([dot(p, k) / temperature for k in positives])
                below = log_sum_exp([dot(p, k) / temperature for k in everything])
                losses.append(below - above)
        if losses:
            samples.append(sum(losses) / len(losses))
    return sum(samples) / len(samples) if samples else 0.0


def frame_motion_loss(
    prediction: Array,
    key: Array,
    negatives: list[Array],
    temperature: float,
    queue: Array | None = None,
) -> float:
    """prediction, key and each of negatives (N, D); queue (D, K)."""
    losses = []
    for p, positive in zip(prediction, key, strict=True):
        logits = [dot(p, positive) / temperature]
        logits += [dot(p, k) / temperature for keys in negatives for k in keys]
        if queue is not None:
            logits += [dot(p, k) / temperature for k in queue.T]
        losses.append(log_sum_exp(logits) - logits[0])
    return sum(losses) / len(losses)


def foreground_mask(rgb: Array, difference: Array) -> NDArray[np.bool_]:
    """(N, C, T, H, W) each → (N, H, W)."""
    n_samples, rows, columns = rgb.shape[0], *rgb.shape[3:]
    mask = np.zeros((n_samples, rows, columns), dtype=bool)
    for n in range(n_samples):
        activation = {
            (r, c): float(np.mean(rgb[n, :, :, r, c])) + float(np.mean(difference[n, :, :, r, c]))
            for r in range(rows)
            for c in range(columns)
        }
        ranked = sorted(activation.values())
        lower_median = ranked[len(ranked) // 2] if len(ranked) % 2 else ranked[len(ranked) // 2 - 1]
        for cell, value in activation.items():
            mask[(n, *cell)] = value > lower_median
    return mask


def motion_decoder(
    weights: dict[str, Array], query: Array, memory: Array, layers: int, heads: int
) -> tuple[Array, Array]:
    """One sample: query and memory (C, H, W) → (C,) and (C, H, W). Weights by the names of MotionDecoder."""
    rows, columns = query.shape[1:]
    target = [
        weights["input.weight"][:, :, 0, 0] @ query[:, r, c] + weights["input.bias"]
        for r in range(rows)
        for c in range(columns)
    ]
    source = [
        weights["input.weight"][:, :, 0, 0] @ memory[:, r, c] + weights["input.bias"]
        for r in range(rows)
        for c in range(columns)
    ]
    tokens = [weights["class_token"][0, 0]] + [t + position(p, len(t)) for p, t in enumerate(target)]
    source = [s + position(p, len(s)) for p, s in enumerate(source)]
    for layer in range(layers):
        w = {k.removeprefix(f"layers.{layer}."): v for k, v in weights.items()}
        tokens = [t + attention(w, normed(w, "attention_norm", t), source, heads) for t in tokens]
        tokens = [t + feedforward(w, normed(w, "feedforward_norm", t)) for t in tokens]
    out = [weights["output.weight"][:, :, 0, 0] @ t + weights["output.bias"] for t in tokens]
    return out[0], np.stack(out[1:], axis=1).reshape(-1, rows, columns)


def position(p: int, width: int) -> Array:
    angles = [p / 10000 ** (2 * i / width) for i in range(width // 2)]
    return np.array([f(a) for a in angles for f in (math.sin, math.cos)])


def normed(w: dict[str, Array], name: str, token: Array) -> Array:
    centred = token - token.mean()
    return centred / np.sqrt((centred**2).mean() + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def attention(w: dict[str, Array], token: Array, source: list[Array], heads: int) -> Array:
    width = len(token)
    wq, wk, wv = w["attention.in_proj_weight"].reshape(3, width, width)
    bq, bk, bv = w["attention.in_proj_bias"].reshape(3, width)
    size = width // heads
    joined = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        q = (wq @ token + bq)[part]
        scores = np.array([q @ (wk @ s + bk)[part] / math.sqrt(size) for s in source])
        share = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        joined.append(sum(a * (wv @ s + bv)[part] for a, s in zip(share, source, strict=True)))
    return w["attention.out_proj.weight"] @ np.concatenate(joined) + w["attention.out_proj.bias"]


def feedforward(w: dict[str, Array], token: Array) -> Array:
    hidden = np.maximum(w["feedforward.0.weight"] @ token + w["feedforward.0.bias"], 0)
    return w["feedforward.3.weight"] @ hidden + w["feedforward.3.bias"]
