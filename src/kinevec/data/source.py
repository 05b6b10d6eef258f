"""One reader for clips, whatever they are kept in: video files, or frames decoded once.

`open_videos` probes every file of a collection and says which cannot be used and why.
"""

import csv
import hashlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from kinevec.data.decode import Clip, VideoInfo, iter_frames, probe, read_clip
from kinevec.data.records import Record
from kinevec.data.whole import write_whole
from kinevec.errors import DataError, OutputError, VideoError

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # (done, total)


@dataclass(frozen=True)
class Rejected:
    """A listed file that cannot be used, and why."""

    name: str
    reason: str


class Videos(Protocol):
    """Videos that can be read, in an order. What is known of one video is made when it is asked for.

    `Collection` holds all of it in memory; a manifest (`kinevec.data.manifest`) next to nothing.
    """

    @property
    def frames(self) -> NDArray[np.int32]:
        """(N,) number of frames of each."""

    @property
    def sizes(self) -> NDArray[np.int32]:
        """(N, 2) height and width of each, pixels as shown."""

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """Listed files that cannot be used."""

    def __len__(self) -> int: ...

    def names(self) -> Iterator[str]:
        """The names of all, in order."""

    def record(self, index: int) -> Record:
        """What is known of video `index`."""

    def info(self, index: int) -> VideoInfo:
        """The frame table of video `index`."""

    def without(self, failed: Mapping[int, str]) -> Self:
        """The others than those at these places, which are listed as rejected with these reasons."""

    def listing(self) -> Any:
        """Which files these are, as JSON; see `kinevec.train.seen`."""


@dataclass(frozen=True)
class Collection:
    """Videos that can be read: records and frame tables in the same order, and what was left out."""

    records: tuple[Record, ...]
    infos: tuple[VideoInfo, ...]
    rejected: tuple[Rejected, ...]

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def frames(self) -> NDArray[np.int32]:
        """(N,) number of frames of each."""
        return np.array([info.frames for info in self.infos], dtype=np.int32)

    @property
    def sizes(self) -> NDArray[np.int32]:
        """(N, 2) height and width of each, pixels as shown."""
        sides = [(info.height, info.width) for info in self.infos]
        return np.array(sides, dtype=np.int32).reshape(-1, 2)

    def names(self) -> Iterator[str]:
        """The names of all, in order."""
        return (record.name for record in self.records)

    def record(self, index: int) -> Record:
        """What is known of video `index`."""
        return self.records[index]

    def info(self, index: int) -> VideoInfo:
        """The frame table of video `index`."""
        return self.infos[index]

    def without(self, failed: Mapping[int, str]) -> "Collection":
        """The others than those at these places, which are listed as rejected with these reasons."""
        good = [i for i in range(len(self)) if i not in failed]
        more = tuple(Rejected(self.records[i].name, reason) for i, reason in failed.items())
        return Collection(
            tuple(self.records[i] for i in good),
            tuple(self.infos[i] for i in good),
            self.rejected + more,
        )

    def listing(self) -> list[str]:
        """The path of each file."""
        return [str(record.path.resolve()) for record in self.records]

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


V = TypeVar("V", bound=Videos)


def fingerprint(videos: Videos) -> str:
    """The same for the same names in the same order only."""
    digest = hashlib.blake2b(digest_size=16)
    for name in videos.names():
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def shape_fingerprint(videos: Videos) -> str:
    """The same for videos of the same lengths and sizes in the same order only; no file is read."""
    digest = hashlib.blake2b(digest_size=16)
    for values in (videos.frames, videos.sizes):
        digest.update(np.asarray(values, dtype="<i4").tobytes())
    return digest.hexdigest()


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
    """Writes `name,reason` lines; an empty list leaves only the header.

    Raises:
        OutputError: it cannot be written; the file is as before.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "reason"])
    writer.writerows((item.name, item.reason) for item in rejected)
    names = text.getvalue().encode("utf-8", "surrogateescape")  # they may hold bytes that are no text
    write_whole(path, lambda aside: aside.write_bytes(names))


class FileSource:
    """Decodes every clip from its video file. As cheap to send to another process as its videos are."""

    def __init__(self, videos: Videos) -> None:
        self.videos = videos

    def __len__(self) -> int:
        return len(self.videos)

    def frames(self, index: int) -> int:
        return int(self.videos.frames[index])

    def read(self, index: int, numbers: Sequence[int]) -> Clip:
        info = self.videos.info(index)
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
    def plan(videos: Videos, short_side: int) -> tuple[NDArray[np.int64], int]:
        """Sizes (videos, 2) after scaling down to a short side (never up), and the bytes of all frames."""
        scale = np.minimum(1.0, short_side / videos.sizes.min(1, keepdims=True))
        sizes = np.ceil(videos.sizes * scale).astype(np.int64)
        return sizes, int((sizes.prod(1) * 3 * videos.frames).sum())

    @classmethod
    def build(
        cls, videos: V, path: Path, short_side: int, progress: Progress | None = None
    ) -> tuple["FrameStore", V]:
        """Decodes all videos into `path`; returns the store and the videos that decoded whole.

        Raises:
            OutputError: the file cannot be written (disk full?).
            DataError: not one video decodes to its end.
        """
        infos: list[VideoInfo] = []
        failed: dict[int, str] = {}
        sizes, total = cls.plan(videos, short_side)
        try:
            with path.open("wb") as file:
                for index in range(len(videos)):
                    info, start = videos.info(index), file.tell()
                    height, width = (int(side) for side in sizes[index])
                    count = 0
                    try:
                        for frame in iter_frames(info.path, size=(height, width)):
                            file.write(frame.data)
                            count += 1
                        if count != info.frames:
                            raise VideoError(info.path, f"damaged: {count} of {info.frames} frames decode")
                        infos.append(info)
                    except VideoError as error:
                        failed[index] = error.reason
                        log.warning("left out %s", error)
                        file.seek(start)
                        file.truncate()
                    if progress:
                        progress(index + 1, len(videos))
        except OSError as error:
            path.unlink(missing_ok=True)
            raise OutputError(
                f"{path}: cannot write {total / 1e9:.1f} GB of decoded frames: {error.strerror}; "
                "free some space or set data.store=files"
            ) from error
        if not infos:
            path.unlink()
            raise DataError(f"none of {len(videos)} videos decodes to its end")
        kept = np.delete(sizes, list(failed), axis=0)
        return cls(path, infos, kept), videos.without(failed) if failed else videos

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
