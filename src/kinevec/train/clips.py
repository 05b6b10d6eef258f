"""From a batch of the loader to the clips that a method sees, on the device."""

import numpy as np
import torch
from torch import Tensor

from kinevec.config import Config
from kinevec.data.batch import Batch, Group
from kinevec.methods.mscl.rotation import draw_angles
from kinevec.views.pipeline import Clips, finish_batch, finish_difference


def step_seed(config: Config, step: int) -> int:
    """The seed of all that is random in a step on the device: the run's seed and the step decide it."""
    return int(np.random.SeedSequence([config.train.seed, step]).generate_state(1, np.uint64)[0] >> 1)


def to_clips(batch: Batch, config: Config, device: torch.device, step: int) -> Clips:
    """Moves a batch to the device, applies what colour changes are left, and normalises.

    Args:
        step: of the run; decides by which angles flow is rotated.
    """

    def moved(tensor: Tensor) -> Tensor:
        return tensor.to(device, non_blocking=True)

    def differences(group: Group) -> list[Tensor]:
        return [
            finish_difference(moved(clip), config.views, *_colors(group, view, device))
            for view, clip in enumerate(group.clips)
        ]

    def flows(group: Group) -> list[Tensor]:
        return [moved(clip).float() for clip in group.clips]

    rgb = [
        finish_batch(moved(clip), config.views, *_colors(batch.rgb, view, device))
        for view, clip in enumerate(batch.rgb.clips)
    ]
    local: list[Tensor] = []
    if batch.local is not None:
        local = flows(batch.local) if config.fima.motion == "flow" else differences(batch.local)
    generator = torch.Generator().manual_seed(step_seed(config, step))
    half = len(local) // 2
    return Clips(
        rgb,
        boxes=[moved(box) for box in batch.rgb.boxes],
        angles=[moved(draw_angles(len(batch), generator)) for _ in range(2)],
        difference=differences(batch.difference) if batch.difference is not None else (),
        flow=flows(batch.flow) if batch.flow is not None else (),
        local=(local[:half], local[half:]) if local else (),
    )


def example_clips(config: Config, videos: int, device: torch.device) -> Clips:
    """Clips of so many videos with nothing on them, in the shapes of a training step."""
    clip, n = config.clip, videos

    def images(frames: int) -> Tensor:
        zeros = torch.zeros(n, 3, frames, clip.size, clip.size, device=device)
        return zeros.contiguous(memory_format=torch.channels_last_3d)

    def flow(frames: int) -> Tensor:
        return torch.zeros(n, 2, frames, clip.size, clip.size, device=device)

    box = torch.tensor([[0.0, 0.0, 1.0, 1.0]], device=device).expand(n, 4)
    local = flow if config.fima.motion == "flow" else images
    return Clips(
        [images(clip.frames)] * 2,
        [box] * 2,
        [torch.zeros(n, device=device)] * 2,
        [images(clip.frames)] * 2 if "difference" in config.motions else (),
        [flow(clip.frames)] * 2 if "flow" in config.motions else (),
        [[local(clip.frames)] * config.fima.steps] * 2 if config.terms.frame else (),
    )


def _colors(group: Group, view: int, device: torch.device) -> tuple[Tensor | None, Tensor | None]:
    matrix = None if group.matrix is None else group.matrix[view].to(device, non_blocking=True)
    sigma = None if group.sigma is None else group.sigma[view].to(device, non_blocking=True)
    return matrix, sigma
