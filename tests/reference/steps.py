"""A step of each method in float64, from feature maps on: MoCo, MSCL, FIMA.

Feature maps (N, C, T, H, W) come from copies of the encoders; `Side` is what one clip becomes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reference import fima as oracle
from reference.moco import info_nce

Array = NDArray[np.float64]
Weights = Mapping[str, Array]
Directions = Sequence[tuple[int, int]]


def project(weights: Weights, features: Array) -> Array:
    """g on rows (N, C) → (N, D), unit length; with a batch norm over the rows before it where there is one."""
    if "centre.weight" in weights:
        centred = features - features.mean(0)
        scaled = centred / np.sqrt((centred**2).mean(0) + 1e-5)
        features = scaled * weights["centre.weight"] + weights["centre.bias"]
    hidden = np.maximum(features @ weights["hidden.weight"].T + weights["hidden.bias"], 0)
    out = hidden @ weights["out.weight"].T + weights["out.bias"]
    return out / np.sqrt((out**2).sum(1, keepdims=True))


def pooled(features: Array) -> Array:
    """(N, C, T, H, W) → (N, C)."""
    return features.reshape(*features.shape[:2], -1).mean(2)


def project_cells(weights: Weights, features: Array) -> Array:
    """(N, C, T, H, W) → (N, D, T, H, W)."""
    rows = np.array(
        [features[n, :, t, y, x] for n, t, y, x in np.ndindex(features.shape[0], *features.shape[2:])]
    )
    projected = project(weights, rows)
    out = np.empty((len(features), projected.shape[1], *features.shape[2:]))
    for row, (n, t, y, x) in enumerate(np.ndindex(features.shape[0], *features.shape[2:])):
        out[n, :, t, y, x] = projected[row]
    return out


def contrast(
    queries: Mapping[int, Array], keys: Mapping[int, Array], directions: Directions, queue: Array, tau: float
) -> float:
    """The mean over directions (i, j) of InfoNCE(q_i; k_j; queue)."""
    losses = [info_nce(queries[i], keys[j], queue, tau) for i, j in directions]
    return sum(losses) / len(losses)


@dataclass
class FimaStep:
    """What one step of FIMA reads.

    Attributes:
        query: two query maps of the RGB clips.
        key: two key maps of the same.
        motion: two key maps of the motion of the same.
        local: of each of the two, the key maps of its local clips.
        projector, key_projector: weights.
        decoder: weights; None compares a clip's own cells.
        layers, heads: of the decoder.
        boxes: two of (N, 4).
    """

    query: Sequence[Array]
    key: Sequence[Array]
    motion: Sequence[Array]
    local: Sequence[Sequence[Array]]
    projector: Weights
    key_projector: Weights
    decoder: Weights | None
    boxes: Sequence[Array]
    temperature: float
    radius: float
    foreground: bool = True
    layers: int = 2
    heads: int = 2

    def vectors(self, maps: Sequence[Array]) -> list[Array]:
        """Pooled keys of some key maps."""
        return [project(self.key_projector, pooled(features)) for features in maps]

    def dense(self, clip: int) -> Array:
        """D of both steps."""
        return project_cells(self.key_projector, self.motion[clip])

    def vanilla(self, queue: Array) -> float:
        queries = [project(self.projector, pooled(features)) for features in self.query]
        keys = self.vectors(self.motion)
        return contrast(
            dict(enumerate(queries)), dict(enumerate(keys)), ((0, 1), (1, 0)), queue, self.temperature
        )

    def predictions(self, m: int, n: int) -> tuple[Array, Array]:
        """From clip m of clip n: cells (N, D, T, H, W), and class tokens (T, N, D) where there is a decoder."""
        target, memory = self.query[m], self.query[n]
        if self.decoder is None:
            return project_cells(self.projector, target), np.empty(0)
        cells, tokens = np.empty_like(target), np.empty((target.shape[2], *target.shape[:2]))
        for sample, t in np.ndindex(len(target), target.shape[2]):
            tokens[t, sample], cells[sample, :, t] = oracle.motion_decoder(
                dict(self.decoder), target[sample, :, t], memory[sample, :, t], self.layers, self.heads
            )
        flat = project(self.projector, tokens.reshape(-1, tokens.shape[-1]))
        return project_cells(self.projector, cells), flat.reshape(*tokens.shape[:2], -1)

    def pixel(self, queue: Array | None) -> float:
        """The mean over both directions and all time steps of L_pix."""
        size = (len(self.query[0]), *self.query[0].shape[3:])
        masks = [np.ones(size, bool)] * 2
        if self.foreground:
            masks = [oracle.foreground_mask(self.key[c], self.motion[c]) for c in (0, 1)]
        losses = []
        for m, n in ((0, 1), (1, 0)):
            cells, _ = self.predictions(m, n)
            dense = self.dense(n)
            for t in range(dense.shape[2]):
                losses.append(
                    oracle.pixel_motion_loss(
                        cells[:, :, t],
                        dense[:, :, t],
                        [dense[:, :, s] for s in range(dense.shape[2]) if s != t],
                        self.boxes[m],
                        self.boxes[n],
                        masks[m],
                        masks[n],
                        self.temperature,
                        self.radius,
                        queue,
                    )
                )
        return sum(losses) / len(losses)

    def frame(self, queue: Array | None) -> float:
        """The mean over both directions and all time steps of L_frame."""
        losses = []
        for m, n in ((0, 1), (1, 0)):
            _, tokens = self.predictions(m, n)
            theirs, mine = self.vectors(self.local[n]), self.vectors(self.local[m])
            for t, prediction in enumerate(tokens):
                negatives = [key for s, key in enumerate(theirs) if s != t] + mine
                losses.append(
                    oracle.frame_motion_loss(prediction, theirs[t], negatives, self.temperature, queue)
                )
        return sum(losses) / len(losses)
