"""All that an audit shows of one video, from one pass over its file."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinevec.config import Config
from kinevec.data.decode import VideoInfo, read_clip
from kinevec.data.records import Record
from kinevec.data.sampling import even_clips
from kinevec.evaluate.audit import conditions, settings
from kinevec.evaluate.audit.background import Opacity, behind, lay_over, usable
from kinevec.evaluate.audit.masks import Masks
from kinevec.evaluate.audit.noise import moving_noise
from kinevec.evaluate.audit.settings import AuditConfig
from kinevec.views.geometry import decode_size
from kinevec.views.pipeline import centre_view

Clips = NDArray[np.uint8]  # (M, T, S, S, 3)


@dataclass(frozen=True)
class Scene:
    """What was made of one video.

    Attributes:
        record: the video.
        clips: condition → clips, of all conditions but the swapped background.
        opacity: (M, T, S, S) of the foreground in the original clips; None where none was found that can be used.
        ground: the original clips without their foreground; None likewise.
        faster: by how much the faster clips are.
    """

    record: Record
    clips: dict[str, Clips]
    opacity: Opacity | None
    ground: Clips | None
    faster: float


def read_scene(record: Record, info: VideoInfo, config: Config, audit: AuditConfig, masks: Masks) -> Scene:
    """Decodes a video once and makes its clips under every condition that needs no other video.

    Raises:
        VideoError: the file cannot be read any more.
    """
    size, rng = config.clip.size, conditions.generator(audit.seed, record.name)
    even = even_clips(info.frames, config.clip, audit.clips)
    speeds = {
        name: conditions.speed_of(info.frames, config.clip, wanted)
        for name, wanted in ((settings.SLOWER, conditions.SLOWER), (settings.FASTER, conditions.FASTER))
    }
    numbers = {settings.ORIGINAL: even} | {
        name: [conditions.at_speed(clip, info.frames, config.clip, speed) for clip in even]
        for name, speed in speeds.items()
    }
    needed = sorted({number for clips in numbers.values() for clip in clips for number in clip})
    decoded = read_clip(info.path, needed, info=info, size=decode_size(info.height, info.width, size)).frames
    frames = centre_view(decoded, size)
    place = {number: i for i, number in enumerate(needed)}
    places = {
        name: np.array([[place[number] for number in clip] for clip in clips])
        for name, clips in numbers.items()
    }
    clips = {name: frames[where] for name, where in places.items()}
    clips |= _changed(clips[settings.ORIGINAL], audit.flow, rng)
    mask = masks.read(record, info, needed, decoded)
    opacity = None if mask is None else _shrunk(mask, size)
    if opacity is None or not usable(opacity):
        return Scene(record, clips, None, None, speeds[settings.FASTER])
    where = places[settings.ORIGINAL]
    ground = behind(frames, opacity)[where]
    return Scene(record, clips, opacity[where], ground, speeds[settings.FASTER])


def swapped(scene: Scene, donor: Scene) -> Clips | None:
    """The foreground of one video over the background of another; None where either is not known, or their
    labels are the same."""
    if scene.opacity is None or donor.ground is None or scene.record.label == donor.record.label:
        return None
    return lay_over(scene.clips[settings.ORIGINAL], scene.opacity, donor.ground)


def _changed(original: Clips, flow: str, rng: np.random.Generator) -> dict[str, Clips]:
    """The conditions that are functions of the clip, all draws once per video."""
    # Each has a generator of its own: what one draws leaves the others as they are.
    order_rng, color_rng, noise_rng = rng.spawn(3)
    result = {
        settings.STATIC: np.stack([conditions.static(clip) for clip in original]),
        settings.REVERSED: original[:, ::-1],
        settings.APPEARANCE_FREE: np.stack([moving_noise(clip, noise_rng, flow) for clip in original]),
        settings.RECOLOURED: conditions.recolour(original, conditions.draw_recolour(color_rng)),
    }
    if original.shape[1] >= 3:
        result[settings.SHUFFLED] = original[:, conditions.draw_order(original.shape[1], order_rng)]
    return result


def _shrunk(mask: NDArray[np.bool_], size: int) -> Opacity:
    """Masks (N, H, W) as the clips are cut and scaled: opacities (N, size, size)."""
    white = np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=3)
    return np.asarray(centre_view(white, size)[..., 0] / 255, np.float32)
