"""What MSCL adds to MoCo: a thin branch on flow images, contrast across branches, and LMCL."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinevec.config import Config
from kinevec.methods.branch import Branch
from kinevec.methods.infonce import info_nce
from kinevec.methods.memory import Queue
from kinevec.methods.mscl.losses import local_motion_accuracy, local_motion_logits, local_motion_loss_of
from kinevec.methods.mscl.rotation import rotate_flow
from kinevec.methods.seen import Part, Seen
from kinevec.models.flownet import FlowNet
from kinevec.models.neck import build_neck
from kinevec.views.pipeline import FLOW_EVERY, paint_flow


@dataclass(frozen=True)
class Flown:
    """One motion view of the clips through the flow branch, by the clip's number.

    Attributes:
        maps: feature maps (N, 8·width, T/2, h, w) of the clips that query.
        queries: their unit vectors (N, D); none without contrast between clips.
        keys: unit vectors (N, D) of the clips that are queried for, likewise.
    """

    maps: dict[int, Tensor]
    queries: dict[int, Tensor]
    keys: dict[int, Tensor]


class MotionBranch(nn.Module):
    """The flow branch with its terms.

    Args:
        config: all of it.
        widths: channels of the RGB encoder's four stages.
        generator: of the queue's first vectors.

    Attributes:
        branch: where clips are contrasted (`terms.flow`, `terms.cross`), with keys and a queue; else None, and
        encoder: its encoder alone, which is all that the local term needs.
    """

    def __init__(
        self, config: Config, widths: tuple[int, int, int, int], generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.config = config
        encoder = FlowNet(config.mscl.width, config.mscl.blocks)
        contrast = bool(config.terms.flow or config.terms.cross)
        self.branch = Branch(encoder, config.method, generator) if contrast else None
        self.encoder = None if contrast else encoder
        self.neck = build_neck(config.mscl.neck, widths, encoder.channels) if config.terms.local else None

    def forward(self, seen: Seen, rgb: Branch) -> Part:
        """All terms of MSCL but the RGB branch's own.

        Args:
            seen: the clips, with flow or differences as `mscl.motion` says.
            rgb: whose queue the flow queries are held against.
        """
        weights = self.config.terms
        terms: dict[str, Tensor] = {}
        figures: dict[str, Tensor] = {}
        remember: list[tuple[Queue, Tensor]] = []
        plain = self._fly(seen, rotated=False, keys=True)
        rotated = None
        if weights.rotated or (weights.local and self.config.mscl.rotated_steps):
            rotated = self._fly(seen, rotated=True, keys=bool(weights.rotated))
        if self.branch is not None:
            terms |= self._clip_terms(seen, plain, self.branch.queue, rgb.queue)
            # Rotated keys are not remembered.
            remember.append((self.branch.queue, torch.cat(list(plain.keys.values()))))
            if rotated is not None and weights.rotated:
                twice = self._clip_terms(seen, rotated, self.branch.queue, rgb.queue)
                terms |= {f"{name}_rotated": term for name, term in twice.items()}
        if self.neck is not None:
            terms["local"], figures["local_accuracy"] = self._local(seen, self.neck, plain, rotated)
        return Part(terms, remember, figures)

    def _fly(self, seen: Seen, *, rotated: bool, keys: bool) -> Flown:
        """The motion of the clips through the branch, each view in a pass of its own (batch norm)."""
        keys = keys and self.branch is not None
        used = {clip for i, j in seen.directions for clip in ((i, j) if keys else (i,))}
        motions = {clip: self._motion(seen, clip, rotated=rotated) for clip in used}
        if self.encoder is not None:
            return Flown({i: self.encoder(motions[i]) for i, _ in seen.directions}, {}, {})
        assert self.branch is not None
        queries = {i: self.branch.query(motions[i]) for i, _ in seen.directions}
        return Flown(
            {i: query.map for i, query in queries.items()},
            {i: query.vector for i, query in queries.items()},
            {j: self.branch.key(motions[j]).vector for _, j in seen.directions} if keys else {},
        )

    def _motion(self, seen: Seen, clip: int, *, rotated: bool) -> Tensor:
        """What the branch sees of a clip: (N, 3, T/2, H, W)."""
        if self.config.mscl.motion == "difference":
            return seen.clips.difference[clip][:, :, ::FLOW_EVERY]
        flow = seen.clips.flow[clip]
        if flow.shape[2] == self.config.clip.frames:  # FIMA wants the flow of all frames
            flow = flow[:, :, ::FLOW_EVERY]
        if rotated:
            flow = rotate_flow(flow, seen.clips.angles[clip])
        return paint_flow(flow, self.config.views)

    def _clip_terms(self, seen: Seen, flown: Flown, queue: Queue, rgb_queue: Queue) -> dict[str, Tensor]:
        """The flow MoCo loss, and the cross-modal loss InfoNCE(q; k^f; flow queue) + InfoNCE(q^f; k; queue)."""
        tau, weights = self.config.method.temperature, self.config.terms
        negatives, rgb_negatives = queue.negatives(), rgb_queue.negatives()
        flow, cross = [], []
        for i, j in seen.directions:
            q, k = seen.queries[i].vector, seen.keys[j].vector
            q_f, k_f = flown.queries[i], flown.keys[j]
            if weights.flow:
                flow.append(info_nce(q_f, k_f, negatives, tau))
            if weights.cross:
                cross.append(info_nce(q, k_f, negatives, tau) + info_nce(q_f, k, rgb_negatives, tau))
        losses = {"flow": flow, "cross": cross}
        return {name: torch.stack(values).mean() for name, values in losses.items() if values}

    def _local(
        self, seen: Seen, neck: nn.Module, plain: Flown, rotated: Flown | None
    ) -> tuple[Tensor, Tensor]:
        """LMCL and its accuracy, averaged over the clips that query."""
        losses, accuracies = [], []
        for i, _ in seen.directions:
            flow = plain.maps[i]
            turned = rotated.maps[i] if rotated and self.config.mscl.rotated_steps else None
            steps = flow.shape[2]
            rgb = at_steps(neck(seen.queries[i].stages), steps)
            logits = local_motion_logits(rgb, flow, turned, self.config.mscl.temperature)
            losses.append(local_motion_loss_of(logits, steps))
            accuracies.append(local_motion_accuracy(logits.detach(), steps))
        return torch.stack(losses).mean(), torch.stack(accuracies).mean()


def at_steps(features: Tensor, steps: int) -> Tensor:
    """Averages (N, D, T, H, W) over time to (N, D, steps, H, W), for encoders that keep more steps.

    Raises:
        ValueError: there are fewer steps than that.
    """
    if features.shape[2] < steps:
        raise ValueError(f"{features.shape[2]} steps of RGB features cannot meet {steps} steps of flow")
    if features.shape[2] == steps:
        return features
    return F.adaptive_avg_pool3d(features, (steps, *features.shape[3:]))
