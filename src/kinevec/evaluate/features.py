"""Features of labelled videos: what a frozen encoder says of evenly spaced clips of each."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from kinevec.config import Config
from kinevec.data.decode import VideoInfo, read_clip
from kinevec.data.records import Record
from kinevec.data.sampling import even_clips
from kinevec.data.source import Collection, Progress, Rejected
from kinevec.errors import DataError, VideoError
from kinevec.evaluate.encode import ClipEncoder
from kinevec.views.pipeline import centre_view

log = logging.getLogger(__name__)

LARGE = 4  # times the clip's size: frames with a larger short side are scaled down while decoding


@dataclass(frozen=True)
class Features:
    """Clip features of V videos.

    Attributes:
        clips: float32 (V, M, C), the pooled encoder output of M clips a video.
        collection: the V videos, in this order.
    """

    clips: NDArray[np.float32]
    collection: Collection

    @property
    def videos(self) -> NDArray[np.float32]:
        """(V, C), the mean over each video's clips."""
        mean: NDArray[np.float32] = self.clips.mean(1)
        return mean

    @property
    def labels(self) -> list[str]:
        """(V,), "" where a video has no label."""
        return [record.label or "" for record in self.collection.records]

    def only(self, keep: Callable[[Record], bool]) -> "Features":
        """The videos whose records satisfy a condition."""
        places = [i for i, record in enumerate(self.collection.records) if keep(record)]
        return Features(self.clips[places], self.collection.only(keep))

    def split(self, name: str) -> "Features":
        """The videos of one split."""
        return self.only(lambda record: record.split == name)


def extract(
    encoders: Mapping[str, nn.Module],
    config: Config,
    collection: Collection,
    *,
    clips: int = 10,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[str, Features]:
    """Features of every video for several encoders at once; each video is decoded only once.

    Clips are even in time; each is the central square of the frames (METHODS §3). A video that fails to
    decode is left out and listed in the collection's `rejected`.

    Args:
        encoders: name → frames (N, 3, T, H, W) to feature map (N, C, T', H', W'); they are moved to the
            device and put into evaluation mode.
        config: of the run: clip shape, normalisation, precision.
        clips: M, clips a video.
        device: where to compute; a run need not be judged where it was trained.

    Raises:
        DataError: not one video decodes.
    """
    encode = {name: ClipEncoder(encoder, config, device) for name, encoder in encoders.items()}
    found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in encoders}
    kept: list[str] = []
    rejected = list(collection.rejected)
    for index, record in enumerate(collection.records):
        try:
            batch = clips_of(config, collection.infos[index], clips)
        except VideoError as error:
            log.warning("left out %s: %s", record.name, error.reason)
            rejected.append(Rejected(record.name, error.reason))
        else:
            kept.append(record.name)
            for name, encoder in encode.items():
                found[name].append(encoder(batch))
        if progress:
            progress(index + 1, len(collection))
    if not kept:
        first = rejected[len(collection.rejected)]
        raise DataError(f"none of {len(collection)} videos decodes; the first, {first.name}: {first.reason}")
    names = set(kept)
    part = collection.only(lambda record: record.name in names)
    part = Collection(part.records, part.infos, tuple(rejected))
    return {name: Features(np.stack(rows), part) for name, rows in found.items()}


def clips_of(config: Config, info: VideoInfo, clips: int) -> NDArray[np.uint8]:
    """(M, T, S, S, 3): the clips of one video, even in time, decoded in one pass.

    Raises:
        VideoError: the file cannot be read any more.
    """
    numbers: Sequence[Sequence[int]] = even_clips(info.frames, config.clip, clips)
    needed = sorted({number for clip in numbers for number in clip})
    frames = centre_view(
        read_clip(info.path, needed, info=info, size=_bounded(info, config)).frames, config.clip.size
    )
    place = {number: i for i, number in enumerate(needed)}
    return np.stack([frames[[place[number] for number in clip]] for clip in numbers])


def _bounded(info: VideoInfo, config: Config) -> tuple[int, int] | None:
    """A size (height, width) to decode large frames to, so that a video fits into memory; None: as it is."""
    scale = LARGE * config.clip.size / min(info.height, info.width)
    return (math.ceil(info.height * scale), math.ceil(info.width * scale)) if scale < 1 else None
