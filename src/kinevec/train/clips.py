"""From a batch of the loader to the clips that a method sees, on the device."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from kinevec.config import Config
from kinevec.data.batch import Batch, Group
from kinevec.methods.mscl.rotation import draw_angles
from kinevec.views.pipeline import Clips, finish_batch, finish_difference


def step_seed(config: Config, step: int, part: int = 0) -> int:
    """The seed of what is random in a part of a step on the device: the run's seed, step and part decide it."""
    sequence = np.random.SeedSequence([config.train.seed, step], spawn_key=(part,) if part else ())
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)


def to_clips(
    batch: Batch, config: Config, device: torch.device, step: int, part: int = 0, parts: int = 1
) -> Clips:
    """Moves a batch to the device, applies what colour changes are left, and normalises.

    Args:
        step: of the run; decides by which angles flow is rotated.
        part, parts: which of so many equal parts of the step this batch is. A video is rotated by the same angle
            however many there are.
    """

    def moved(tensor: Tensor) -> Tensor:
        return tensor.to(device, non_blocking=True)

    def finished(group: Group, finish: Callable[..., Tensor]) -> list[Tensor]:
        clips = []
        for view, clip in enumerate(group.clips):
            colors = [None if part is None else moved(part[view]) for part in (group.matrix, group.sigma)]
            clips.append(finish(moved(clip), config.views, *colors))
        return clips

    def flows(group: Group) -> list[Tensor]:
        return [moved(clip).float() for clip in group.clips]

    local: list[Tensor] = []
    if batch.local is not None:
        is_flow = config.fima.motion == "flow"
        local = flows(batch.local) if is_flow else finished(batch.local, finish_difference)
    generator = torch.Generator().manual_seed(step_seed(config, step))
    half, mine = len(local) // 2, slice(part * len(batch), (part + 1) * len(batch))
    return Clips(
        finished(batch.rgb, finish_batch),
        boxes=[moved(box) for box in batch.rgb.boxes],
        angles=[moved(draw_angles(parts * len(batch), generator)[mine]) for _ in range(2)],
        difference=finished(batch.difference, finish_difference) if batch.difference is not None else (),
        flow=flows(batch.flow) if batch.flow is not None else (),
        local=(local[:half], local[half:]) if local else (),
    )


def example_clips(config: Config, videos: int, device: torch.device) -> Clips:
    """Clips of so many videos with nothing on them, in the shapes of a training step."""
    clip, n = config.clip, videos

    def images() -> Tensor:
        zeros = torch.zeros(n, 3, clip.frames, clip.size, clip.size, device=device)
        return zeros.contiguous(memory_format=torch.channels_last_3d)

    def flow() -> Tensor:
        return torch.zeros(n, 2, clip.frames, clip.size, clip.size, device=device)

    box = torch.tensor([[0.0, 0.0, 1.0, 1.0]], device=device).expand(n, 4)
    local = flow if config.fima.motion == "flow" else images
    return Clips(
        [images()] * 2,
        [box] * 2,
        [torch.zeros(n, device=device)] * 2,
        [images()] * 2 if "difference" in config.motions else (),
        [flow()] * 2 if "flow" in config.motions else (),
        [[local()] * config.fima.steps] * 2 if config.terms.frame else (),
    )
