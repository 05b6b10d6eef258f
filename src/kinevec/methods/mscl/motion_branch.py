"""What MSCL adds to MoCo: a thin branch on flow images, contrast across branches, and LMCL (METHODS §1)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinevec.config import Config
from kinevec.methods.branch import Branch, Key, Query
from kinevec.methods.infonce import info_nce
from kinevec.methods.mscl.losses import local_motion_accuracy, local_motion_logits, local_motion_loss_of
from kinevec.methods.mscl.rotation import rotate_flow
from kinevec.methods.seen import Part, Seen
from kinevec.models.flownet import FlowNet
from kinevec.models.neck import build_neck
from kinevec.views.pipeline import FLOW_EVERY, paint_flow


@dataclass(frozen=True)
class Flown:
    """One motion view of the clips through the flow branch: queries and keys by the clip's number."""

    queries: dict[int, Query]
    keys: dict[int, Key]


class MotionBranch(nn.Module):
    """The flow branch with its terms.

    Args:
        config: all of it.
        widths: channels of the RGB encoder's four stages.
        generator: of the queue's first vectors.
    """

    def __init__(
        self, config: Config, widths: tuple[int, int, int, int], generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.config = config
        encoder = FlowNet(config.mscl.width, config.mscl.blocks)
        self.branch = Branch(encoder, config.method, generator)
        self.neck = build_neck(config.mscl.neck, widths, encoder.channels) if config.terms.local else None

    def forward(self, seen: Seen, rgb: Branch) -> Part:
        """All terms of MSCL but the RGB branch's own.

        Args:
            seen: the clips, with flow or differences as `mscl.motion` says.
            rgb: whose queue the flow queries are held against.
        """
        weights = self.config.terms
        contrast = bool(weights.flow or weights.cross)
        plain = self._fly(seen, rotated=False, keys=contrast)
        terms = self._clip_terms(seen, plain, rgb) if contrast else {}
        figures: dict[str, Tensor] = {}
        rotated = None
        if weights.rotated or (weights.local and self.config.mscl.rotated_steps):
            rotated = self._fly(seen, rotated=True, keys=bool(weights.rotated))
        if rotated is not None and weights.rotated:
            twice = self._clip_terms(seen, rotated, rgb)
            terms |= {f"{name}_rotated": term for name, term in twice.items()}
        if self.neck is not None:
            terms["local"], figures["local_accuracy"] = self._local(seen, plain, rotated)
        # Rotated keys are not remembered.
        keys = [key.vector for key in plain.keys.values()]
        return Part(terms, [(self.branch.queue, torch.cat(keys))] if keys else [], figures)

    def _fly(self, seen: Seen, *, rotated: bool, keys: bool) -> Flown:
        """The motion of the clips through the branch, each view in a pass of its own (batch norm)."""

        frames = self.config.clip.frames

        def motion(clip: int) -> Tensor:
            if self.config.mscl.motion == "difference":
                return seen.clips.difference[clip][:, :, ::FLOW_EVERY]
            flow = seen.clips.flow[clip]
            flow = (
                flow[:, :, ::FLOW_EVERY] if flow.shape[2] == frames else flow
            )  # else only those were computed
            if rotated:
                flow = rotate_flow(flow, seen.clips.angles[clip])
            return paint_flow(flow, self.config.views)

        return Flown(
            {i: self.branch.query(motion(i)) for i, _ in seen.directions},
            {j: self.branch.key(motion(j)) for _, j in seen.directions} if keys else {},
        )

    def _clip_terms(self, seen: Seen, flown: Flown, rgb: Branch) -> dict[str, Tensor]:
        """The flow MoCo loss, and the cross-modal loss InfoNCE(q; k^f; flow queue) + InfoNCE(q^f; k; queue)."""
        tau, weights = self.config.method.temperature, self.config.terms
        queue, rgb_queue = self.branch.queue.negatives(), rgb.queue.negatives()
        flow, cross = [], []
        for i, j in seen.directions:
            q, k = seen.queries[i].vector, seen.keys[j].vector
            q_f, k_f = flown.queries[i].vector, flown.keys[j].vector
            if weights.flow:
                flow.append(info_nce(q_f, k_f, queue, tau))
            if weights.cross:
                cross.append(info_nce(q, k_f, queue, tau) + info_nce(q_f, k, rgb_queue, tau))
        losses = {"flow": flow, "cross": cross}
        return {name: torch.stack(values).mean() for name, values in losses.items() if values}

    def _local(self, seen: Seen, plain: Flown, rotated: Flown | None) -> tuple[Tensor, Tensor]:
        """LMCL and its accuracy, averaged over the clips that query."""
        assert self.neck is not None
        losses, accuracies = [], []
        for i, _ in seen.directions:
            flow = plain.queries[i].map
            turned = rotated.queries[i].map if rotated and self.config.mscl.rotated_steps else None
            steps = flow.shape[2]
            rgb = at_steps(self.neck(seen.queries[i].stages), steps)
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
