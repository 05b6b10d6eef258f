"""Small videos whose class can be read off the background's colour and off the motion, and encoders that read one."""

from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinevec.config import Clip, Config, Train
from kinevec.data.records import Record
from kinevec.data.source import Collection, open_videos
from kinevec.encoders import Loaded

SIDE, LENGTH, OBJECT = 40, 12, 16
CONFIG = Config(clip=Clip(frames=8, stride=1, size=SIDE), train=Train(precision="fp32"))
CLASSES = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}
COLOURS = dict(zip(CLASSES, [(150, 70, 70), (70, 150, 70), (70, 70, 150), (130, 130, 60)], strict=True))


def scene(label: str, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Frames (F, H, W, 3) of a textured square that moves a pixel a frame over a coloured ground, and its mask."""
    ground = np.array(COLOURS[label]) + rng.normal(0, 4, 3) + rng.normal(0, 3, (SIDE, SIDE, 1))
    coarse = rng.uniform(60, 200, (OBJECT // 2, OBJECT // 2)).repeat(2, 0).repeat(2, 1)
    frames = np.repeat(ground[None], LENGTH, 0)
    mask = np.zeros((LENGTH, SIDE, SIDE), bool)
    start = (SIDE - OBJECT) // 2 + rng.integers(-2, 3, 2)
    for t in range(LENGTH):
        x, y = start + (t - LENGTH // 2) * np.array(CLASSES[label])
        frames[t, y : y + OBJECT, x : x + OBJECT] = coarse[..., None]
        mask[t, y : y + OBJECT, x : x + OBJECT] = True
    return np.rint(frames).clip(0, 255).astype(np.uint8), mask


def write_video(path: Path, frames: NDArray[np.uint8]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=12, options={"preset": "ultrafast", "crf": "6"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv444p"
        stream.codec_context.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_set(root: Path, train: int, test: int) -> Collection:
    """Videos of every class, and their masks as arrays in `root`/masks."""
    records = []
    for label in CLASSES:
        (root / label).mkdir(parents=True)
        (root / "masks" / label).mkdir(parents=True)
        for i in range(train + test):
            frames, mask = scene(label, np.random.default_rng([len(records)]))
            name = f"{label}/{i}.mp4"
            write_video(root / name, frames)
            np.save(root / "masks" / f"{label}/{i}.npy", mask)
            records.append(Record(root / name, name, label, None, "train" if i < train else "test"))
    return open_videos(records)


class Hand(nn.Module):
    """An encoder that computes what it is told, in float64."""

    channels = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.read(x.double())[..., None, None, None]

    def read(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) → (N, C)."""
        raise NotImplementedError


class MiddleFrame(Hand):
    """The colours of the middle frame, on a coarse grid."""

    def read(self, x: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(x[:, :, x.shape[2] // 2], 3).flatten(1)


class FirstFrame(Hand):
    """The same of the first frame."""

    def read(self, x: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(x[:, :, 0], 3).flatten(1)


class Corners(Hand):
    """The colour of the corners of all frames, where nothing ever moves."""

    def read(self, x: Tensor) -> Tensor:
        return x[..., [0, 1, 2, -3, -2, -1], :][..., [0, 1, 2, -3, -2, -1]].mean((2, 3, 4))


class Motion(Hand):
    """The velocity that explains the changes from frame to frame best (least squares; exactly 0 where none are)."""

    def read(self, x: Tensor) -> Tensor:
        grey = x.mean(1)
        change = grey[:, 1:, 1:-1, 1:-1] - grey[:, :-1, 1:-1, 1:-1]
        both = (grey[:, 1:] + grey[:, :-1]) / 2
        across = (both[..., 1:-1, 2:] - both[..., 1:-1, :-2]) / 2
        down = (both[..., 2:, 1:-1] - both[..., :-2, 1:-1]) / 2
        energy = (across**2 + down**2).sum((1, 2, 3)) + 1e-9
        return (
            -torch.stack([(change * across).sum((1, 2, 3)), (change * down).sum((1, 2, 3))], 1)
            / energy[:, None]
        )


def by_hand(encoder: Hand) -> Loaded:
    return Loaded(encoder, CONFIG, "by hand", None)  # type: ignore[arg-type]
