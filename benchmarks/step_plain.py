"""Steps written the obvious way: fp32, contiguous, one clip after another, one tensor after another."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinevec.config import Config
from kinevec.methods.branch import Branch
from kinevec.methods.fima.foreground import foreground_mask
from kinevec.methods.fima.losses import frame_motion_loss, pixel_motion_loss
from kinevec.methods.infonce import info_nce
from kinevec.methods.memory import Queue
from kinevec.methods.method import Method
from kinevec.models.conv import Conv3d
from kinevec.views.pipeline import Clips

Remember = list[tuple[Queue, Tensor]]


def plain_step(model: Method, config: Config, look: Callable[[], Clips]) -> Callable[[], float]:
    """A step without autocast, memory layout, or fused optimiser and key side; FIMA's decoder step by step.

    Args:
        look: gives the clips of a step.
    """
    for layer in model.modules():
        if isinstance(layer, Conv3d) and layer.in_channels == 3:
            layer.register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(),))
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=1e-4, foreach=False, fused=False
    )

    def step() -> float:
        clips = look()
        loss, remember = (
            plain_fima(model, config, clips) if model.fima is not None else plain_forward(model, clips)
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 40.0, foreach=False)
        optimizer.step()
        with torch.no_grad():
            for branch in model.modules():
                if isinstance(branch, Branch):
                    follow(branch, config.method.momentum)
            for queue, keys in remember:
                queue.push(keys)
        return float(loss.detach())

    return step


def follow(branch: Branch, momentum: float) -> None:
    """The key side moves towards the query side, tensor by tensor."""
    for mine, theirs in (
        (branch.key_encoder, branch.encoder),
        (branch.key_projector, branch.projector),
    ):
        for old, new in zip(mine.parameters(), theirs.parameters(), strict=True):
            old.data = old.data * momentum + new.data * (1 - momentum)


def plain_forward(model: Method, clips: Clips) -> tuple[Tensor, Remember]:
    """MoCo and MSCL: they differ in nothing but layout and precision."""
    losses = model(clips)
    return losses.total, list(losses.remember)


def plain_fima(model: Method, config: Config, clips: Clips) -> tuple[Tensor, Remember]:
    """FIMA as one would write it down first."""
    rgb, fima, settings = model.rgb, model.fima, config.fima
    assert fima is not None
    assert fima.decoder is not None
    assert fima.local_queue is not None
    frames, differences, *local = (
        [clip.contiguous() for clip in group] for group in (clips.rgb, clips.difference, *clips.local)
    )

    def project(projector: nn.Module, features: Tensor) -> Tensor:  # (N, C, H, W)
        return projector(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    query = [rgb.encoder(clip) for clip in frames]
    q = [rgb.projector(x.mean((2, 3, 4))) for x in query]
    with torch.no_grad():
        key = [rgb.key_encoder(clip) for clip in frames]
        k = [rgb.key_projector(x.mean((2, 3, 4))) for x in key]
        motion = [rgb.key_encoder(clip) for clip in differences]
        pooled = [
            [rgb.key_projector(rgb.key_encoder(clip).mean((2, 3, 4))) for clip in clips_of]
            for clips_of in local
        ]
        masks = [foreground_mask(key[i], motion[i]) for i in range(2)]
    negatives, past = rgb.queue.negatives(), fima.local_queue.negatives()
    instance, pixel, frame = [], [], []
    for m, n in ((0, 1), (1, 0)):
        instance.append(info_nce(q[m], k[n], negatives, config.method.temperature))
        steps = range(query[m].shape[2])
        for t in steps:
            token, cells = fima.decoder(query[m][:, :, t], query[n][:, :, t])
            with torch.no_grad():
                dense = [project(rgb.key_projector, motion[n][:, :, s]) for s in steps]
            others = [dense[s] for s in steps if s != t]
            pixel.append(
                pixel_motion_loss(
                    project(rgb.projector, cells),
                    dense[t],
                    torch.stack(others, 2) if others else None,
                    clips.boxes[m],
                    clips.boxes[n],
                    masks[m],
                    masks[n],
                    temperature=settings.temperature,
                    positive_radius=settings.positive_radius,
                )
            )
            rest = [pooled[n][s] for s in steps if s != t]
            frame.append(
                frame_motion_loss(
                    F.normalize(rgb.projector(token), dim=1),
                    pooled[n][t],
                    rest,
                    pooled[m],
                    temperature=settings.temperature,
                    queue=past,
                )
            )
    loss = torch.stack([torch.stack(terms).mean() for terms in (instance, pixel, frame)]).sum()
    return loss, [
        (rgb.queue, torch.cat(k)),
        (fima.local_queue, torch.cat([x for group in pooled for x in group])),
    ]
