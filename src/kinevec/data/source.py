"""One reader for clips, whatever they are kept in: video files, or frames decoded once.

`open_videos` probes every file of a collection and says which cannot be used and why.
"""

import csv
import io
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kinevec.data.decode import Clip, VideoInfo, iter_frames, probe, read_clip
from kinevec.data.records import Record
from kinevec.errors import DataError, OutputError, VideoError

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # (done, total)


@dataclass(frozen=True)
class Rejected:
    """A listed file that cannot be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Collection:
    """Videos that can be read: records and frame tables in the same order, and what was left out."""

    records: tuple[Record, ...]
    infos: tuple[VideoInfo, ...]
    rejected: tuple[Rejected, ...]

    def __len__(self) -> int:
        return len(self.records)

    def only(self, keep: Callable[[Record], bool]) -> "Collection":
        """The part whose records satisfy a condition; what was rejected stays listed."""
        pairs = [pair for pair in zip(self.records, self.infos, strict=True) if keep(pair[0])]
        return Collection(
            tuple(record for record, _ in pairs), tuple(info for _, info in pairs), self.rejected
        )


class Source(Protocol):
    """Anything that clips of a collection can be read from."""

    def __len__(self) -> int: ...

    def frames(self, index: int) -> int:
        """Number of frames of video `index`."""

    def read(self, index: int, numbers: Sequence[int]) -> Clip:
        """The frames with these numbers of video `index`; raises VideoError."""


def open_videos(records: Sequence[Record], progress: Progress | None = None) -> Collection:
    """Probes every video; files that cannot be read are left out and listed with the reason.

    Raises:
        DataError: not one video can be read.
    """
    good: list[Record] = []
    infos: list[VideoInfo] = []
    rejected: list[Rejected] = []
    for done, record in enumerate(records, 1):
        try:
            infos.append(probe(record.path))
            good.append(record)
        except VideoError as error:
            rejected.append(Rejected(record.name, error.reason))
        if progress:
            progress(done, len(records))
    if not good:
        first = rejected[0]
        raise DataError(f"none of {len(records)} videos can be read; the first, {first.name}: {first.reason}")
    for item in rejected:
        log.warning("left out %s: %s", item.name, item.reason)
    return Collection(tuple(good), tuple(infos), tuple(rejected))


def write_rejected(rejected: Sequence[Rejected], path: Path) -> None:
    """Writes `name,reason` lines; an empty list leaves only the header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "reason"])
    writer.writerows((item.name, item.reason) for item in rejected)
    path.write_text(text.getvalue(), "utf-8", "surrogateescape")  # names may hold bytes that are no text


class FileSource:
    """Decodes every clip from its video file."""

    def __init__(self, collection: Collection) -> None:
        self.infos = collection.infos

    def __len__(self) -> int:
        return len(self.infos)

    def frames(self, index: int) -> int:
        return self.infos[index].frames

    def read(self, index: int, numbers: Sequence[int]) -> Clip:
        info = self.infos[index]
        return read_clip(info.path, numbers, info=info)


class FrameStore:
    """All frames of a small collection, decoded once into one file of raw pixels and mapped into memory.

    Every process shares the same pages. A random clip costs a copy instead of decoding (measured: about
    a hundred times the rate of the original files).
    """

    def __init__(self, path: Path, infos: Sequence[VideoInfo], sizes: NDArray[np.int64]) -> None:
        self.path = path
        self.infos = tuple(infos)
        self.sizes = sizes  # (videos, 2): height and width of the kept frames
        bytes_each = np.array([info.frames for info in infos]) * sizes.prod(1) * 3
        self.starts = np.concatenate([[0], np.cumsum(bytes_each)])
        self._pixels: NDArray[np.uint8] | None = None

    @staticmethod
    def plan(infos: Sequence[VideoInfo], short_side: int) -> tuple[NDArray[np.int64], int]:
        """Sizes (videos, 2) after scaling down to a short side (never up), and the bytes of all frames."""
        sizes = []
        for info in infos:
            scale = min(1.0, short_side / min(info.height, info.width))
            sizes.append((math.ceil(info.height * scale), math.ceil(info.width * scale)))
        array = np.array(sizes, dtype=np.int64)
        return array, int((array.prod(1) * 3 * [info.frames for info in infos]).sum())

    @classmethod
    def build(
        cls, collection: Collection, path: Path, short_side: int, progress: Progress | None = None
    ) -> tuple["FrameStore", Collection]:
        """Decodes all videos into `path`; returns the store and the collection of those that decoded whole.

        Raises:
            OutputError: the file cannot be written (disk full?).
            DataError: not one video decodes to its end.
        """
        good: list[int] = []
        rejected = list(collection.rejected)
        sizes, total = cls.plan(collection.infos, short_side)
        try:
            with path.open("wb") as file:
                for index, info in enumerate(collection.infos):
                    start = file.tell()
                    height, width = (int(side) for side in sizes[index])
                    count = 0
                    try:
                        for frame in iter_frames(info.path, size=(height, width)):
                            file.write(frame.data)
                            count += 1
                        if count != info.frames:
                            raise VideoError(info.path, f"damaged: {count} of {info.frames} frames decode")
                        good.append(index)
                    except VideoError as error:
                        rejected.append(Rejected(collection.records[index].name, error.reason))
                        log.warning("left out %s", error)
                        file.seek(start)
                        file.truncate()
                    if progress:
                        progress(index + 1, len(collection))
        except OSError as error:
            path.unlink(missing_ok=True)
            raise OutputError(
                f"{path}: cannot write {total / 1e9:.1f} GB of decoded frames: {error.strerror}; "
                "free some space or set data.store=files"
            ) from error
        if not good:
            path.unlink()
            raise DataError(f"none of {len(collection)} videos decodes to its end")
        kept = Collection(
            tuple(collection.records[i] for i in good),
            tuple(collection.infos[i] for i in good),
            tuple(rejected),
        )
        return cls(path, kept.infos, sizes[good]), kept

    def __len__(self) -> int:
        return len(self.infos)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pixels": None}  # a worker maps the file itself

    def frames(self, index: int) -> int:
        return self.infos[index].frames

    def read(self, index: int, numbers: Sequence[int]) -> Clip:
        if self._pixels is None:
            self._pixels = np.memmap(self.path, dtype=np.uint8, mode="r")
        info = self.infos[index]
        height, width = self.sizes[index]
        video = self._pixels[self.starts[index] : self.starts[index + 1]]
        order = list(numbers)
        frames = video.reshape(info.frames, height, width, 3)[order]
        return Clip(np.asarray(frames), tuple(order), info.times[order])
