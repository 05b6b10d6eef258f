"""Procedural motion videos: ten classes that differ only in how a textured object moves.

A single frame tells nothing of the class: shape, texture, colours, background and camera drift are drawn without
looking at it, and what the motion itself does to a frame is balanced. At a random frame of a random video the
object's size and orientation have the same distribution in each class, and its place the same mean and covariance.
"""

import csv
import io
import json
import multiprocessing
import signal
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from kinevec.data import textures
from kinevec.data.script import check_script
from kinevec.data.trajectories import CLASSES, Trajectory, draw_trajectory
from kinevec.data.whole import make_folder, write_text, write_whole, writing
from kinevec.errors import ConfigError, OutputError

_GENERATOR = 1  # raise it whenever the same configuration would give other videos
_GOP = 16  # frames from one keyframe to the next


@dataclass(frozen=True)
class SynthConfig:
    """Which set of videos to make.

    Raises:
        ConfigError: a value makes no sense.
    """

    videos_per_class: int = 40
    test_share: float = 0.25  # of each class
    frames: int = 48
    fps: int = 24
    size: int = 96  # pixels, height and width
    background: Literal["unbiased", "biased"] = (
        "unbiased"  # biased: tells the class in train, misleads in test
    )
    light: float = 1.0  # on the background; less than 1: darker and of less contrast
    seed: int = 0

    def __post_init__(self) -> None:
        for key, least in {"videos_per_class": 1, "frames": 2, "fps": 1, "size": 32, "seed": 0}.items():
            if getattr(self, key) < least:
                raise ConfigError(f"{key} is {getattr(self, key)}; it must be at least {least}.")
        if self.size % 2:
            raise ConfigError(
                f"size is {self.size} pixels; H.264 needs an even number. Take {self.size + 1}."
            )
        if not 0 <= self.light <= 1:
            raise ConfigError(f"light is {self.light}; it must lie between 0 (black) and 1.")
        if not 0 <= self.test_share < 1:
            raise ConfigError(f"test_share is {self.test_share}; it must be at least 0 and below 1.")
        if self.test_videos == 0 < self.test_share or self.test_videos == self.videos_per_class:
            raise ConfigError(
                f"test_share {self.test_share} of {self.videos_per_class} videos per class is {self.test_videos} "
                "test videos: one split would be empty. Raise videos_per_class, or set test_share to 0."
            )
        known = get_args(SynthConfig.__annotations__["background"])
        if self.background not in known:
            raise ConfigError(f"background is {self.background!r}; it must be one of {', '.join(known)}.")

    @property
    def test_videos(self) -> int:
        """Test videos of each class."""
        return round(self.videos_per_class * self.test_share)

    def split(self, index: int) -> str:
        """The split of video `index` of any class: the last ones are test."""
        return "train" if index < self.videos_per_class - self.test_videos else "test"


@dataclass(frozen=True, eq=False)
class SynthVideo:
    """A rendered video with its ground truth."""

    frames: NDArray[np.uint8]  # (T, H, W, 3) RGB
    background: NDArray[np.uint8]  # (T, H, W, 3): the same video without the object
    mask: NDArray[np.bool_]  # (T, H, W): pixels of which the object covers more than half
    trajectory: Trajectory


def _background_family(config: SynthConfig, label: str, index: int, rng: np.random.Generator) -> int:
    """Any family; when biased, the class's own in train and in test that of the class half the list away."""
    drawn = int(rng.integers(len(CLASSES)))
    if config.background == "unbiased":
        return drawn
    shift = 0 if config.split(index) == "train" else len(CLASSES) // 2
    return (CLASSES.index(label) + shift) % len(CLASSES)


