"""Where the foreground is: from files, from the procedural generator, or estimated from the frames."""

import json
import logging
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from kinevec.config import check, from_dict
from kinevec.data.decode import VideoInfo, probe, read_clip
from kinevec.data.records import Record
from kinevec.data.synthetic import SynthConfig, render_scene
from kinevec.errors import InputError, KinevecError, VideoError

log = logging.getLogger(__name__)

Mask = NDArray[np.bool_]  # (N, H, W)
Frames = NDArray[np.uint8]  # (N, H, W, 3)

LEVEL = 127  # grey level above which a pixel of a mask file is foreground
LEAST_CHANGE = 20.0  # grey levels from the video's median that an estimated foreground differs by at least
NOISE = 4.0  # times the video's typical change, likewise
GENERATED = "synth.json"  # what `kinevec synth` writes beside its videos


class Masks(Protocol):
    """Says where the foreground of a video is."""

    @property
    def source(self) -> str:
        """Where the masks come from, in words."""

    def read(self, record: Record, info: VideoInfo, numbers: Sequence[int], frames: Frames) -> Mask | None:
        """The foreground of the frames with these numbers, (N, H, W) at their size; None where it is not known.

        Args:
            numbers: (N,) frame numbers.
            frames: (N, H, W, 3), those frames.
        """


class EstimatedMasks:
    """Whatever differs from the video's median frame: right for a camera that stands, rough for one that moves."""

    source = "estimated: what differs from the video's median frame"

    def read(self, record: Record, info: VideoInfo, numbers: Sequence[int], frames: Frames) -> Mask | None:
        still = np.median(frames, axis=0).astype(np.float32)
        change = np.abs(frames.astype(np.float32) - still).max(-1)
        change = np.stack([cv2.GaussianBlur(one, (0, 0), 1.0) for one in change])
        level = max(LEAST_CHANGE, NOISE * float(np.median(change)))
        near = max(3, min(frames.shape[1:3]) // 32 * 2 + 1)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (near, near))
        raw = (change > level).astype(np.uint8)
        return np.stack([cv2.morphologyEx(one, cv2.MORPH_CLOSE, kernel) for one in raw]).astype(bool)


class GeneratedMasks:
    """Where the procedural generator drew the object, for videos that `kinevec synth` wrote."""

    source = "from the procedural generator"

    def __init__(self, config: SynthConfig) -> None:
        self.config = config

    def read(self, record: Record, info: VideoInfo, numbers: Sequence[int], frames: Frames) -> Mask | None:
        label, _, index = PurePosixPath(record.name).stem.rpartition("_")
        if not label or not index.isdecimal():
            return None
        try:
            mask = render_scene(self.config, label, int(index)).mask
        except ValueError:  # not a video of this set
            return None
        return _resized(mask[list(numbers)], frames.shape[1:3]) if len(mask) == info.frames else None


class FileMasks:
    """One mask file per video, of the same name but for its ending, in the same subfolder.

    A video (grey; a depth video serves where only people have depth), a folder of one image per frame, or an
    array (F, H, W) in a `.npy` file.

    Args:
        root: the folder.
        level: grey level above which a pixel is foreground; of boolean arrays what is true.

    Raises:
        InputError: there is no such folder.
    """

    def __init__(self, root: Path, level: int = LEVEL) -> None:
        check(0 <= level < 255, f"the level of masks is {level}; it must lie in 0 to 254")
        if not root.is_dir():
            raise InputError(f"{root}: no such folder of masks")
        self.root = root
        self.level = level
        self.source = f"from {root}, grey level above {level}"

    def read(self, record: Record, info: VideoInfo, numbers: Sequence[int], frames: Frames) -> Mask | None:
        found = self._find(record.name)
        if found is None:
            return None
        try:
            mask = self._load(found, info.frames, numbers)
        except (KinevecError, OSError, ValueError) as error:
            log.warning("no mask for %s: %s", record.name, error)
            return None
        return _resized(mask, frames.shape[1:3])

    def _find(self, name: str) -> Path | None:
        """The file or folder; never one outside the root, whatever the name holds."""
        relative = PurePosixPath(name)
        place = (self.root / relative.parent).resolve()
        if not place.is_relative_to(self.root.resolve()) or not place.is_dir():
            return None
        found = sorted(path for path in place.iterdir() if relative.stem in (path.stem, path.name))
        return found[0] if found else None

    def _load(self, path: Path, frames: int, numbers: Sequence[int]) -> Mask:
        if path.is_dir():
            images = sorted(item for item in path.iterdir() if item.is_file())
            _same_length(path, len(images), frames)
            return np.stack([self._image(images[number]) for number in numbers]) > self.level
        if path.suffix == ".npy":
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
            if array.ndim != 3:
                raise VideoError(path, f"masks are an array (F, H, W), found {array.shape}")
            _same_length(path, len(array), frames)
            part = np.asarray(array[list(numbers)])
            return part if part.dtype == bool else part > self.level
        info = probe(path)
        _same_length(path, info.frames, frames)
        grey = read_clip(path, numbers, info=info).frames.mean(-1)
        return np.asarray(grey > self.level)

    def _image(self, path: Path) -> NDArray[np.uint8]:
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise VideoError(path, "not an image that can be read")
        return np.asarray(image, np.uint8)


def open_masks(root: Path, level: int = LEVEL) -> Masks:
    """The masks of a folder: of its files, or drawn again where `kinevec synth` wrote it.

    Raises:
        InputError: there is no such folder, or it was made by another version of the generator.
    """
    listed = root / GENERATED
    if not listed.is_file():
        return FileMasks(root, level)
    try:
        written = json.loads(listed.read_text("utf-8"))
        known = {field.name for field in fields(SynthConfig)}
        return GeneratedMasks(from_dict(SynthConfig, {key: written[key] for key in known}))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{listed}: not a list of how videos were made ({error})") from error


def masks_of(data: Path) -> Masks:
    """Where no masks are named: drawn again for videos that `kinevec synth` wrote, else estimated from the frames."""
    return open_masks(data) if (data / GENERATED).is_file() else EstimatedMasks()


def _same_length(path: Path, found: int, frames: int) -> None:
    if found != frames:
        raise VideoError(path, f"has {found} masks, but the video has {frames} frames")


def _resized(mask: Mask, size: tuple[int, int]) -> Mask:
    """Masks (N, h, w) at another size (H, W): foreground where at least half is."""
    if mask.shape[1:] == tuple(size):
        return mask
    height, width = size
    shares = [
        cv2.resize(one, (width, height), interpolation=cv2.INTER_AREA) for one in mask.astype(np.float32)
    ]
    return np.stack(shares) >= 0.5
