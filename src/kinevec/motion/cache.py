"""Optical flow that `kinevec flow` computed once for a folder of prepared videos.

`flow/<settings>/` in that folder holds `settings.json`, a file for each video at `<2 digits>/<30 digits>.flow`,
and `rejected.csv`. A file is found by what identifies the frames that were read: the hash of the original, and
size, frames, width and height of the prepared file, as the manifest has them. So it is found again wherever the
folder is moved, and not where a video was prepared anew from other content or in another way.
"""

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinevec import config
from kinevec.data.manifest import Manifest
from kinevec.data.source import Source
from kinevec.data.whole import write_text, write_whole
from kinevec.errors import DataError, VideoError
from kinevec.motion.block import Block, Shape, block_bytes, write_block
from kinevec.motion.cache_settings import Settings, found_settings, mismatch
from kinevec.motion.flow import Flow

SUFFIX = ".flow"
_MAGIC = b"KVFLOW01"
_HEADER = len(_MAGIC) + 3 * 4  # the magic, and the shape of the flow


class FlowCache:
    """Cached flow of the videos of a manifest; see `kinevec.motion.frames.Flows`. Cheap to send to a process.

    A component is off by at most 1/254 of the fastest motion in its frame (`kinevec.motion.encoding`).

    Args:
        folder: of the files.
        manifest: of the videos.
        rejected: file → why the flow of its video could not be computed.
    """

    def __init__(self, folder: Path, manifest: Manifest, rejected: dict[str, str]) -> None:
        self.folder = folder
        self.frames = manifest.frames
        self.entries = np.array(
            list(entry_names(manifest)), dtype="S"
        )  # 32 bytes each, whatever their number
        self.rejected = rejected

    def __len__(self) -> int:
        return len(self.entries)

    def read(self, index: int, numbers: Sequence[int]) -> Flow:
        """Flow (T, 2, h, w) of the frames with these numbers of video `index`.

        Raises:
            VideoError: its flow could not be computed, or its file is not there any more or damaged.
        """
        return self._block(index).read(numbers)

    def change(self, index: int) -> NDArray[np.float32]:
        """Change of motion (F,) of each frame of video `index`; see `motion.statistics.color_differential`.

        Raises:
            VideoError: as `read`.
        """
        return self._block(index).change_of(int(self.frames[index]))

    def _block(self, index: int) -> Block:
        entry = self.entries[index].decode()
        path = entry_path(self.folder, entry)
        if entry in self.rejected:
            raise VideoError(path, f"has no flow: {self.rejected[entry]}")
        try:
            return _read(path)
        except (OSError, ValueError) as error:
            raise VideoError(
                path,
                f"cached flow is not there any more, or damaged ({error}): delete it and run kinevec flow",
            ) from error


def has_cache(folder: Path) -> bool:
    """Whether flow was cached in a folder of prepared videos, with whatever settings."""
    return bool(found_settings(folder))


def open_cache(folder: Path, manifest: Manifest, flow: config.Flow) -> FlowCache:
    """Opens the cached flow of a folder of prepared videos.

    Args:
        folder: that `kinevec prepare` made.
        manifest: of the videos that are needed.

    Raises:
        DataError: it was cached with other settings or not at all, or that of some videos is missing.
    """
    wanted = Settings.of(flow)
    again = f"run `kinevec flow {folder}{wanted.options()}`"
    found = found_settings(folder)
    if not found:
        raise DataError(f"{folder}: no flow was cached; {again}, or set flow.store=none")
    if wanted not in found:
        raise DataError(f"{folder}: {mismatch(found, wanted)}: {again}, or set flow.store=none")
    root = cache_folder(folder, wanted)
    made = stored(root)
    # The list is written at the end of a run; one that was stopped may have mended what it names.
    rejected = {entry: reason for entry, reason in read_rejected(root).items() if entry not in made}
    cache = FlowCache(root, manifest, rejected)
    there = made | rejected.keys()
    missing = [index for index, entry in enumerate(cache.entries) if entry.decode() not in there]
    if missing:
        names = ", ".join(manifest.record(index).name for index in missing[:3])
        raise DataError(
            f"{folder}: the flow of {len(missing):,} of {len(manifest):,} videos is not cached ({names}"
            f"{', ...' if len(missing) > 3 else ''}): {again}"
        )
    return cache


def cache_folder(folder: Path, settings: Settings) -> Path:
    """Where the flow of a folder of prepared videos is cached."""
    return folder / "flow" / settings.folder


def entry_names(manifest: Manifest) -> Iterator[str]:
    """What identifies the frames of each video: 32 hexadecimal digits. Copies of a video have the same."""
    columns = [manifest.numbers(name) for name in ("size", "frames", "width", "height")]
    for digest, *facts in zip(manifest.texts("hash"), *columns, strict=True):
        text = "/".join(map(str, (digest, *facts)))
        yield hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def entry_path(root: Path, entry: str) -> Path:
    """The file of an entry: one of 256 folders, and a name in it."""
    return root / entry[:2] / f"{entry[2:]}{SUFFIX}"


def stored(root: Path) -> set[str]:
    """The entries that are there. Each was written whole."""
    entries: set[str] = set()
    for shard in root.glob("[0-9a-f][0-9a-f]"):
        entries.update(
            shard.name + file.name.removesuffix(SUFFIX)
            for file in shard.iterdir()
            if file.name.endswith(SUFFIX) and not file.name.startswith(".")
        )
    return entries


def write_entry(path: Path, source: Source, index: int, flow: config.Flow) -> None:
    """Computes the flow of a video and writes its file, whole or not at all.

    Raises:
        VideoError: the video cannot be read.
        OutputError: the file cannot be written.
    """

    def write(aside: Path) -> None:
        with aside.open("wb") as file:
            file.write(bytes(_HEADER))
            shape = write_block(file, source, index, flow, scores=True)
            file.seek(0)
            file.write(_MAGIC + np.array(shape, "<i4").tobytes())

    write_whole(path, write)


def read_rejected(root: Path) -> dict[str, str]:
    """Entry → why there is none, from `rejected.csv`."""
    try:
        text = (root / "rejected.csv").read_text("utf-8")
    except FileNotFoundError:
        return {}
    return {row["entry"]: row["reason"] for row in csv.DictReader(io.StringIO(text))}


def write_rejected(root: Path, rejected: Sequence[tuple[str, str, str]]) -> None:
    """Writes a line for each (entry, name, reason).

    Raises:
        OutputError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("entry", "name", "reason"), *rejected])
    write_text(root / "rejected.csv", text.getvalue())


def _read(path: Path) -> Block:
    """A block, mapped into memory.

    Raises:
        OSError: there is no such file.
        ValueError: it is something else, or cut off.
    """
    data = np.memmap(path, dtype=np.uint8, mode="r")
    if bytes(data[: len(_MAGIC)]) != _MAGIC or len(data) < _HEADER:
        raise ValueError("not cached flow")
    shape = Shape(*np.frombuffer(data[len(_MAGIC) : _HEADER], "<i4").tolist())
    if len(data) != _HEADER + int(block_bytes(*shape)):
        raise ValueError(f"{len(data):,} bytes")
    return Block.of(data[_HEADER:], shape.height, shape.width)