def render_scene(config: SynthConfig, label: str, index: int) -> SynthVideo:
    """Render video `index` of class `label` with its ground truth.

    Motion, object and background come from generators of their own: the same video of a biased and of an unbiased
    set has the same motion and differs in its background.

    Raises:
        ValueError: there is no such class or video.
    """
    if label not in CLASSES or not 0 <= index < config.videos_per_class:
        raise ValueError(f"no video {index} of class {label!r}: {config.videos_per_class} each of {CLASSES}")
    base = np.random.default_rng([config.seed, CLASSES.index(label), index])
    motion_rng, object_rng, ground_rng = base.spawn(3)
    trajectory = draw_trajectory(motion_rng, label, config.frames, config.size)
    families = textures.background_families(len(CLASSES))
    family = families[_background_family(config, label, index, ground_rng)]
    canvas = textures.background_canvas(ground_rng, family, len(families), side=3 * config.size // 2)
    canvas *= np.float32(config.light)
    heading, speed = ground_rng.uniform(0, 2 * np.pi), ground_rng.uniform(0.0005, 0.004) * config.size
    corner = ground_rng.uniform(0, canvas.shape[0], 2)
    drift = corner + speed * np.arange(config.frames)[:, None] * (np.cos(heading), np.sin(heading))
    background = textures.drifting_background(canvas, config.size, drift)
    sprite = textures.object_sprite(object_rng, config.size, canvas.mean(axis=(0, 1), dtype=np.float64))
    scene, mask = textures.overlay(
        sprite, background, trajectory.centre, trajectory.diameter, trajectory.angle
    )
    return SynthVideo(_to_bytes(scene), _to_bytes(background), mask, trajectory)


def render_video(config: SynthConfig, label: str, index: int) -> NDArray[np.uint8]:
    """The frames (T, H, W, 3) of video `index` of class `label`, before compression; see `render_scene`."""
    return render_scene(config, label, index).frames


def _to_bytes(video: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(video.clip(0, 1) * 255), np.uint8)


def _encode(frames: NDArray[np.uint8], fps: int) -> bytes:
    """H.264 in MP4, the same bytes for the same frames: one thread, no date and no version in the file."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        # With its macroblock tree x264 now and then codes small frames in another way.
        settings = {"crf": "18", "preset": "veryfast", "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate=fps, options=settings)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = _GOP
        stream.codec_context.max_b_frames = 0
        stream.codec_context.thread_count = 1  # x264's choices depend on the number of threads
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def _relative_path(label: str, index: int) -> Path:
    return Path("videos") / label / f"{label}_{index:05d}.mp4"


def _write_video(root: Path, config: SynthConfig, job: tuple[str, int]) -> None:
    content = _encode(render_video(config, *job), config.fps)
    path = root / _relative_path(*job)
    make_folder(path.parent)
    write_whole(path, lambda aside: aside.write_bytes(content))


def _start_worker() -> None:
    """Each worker is one thread, and leaves Ctrl-C to its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def _claim(root: Path, config: SynthConfig) -> None:
    """Make `root` the place of this set, or find that it is already."""
    made_from = root / "synth.json"
    text = json.dumps({"generator": _GENERATOR, "classes": CLASSES, **asdict(config)}, indent=2) + "\n"
    with writing(root):
        if made_from.is_file():
            if made_from.read_text() != text:
                raise OutputError(
                    f"{root} holds synthetic videos made from another configuration (see synth.json in it). "
                    "Choose another folder, or remove this one."
                )
        elif root.exists() and any(root.iterdir()):
            raise OutputError(
                f"{root} is not empty, and what it holds was not made here. Choose a new folder."
            )
        else:
            root.mkdir(parents=True, exist_ok=True)
            write_text(made_from, text)


def write_synthetic_videos(
    root: Path,
    config: SynthConfig,
    *,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 1,
) -> Path:
    """Write `config.videos_per_class` H.264 files of each class under `root`, and a list of them.

    Where `root` holds a part of the same set already, for instance after an interruption, only what is missing is
    written. The files do not depend on `workers`.

    Args:
        root: folder to write; must be new, empty, or made from the same configuration.
        config: which set.
        progress: called with (files there, files in all) after each file.
        workers: processes; they are spawned, so a script that asks for several needs the usual
            `if __name__ == "__main__"`.

    Returns:
        `root/labels.csv` with the columns path (relative to `root`), label, split. It is written last.

    Raises:
        OutputError: `root` holds something else, or cannot be written.
        UsageError: the workers would carry out the running script anew.
        ValueError: fewer than one worker.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1")
    if workers > 1:
        check_script()
    jobs = [(label, index) for label in CLASSES for index in range(config.videos_per_class)]
    _claim(root, config)
    missing = [job for job in jobs if not (root / _relative_path(*job)).is_file()]
    with ExitStack() as stack:
        each = _mapper(workers, stack)
        there = len(jobs) - len(missing)
        for done, _ in enumerate(each(partial(_write_video, root, config), missing), start=there + 1):
            if progress:
                progress(done, len(jobs))
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("path", "label", "split"))
    rows.writerows((_relative_path(*job).as_posix(), job[0], config.split(job[1])) for job in jobs)
    labels = root / "labels.csv"
    write_text(labels, table.getvalue())
    return labels


def _mapper(workers: int, stack: ExitStack) -> Callable[..., Iterable[None]]:
    """`map` in this process, or in a pool which ends with the `stack` and then drops what has not begun."""
    if workers == 1:
        return map
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker)
    stack.callback(pool.shutdown, cancel_futures=True)
    return pool.map
