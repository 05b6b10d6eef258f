"""Parts of I3D in float64 NumPy, as plain loops: "same" borders, convolution, pooling, one Inception block."""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Triple = tuple[int, int, int]


def same_start(size: int, kernel: int, stride: int) -> int:
    """Where the first window starts (0 or before) so that ⌈size / stride⌉ windows are centred, later if odd."""
    overhang = (math.ceil(size / stride) - 1) * stride + kernel - size
    return -(max(overhang, 0) // 2)


def windows(shape: Triple, kernel: Triple, stride: Triple) -> dict[Triple, list[tuple[Triple, Triple]]]:
    """Output place → (place in the kernel, place in the input) of everything inside the input."""
    sizes = [math.ceil(n / s) for n, s in zip(shape, stride, strict=True)]
    starts = [same_start(n, k, s) for n, k, s in zip(shape, kernel, stride, strict=True)]
    found: dict[Triple, list[tuple[Triple, Triple]]] = {}
    for place in itertools.product(*map(range, sizes)):
        found[place] = []
        for offset in itertools.product(*map(range, kernel)):
            source = tuple(p * s + a + o for p, s, a, o in zip(place, stride, starts, offset, strict=True))
            if all(0 <= i < n for i, n in zip(source, shape, strict=True)):
                found[place].append((offset, source))
    return found


def output_like(x: Array, channels: int, stride: Triple) -> Array:
    return np.zeros((channels, *(math.ceil(n / s) for n, s in zip(x.shape[1:], stride, strict=True))))


def conv(x: Array, weight: Array, stride: Triple) -> Array:
    """(C, T, H, W), (C', C, t, h, w) → (C', T', H', W')."""
    out = output_like(x, len(weight), stride)
    for place, pairs in windows(x.shape[1:], weight.shape[2:], stride).items():
        for offset, source in pairs:
            out[(slice(None), *place)] += weight[(..., *offset)] @ x[(slice(None), *source)]
    return out


def max_pool(x: Array, kernel: Triple, stride: Triple) -> Array:
    """(C, T, H, W) → (C, T', H', W')."""
    out = output_like(x, len(x), stride)
    for place, pairs in windows(x.shape[1:], kernel, stride).items():
        out[(slice(None), *place)] = np.max([x[(slice(None), *source)] for _, source in pairs], axis=0)
    return out


def unit(x: Array, weights: dict[str, Array], name: str, stride: Triple = (1, 1, 1)) -> Array:
    """Convolution, batch norm with stored statistics, ReLU; weights by the names of kinevec's I3D."""
    w = {k.removeprefix(f"{name}."): v for k, v in weights.items() if k.startswith(f"{name}.")}
    y = conv(x, w["conv3d.weight"], stride)
    scale = w["bn.weight"] / np.sqrt(w["bn.running_var"] + 1e-3)
    y = (y - w["bn.running_mean"][:, None, None, None]) * scale[:, None, None, None]
    return np.maximum(y + w["bn.bias"][:, None, None, None], 0)


def inception(x: Array, weights: dict[str, Array]) -> Array:
    """The four branches of a block, one after the other along C."""
    three = unit(unit(x, weights, "b1a"), weights, "b1b")
    five = unit(unit(x, weights, "b2a"), weights, "b2b")  # 5×5 in Inception-v1, 3×3×3 in I3D
    pooled = unit(max_pool(x, (3, 3, 3), (1, 1, 1)), weights, "b3b")
    return np.concatenate([unit(x, weights, "b0"), three, five, pooled])
