"""The pyramid neck in float64 NumPy, all three levels of it, as plain loops; the finest one is the answer."""

import numpy as np
from numpy.typing import NDArray

from reference.i3d import conv

Array = NDArray[np.float64]


def enlarge(x: Array, like: Array) -> Array:
    """(C, t, h, w) → (C, T, H, W): each cell takes the value of the cell that covers its first corner."""
    out = np.zeros((len(x), *like.shape[1:]))
    for place in np.ndindex(like.shape[1:]):
        source = tuple(p * n // m for p, n, m in zip(place, x.shape[1:], like.shape[1:], strict=True))
        out[(slice(None), *place)] = x[(slice(None), *source)]
    return out


def biased(x: Array, weights: dict[str, Array], name: str) -> Array:
    """A convolution that keeps the size, with its bias."""
    return conv(x, weights[f"{name}.weight"], (1, 1, 1)) + weights[f"{name}.bias"][:, None, None, None]


def pyramid(two: Array, three: Array, four: Array, weights: dict[str, Array]) -> Array:
    """The finest level, (D, T_2, H_2, W_2), of one clip."""
    merged4 = biased(four, weights, "lateral4")
    merged3 = biased(three, weights, "lateral3") + enlarge(merged4, three)
    merged2 = biased(two, weights, "lateral2") + enlarge(merged3, two)
    level2, level3 = biased(merged2, weights, "output2"), biased(merged3, weights, "output3")
    return np.maximum(biased(level2, weights, "own") + enlarge(biased(level3, weights, "above"), two), 0)
