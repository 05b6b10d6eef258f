"""A method is a sum of weighted terms on one encoder: MoCo, MSCL, FIMA, their ablations and their union.

Each step reads as: look at the clips, compute every term, and only then (`advance`) change state.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from kinevec import ranks
from kinevec.config import Config
from kinevec.errors import ConfigError
from kinevec.methods.branch import Branch, Key, Query
from kinevec.methods.fima.alignment import MotionAlignment
from kinevec.methods.infonce import info_nce
from kinevec.methods.memory import Queue, cosine_momentum
from kinevec.methods.mscl.motion_branch import MotionBranch
from kinevec.methods.seen import Part, Seen
from kinevec.models import build_encoder, find_encoder
from kinevec.models.encoder import Encoder
from kinevec.models.norm import BatchNorm, batch_norms, synchronise
from kinevec.views.pipeline import Clips


@dataclass(frozen=True)
class Losses:
    """What one step computes.

    Attributes:
        terms: named scalars, as they are in the papers.
        weights: of each term in the total.
        remember: queues and the (N, D) keys to push onto them once the step is over.
        embedding: (N, D) queries, detached, for the health figures.
        positive: (N, D), their positive keys, likewise.
        figures: further scalars worth a line in the log, such as accuracies.
    """

    terms: dict[str, Tensor]
    weights: dict[str, float]
    remember: Sequence[tuple[Queue, Tensor]]
    embedding: Tensor
    positive: Tensor
    figures: dict[str, Tensor] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        """The weighted sum of the terms."""
        return torch.stack([self.weights[name] * term for name, term in self.terms.items()]).sum()


def joint(losses: Sequence[Losses]) -> Losses:
    """One step's losses from those of its equal parts: means of scalars, and all keys, part by part; detached."""
    if len(losses) == 1:
        return losses[0]

    def means(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {name: torch.stack([part[name].detach() for part in parts]).mean() for name in parts[0]}

    queues = [queue for queue, _ in losses[0].remember]
    keys = [torch.cat([part.remember[i][1] for part in losses]) for i in range(len(queues))]
    return Losses(
        means([part.terms for part in losses]),
        losses[0].weights,
        list(zip(queues, keys, strict=True)),
        torch.cat([part.embedding for part in losses]),
        torch.cat([part.positive for part in losses]),
        means([part.figures for part in losses]),
    )


class Method(nn.Module):
    """The RGB branch, and whatever the terms with a weight need beside it.

    `forward` computes and changes nothing but batch-norm statistics; `advance` is the one place where key
    encoders move and keys are remembered, after all losses of the step.

    Under several ranks each computes the losses of its own videos, and negatives from "the batch" (FIMA's cells and
    local clips) are those of its own, as in the authors' code. What all share is what `advance` leaves: the
    same key sides, queues and batch-norm statistics on every rank.

    Raises:
        ConfigError: as for `check_steps`.
    """

    def __init__(self, config: Config, generator: torch.Generator | None = None) -> None:
        super().__init__()
        check_steps(config)
        self.config = config
        self.rgb = Branch(build_encoder(config.model.name), config.method, generator)
        self.mscl = MotionBranch(config, self.encoder.widths, generator) if config.terms.mscl else None
        self.fima = MotionAlignment(config, self.encoder.channels, generator) if config.terms.fima else None
        if ranks.world() > 1:
            synchronise(self._norms("synchronised"))

    @property
    def encoder(self) -> Encoder:
        """What training is for."""
        return self.rgb.encoder

    def forward(self, clips: Clips) -> Losses:
        """The losses of one step on two clips of each of N videos."""
        seen = self._look(clips)
        parts = [self._instance(seen)]
        if self.mscl is not None:
            parts.append(self.mscl(seen, self.rgb))
        if self.fima is not None:
            parts.append(self.fima(seen, self.rgb))
        terms = {name: term for part in parts for name, term in part.terms.items()}
        return Losses(
            terms,
            {name: self._weight(name) for name in terms},
            [pair for part in parts for pair in part.remember],
            seen.queries[0].vector.detach(),
            seen.keys[1].vector,
            {name: figure for part in parts for name, figure in part.figures.items()},
        )

    def advance(self, losses: Losses, step: int, total: int) -> None:
        """Ends step `step` of `total`: key sides move towards query sides, and keys are remembered.

        Every rank remembers the keys of all of them, rank by rank. Batch-norm statistics gathered apart become their
        mean; they serve only when the encoder is used, since in training a batch is normalised by its own.
        """
        m = self.momentum(step, total)
        for branch in self.modules():
            if isinstance(branch, Branch):
                branch.follow(m)
        for queue, keys in losses.remember:
            queue.push(ranks.gather(keys))
        if ranks.world() > 1:
            apart = [norm for kind in ("own", "shuffled") for norm in self._norms(kind)]
            ranks.average_(
                [x for norm in apart for x in (norm.running_mean, norm.running_var) if x is not None]
            )

    def momentum(self, step: int, total: int) -> float:
        """m of the key encoders at a step."""
        method = self.config.method
        base = method.momentum
        return base if method.momentum_schedule == "constant" else cosine_momentum(step, total, base)

    def _norms(self, kind: str) -> list[BatchNorm]:
        """The batch norms of the sides for which the configuration names this kind."""
        branches = [module for module in self.modules() if isinstance(module, Branch)]
        keys = [
            norm for b in branches for side in (b.key_encoder, b.key_projector) for norm in batch_norms(side)
        ]
        of_keys = set(keys)
        queries = [norm for norm in batch_norms(self) if norm not in of_keys]
        method = self.config.method
        return (queries if method.query_norm == kind else []) + (keys if method.key_norm == kind else [])

    def _look(self, clips: Clips) -> Seen:
        directions = ((0, 1), (1, 0)) if self.config.method.symmetric else ((0, 1),)
        queries: dict[int, Query] = {}
        keys: dict[int, Key] = {}
        for i, j in directions:
            queries[i] = self.rgb.query(clips.rgb[i])
            keys[j] = self.rgb.key(clips.rgb[j])
        return Seen(clips, directions, queries, keys)

    def _instance(self, seen: Seen) -> Part:
        """L_inst, the mean over directions of InfoNCE(q_i; k_j; queue) (MoCo, arXiv:1911.05722)."""
        remember = [(self.rgb.queue, torch.cat([key.vector for key in seen.keys.values()]))]
        if not self.config.terms.instance:
            return Part({}, remember)
        negatives, tau = self.rgb.queue.negatives(), self.config.method.temperature
        losses = [
            info_nce(seen.queries[i].vector, seen.keys[j].vector, negatives, tau) for i, j in seen.directions
        ]
        return Part({"instance": torch.stack(losses).mean()}, remember)

    def _weight(self, name: str) -> float:
        """The weight of a term; a rotated one has that of its plain counterpart as well."""
        plain = name.removesuffix("_rotated")
        weight: float = getattr(self.config.terms, plain)
        return weight * self.config.terms.rotated if name != plain else weight


def check_steps(config: Config) -> None:
    """Refuses an encoder that there is not, and one that gives FIMA another number of time steps than it expects.

    Raises:
        ConfigError: so it is; says which number would be right.
    """
    build = find_encoder(config.model.name)
    if not config.terms.fima:
        return
    clip = config.clip
    with torch.device("meta"):  # shapes without numbers
        frames = torch.zeros(2, 3, clip.frames, clip.size, clip.size)
        steps = build().stages(frames)[-1].shape[2]
    if steps != config.fima.steps:
        raise ConfigError(
            f"fima.steps is {config.fima.steps}, but the encoder {config.model.name} gives {steps} time steps for "
            f"clips of {clip.frames} frames; set fima.steps={steps}"
        )
