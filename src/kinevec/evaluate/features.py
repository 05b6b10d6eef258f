"""Features of labelled videos: what a frozen encoder says of evenly spaced clips of each."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kinevec.config import Config
from kinevec.data.decode import VideoInfo, read_clip
from kinevec.data.records import Record
from kinevec.data.sampling import even_clips
from kinevec.data.source import Collection, Progress
from kinevec.errors import CheckpointError, DataError, VideoError
from kinevec.evaluate.crops import crop_views
from kinevec.evaluate.encode import ClipEncoder
from kinevec.views.geometry import decode_size

CLIPS = 10  # a video, even in time (docs/evaluation.md)

log = logging.getLogger(__name__)

Rows = Mapping[str, NDArray[np.float32]]  # of one video: name of an encoder → (M, C)


@dataclass(frozen=True)
class Features:
    """Clip features of V videos.

    Attributes:
        clips: float32 (V, M, C), the pooled encoder output of M clips a video; every crop of a clip is one of them.
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


class Extractor(Protocol):
    """Computes the features of videos elsewhere than in this process."""

    @property
    def device(self) -> torch.device:
        """The kind of device that it computes on."""

    def __call__(
        self,
        encoders: Mapping[str, nn.Module],
        config: Config,
        infos: Sequence[VideoInfo],
        clips: int,
        crops: int,
    ) -> Iterator[tuple[int, Rows | VideoError]]:
        """Yields, in any order, the number of each video with its features, or with what is wrong with its file."""


def extract(
    encoders: Mapping[str, nn.Module],
    config: Config,
    collection: Collection,
    *,
    clips: int = 10,
    crops: int = 1,
    device: str = "auto",
    extractor: Extractor | None = None,
    progress: Progress | None = None,
) -> dict[str, Features]:
    """Features of every video for several encoders at once; each video is decoded only once.

    Clips are even in time (docs/evaluation.md). A video that fails to
    decode is left out and listed in the collection's `rejected`.

    Args:
        encoders: name → frames (N, 3, T, H, W) to feature map (N, C, T', H', W'); they are moved to the
            device and put into evaluation mode.
        config: of the run: clip shape, normalisation, precision.
        clips: clips a video.
        crops: views of each clip: 1, the central square, or 3 along the longer side. M is clips · crops.
        device: where to compute; a run need not be judged where it was trained.
        extractor: who computes, on its own device; None: this process.

    Raises:
        DataError: not one video decodes.
        CheckpointError: features that are not finite.
    """
    asked = (encoders, config, collection.infos, clips, crops)
    found: dict[int, Rows] = {}
    failed: dict[int, str] = {}
    for done, (number, made) in enumerate(extractor(*asked) if extractor else _here(*asked, device), 1):
        if isinstance(made, VideoError):
            log.warning("left out %s: %s", collection.records[number].name, made.reason)
            failed[number] = made.reason
        else:
            found[number] = made
        if progress:
            progress(done, len(collection))
    part = collection.without(dict(sorted(failed.items())))
    if not found:
        first = part.rejected[len(collection.rejected)]
        raise DataError(f"none of {len(collection)} videos decodes; the first, {first.name}: {first.reason}")
    return {name: Features(np.stack([found[i][name] for i in sorted(found)]), part) for name in encoders}


def _here(
    encoders: Mapping[str, nn.Module],
    config: Config,
    infos: Sequence[VideoInfo],
    clips: int,
    crops: int,
    device: str,
) -> Iterator[tuple[int, Rows | VideoError]]:
    """What an extractor does, in this process, one video after the other."""
    encode = {name: ClipEncoder(encoder, config, device) for name, encoder in encoders.items()}
    for number, info in enumerate(infos):
        try:
            batch = clips_of(config, info, clips, crops)
        except VideoError as error:
            yield number, error
        else:
            yield number, encoded(encode, batch, info)


def encoded(encode: Mapping[str, ClipEncoder], clips: NDArray[np.uint8], info: VideoInfo) -> Rows:
    """What encoders make of the clips of a video.

    Raises:
        CheckpointError: features that are not finite; names encoder and video.
    """
    rows = {}
    for name, encoder in encode.items():
        try:
            rows[name] = encoder(clips)
        except CheckpointError as error:
            raise CheckpointError(f"{name}, {info.path}: {error}") from error
    return rows


def clips_of(config: Config, info: VideoInfo, clips: int, crops: int = 1) -> NDArray[np.uint8]:
    """(M, T, S, S, 3): the clips of one video, even in time, decoded in one pass; M is clips · crops.

    The crops of a clip follow each other.

    Raises:
        VideoError: the file cannot be read any more.
    """
    numbers: Sequence[Sequence[int]] = even_clips(info.frames, config.clip, clips)
    needed = sorted({number for clip in numbers for number in clip})
    size = decode_size(info.height, info.width, config.clip.size)
    views = crop_views(read_clip(info.path, needed, info=info, size=size).frames, config.clip.size, crops)
    place = {number: i for i, number in enumerate(needed)}
    return np.stack([view[[place[number] for number in clip]] for clip in numbers for view in views])
