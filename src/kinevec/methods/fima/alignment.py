"""What FIMA adds to MoCo: keys made of motion, predicted at every cell and time step (arXiv:2309.00297)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kinevec.config import Config
from kinevec.methods.branch import Branch, Key
from kinevec.methods.fima.decoder import MotionDecoder
from kinevec.methods.fima.foreground import foreground_mask
from kinevec.methods.fima.losses import frame_motion_loss, pixel_motion_loss
from kinevec.methods.infonce import info_nce
from kinevec.methods.memory import Queue
from kinevec.methods.seen import Part, Seen
from kinevec.views.pipeline import paint_flow


@dataclass(frozen=True)
class MotionKeys:
    """What the key side makes of one clip's motion, without gradient.

    Attributes:
        whole: of the global motion clip; None where no term needs it.
        dense: (N, D, T', H, W), projected at every position; None where no term needs it.
        local: T' times (N, D), pooled keys of the local motion clips; none where no term needs them.
    """

    whole: Key | None
    dense: Tensor | None
    local: list[Tensor]


@dataclass(frozen=True)
class Predictions:
    """What one clip's features say of the other clip's motion, unit length along D.

    Attributes:
        cells: T' times (N, D, H, W).
        token: T' times (N, D), from the decoder's class token; none without decoder.
    """

    cells: list[Tensor]
    token: list[Tensor]


class MotionAlignment(nn.Module):
    """Motion decoder, queues of motion keys, and the three terms of FIMA.

    "The batch" whose cells and local clips are negatives of L_pix and L_frame is one forward pass on one rank, as in
    the authors' code: more ranks, or `train.accumulate`, make it smaller, while the queues hold keys of all ranks.

    Args:
        config: all of it.
        channels: C of the RGB encoder's last feature map.
        generator: of the queues' first vectors.
    """

    def __init__(self, config: Config, channels: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.config = config
        fima, terms, dim = config.fima, config.terms, config.method.dim
        sizes = (fima.width, fima.heads, fima.feedforward, fima.layers, fima.dropout)
        predicts = fima.decoder and (terms.pixel or terms.frame)
        self.decoder = MotionDecoder(channels, *sizes) if predicts else None

        def queue(weight: float, size: int) -> Queue | None:
            return Queue(dim, size, generator, damping=config.method.damping) if weight and size else None

        self.vanilla_queue = queue(terms.vanilla, fima.vanilla_queue)
        self.dense_queue = queue(terms.pixel, fima.dense_queue)
        self.local_queue = queue(terms.frame, fima.local_queue)

    def forward(self, seen: Seen, rgb: Branch) -> Part:
        """The terms of FIMA, averaged over both directions and all time steps.

        Args:
            seen: the clips with their motion, queried both ways.
            rgb: the branch whose key side makes the motion keys.
        """
        keys = [self._motion_keys(clip, seen, rgb) for clip in range(2)]
        terms: dict[str, Tensor] = {}
        remember: list[tuple[Queue, Tensor]] = []
        whole = [key.whole for key in keys if key.whole is not None]
        if self.vanilla_queue is not None:
            terms["vanilla"] = self._vanilla(seen, whole, self.vanilla_queue)
            remember.append((self.vanilla_queue, torch.cat([key.vector for key in whole])))
        if self.config.terms.pixel or self.config.terms.frame:
            predictions = {(m, n): self._predict(seen, m, n, rgb) for m, n in seen.directions}
            if self.config.terms.pixel:
                terms["pixel"] = self._pixel(seen, keys, predictions)
            if self.config.terms.frame:
                terms["frame"] = self._frame(keys, predictions)
        if self.dense_queue is not None:
            cells = [key.dense.movedim(1, -1).flatten(0, -2) for key in keys if key.dense is not None]
            remember.append((self.dense_queue, torch.cat(cells)))
        if self.local_queue is not None:
            remember.append((self.local_queue, torch.cat([local for key in keys for local in key.local])))
        return Part(terms, remember)

    @torch.no_grad()
    def _motion_keys(self, clip: int, seen: Seen, rgb: Branch) -> MotionKeys:
        """Each kind of clip with batch norms of its own, which must not mix them (FIMA, arXiv:2309.00297)."""
        terms, fima = self.config.terms, self.config.fima
        kinds: list[Tensor] = []
        if terms.vanilla or terms.pixel:
            whole = seen.clips.flow if fima.motion == "flow" else seen.clips.difference
            kinds.append(self._visible(whole[clip]))
        if terms.frame:
            kinds += [self._visible(local) for local in seen.clips.local[clip]]
        keys = rgb.keys(kinds, together=fima.together)
        first = keys.pop(0) if terms.vanilla or terms.pixel else None
        dense = project_cells(rgb.key_projector, first.map) if first is not None and terms.pixel else None
        return MotionKeys(first, dense, [key.vector for key in keys])

    def _visible(self, motion: Tensor) -> Tensor:
        """Motion clips as the encoder takes them: flow is painted."""
        return paint_flow(motion, self.config.views) if self.config.fima.motion == "flow" else motion

    def _vanilla(self, seen: Seen, keys: list[Key], queue: Queue) -> Tensor:
        """L_VD: InfoNCE between the pooled RGB query of one clip and the pooled motion key of the other."""
        tau, negatives = self.config.fima.temperature, queue.negatives()
        losses = [
            info_nce(seen.queries[m].vector, keys[n].vector, negatives, tau) for m, n in seen.directions
        ]
        return torch.stack(losses).mean()

    def _predict(self, seen: Seen, m: int, n: int, rgb: Branch) -> Predictions:
        """Clip n's motion, from clip m's query features and, through the decoder, clip n's."""
        query = seen.queries[m].map
        if self.decoder is None:
            return Predictions(list(project_cells(rgb.projector, query).unbind(2)), [])
        # The decoder knows nothing of time: all steps pass it as one batch.
        steps = query.shape[2]
        target, memory = (seen.queries[clip].map.transpose(1, 2).flatten(0, 1) for clip in (m, n))
        token, cells = self.decoder(target, memory)  # (N·T', C), (N·T', C, H, W)
        tokens = rgb.projector(token).unflatten(0, (-1, steps))
        dense = project_cells(rgb.projector, cells.unflatten(0, (-1, steps)).transpose(1, 2))
        return Predictions(list(dense.unbind(2)), list(tokens.unbind(1)))

    def _pixel(
        self, seen: Seen, keys: list[MotionKeys], predictions: dict[tuple[int, int], Predictions]
    ) -> Tensor:
        """L_pix, the mean over directions and steps of `pixel_motion_loss`."""
        fima, boxes = self.config.fima, seen.clips.boxes
        masks: list[Tensor | None] = [None, None]
        if fima.foreground:
            maps = [key.whole.map for key in keys if key.whole is not None]
            masks = [foreground_mask(seen.keys[clip].map, maps[clip]) for clip in range(2)]
        queue = self.dense_queue.negatives() if self.dense_queue is not None else None
        losses = []
        for (m, n), prediction in predictions.items():
            dense = keys[n].dense
            assert dense is not None
            for t, cells in enumerate(prediction.cells):
                # Not by a list of numbers, which would be copied to the device while the host waits.
                others = torch.cat([dense[:, :, :t], dense[:, :, t + 1 :]], 2)
                losses.append(
                    pixel_motion_loss(
                        cells,
                        dense[:, :, t],
                        others if others.shape[2] else None,
                        boxes[m],
                        boxes[n],
                        masks[m],
                        masks[n],
                        temperature=fima.temperature,
                        positive_radius=fima.positive_radius,
                        queue=queue,
                    )
                )
        return torch.stack(losses).mean()

    def _frame(self, keys: list[MotionKeys], predictions: dict[tuple[int, int], Predictions]) -> Tensor:
        """L_frame, the mean over directions and steps of `frame_motion_loss`."""
        queue = self.local_queue.negatives() if self.local_queue is not None else None
        losses = []
        for (m, n), prediction in predictions.items():
            for t, token in enumerate(prediction.token):
                local = keys[n].local
                losses.append(
                    frame_motion_loss(
                        token,
                        local[t],
                        [*local[:t], *local[t + 1 :]],
                        keys[m].local,
                        temperature=self.config.fima.temperature,
                        queue=queue,
                    )
                )
        return torch.stack(losses).mean()


def project_cells(projector: nn.Module, features: Tensor) -> Tensor:
    """The projector at every position: (N, C, T, H, W) → (N, D, T, H, W), unit length along D."""
    projected: Tensor = projector(features.movedim(1, -1))
    return projected.movedim(-1, 1)
