"""The sections on what the encoder is shown: clips of the videos, their flow, and random views of them."""

from dataclasses import dataclass
from typing import Literal

from kinevec.config.refusal import check


@dataclass(frozen=True)
class Clip:
    """What the encoder sees of a video at once."""

    frames: int = 8  # frames in a clip
    stride: int = 2  # source frames from one frame of the clip to the next
    size: int = 64  # height and width in pixels

    def __post_init__(self) -> None:
        check(self.frames >= 2, f"clip.frames is {self.frames}; motion needs at least 2")
        check(self.stride >= 1, f"clip.stride is {self.stride}; it must be at least 1")
        check(self.size >= 16, f"clip.size is {self.size} pixels; the encoders need at least 16")

    @property
    def span(self) -> int:
        """Source frames from the first to the last frame of a clip, both counted."""
        return (self.frames - 1) * self.stride + 1

    @property
    def window(self) -> int:
        """Source frames that a clip stands for: `stride` for each of its frames."""
        return self.frames * self.stride


@dataclass(frozen=True)
class Sampling:
    """Which two clips of a video are contrasted."""

    near: bool = False  # the second clip starts within a clip's window of the first (MSCL)
    moving: bool = False  # only clips whose motion changes more than the video's median (MSCL, MDS)


@dataclass(frozen=True)
class Flow:
    """Optical flow, where a term of the loss needs it; between source frames, before any cropping."""

    method: str = "dis"  # one of kinevec.motion.flow.METHODS, or "raft"
    weights: str = ""  # file of RAFT's weights, see kinevec.motion.raft
    gap: int = 8  # source frames from the first to the second frame of a pair
    short_side: int = 128  # pixels; larger frames are scaled down to it before their flow is computed
    store: Literal["auto", "cache", "run", "none"] = (
        "auto"  # cache: read what `kinevec flow` wrote; run: compute once when a run starts; none: for every
        # clip anew; auto: the cache where there is one, else run where it fits into data.store_limit_gb
    )

    def __post_init__(self) -> None:
        check(
            (self.method == "raft") == bool(self.weights),
            f"flow.method is {self.method} and flow.weights is '{self.weights}'; raft needs a file of weights, "
            "and no other method reads one",
        )
        check(self.gap >= 1, f"flow.gap is {self.gap}; it must be at least 1")
        check(self.short_side >= 32, f"flow.short_side is {self.short_side} pixels; flow needs at least 32")


@dataclass(frozen=True)
class Data:
    """Where clips come from and how they are loaded."""

    split: str = "train"  # the split that pretraining reads; "all" reads every video
    held_out: float = 0.25  # share of the videos to hold out as "test" where the data name no split
    store: Literal["auto", "frames", "files"] = (
        "auto"  # frames: decode once, scaled to what the smallest crop needs; files: decode for every clip
    )
    store_limit_gb: float = 4.0  # auto decodes once when the frames fit into this
    workers: int = -1  # loader processes; -1: a quarter of the cores beside a CPU, all but one beside a GPU
    failed_share: float = 0.1  # the run stops when more than this share of the clips could not be read

    def __post_init__(self) -> None:
        check(0 < self.held_out < 1, f"data.held_out is {self.held_out}; it must lie between 0 and 1")
        check(
            self.store_limit_gb >= 0, f"data.store_limit_gb is {self.store_limit_gb}; it cannot be negative"
        )
        check(
            self.workers >= -1, f"data.workers is {self.workers}; use -1 for automatic, 0 for none, or more"
        )
        check(0 <= self.failed_share <= 1, f"data.failed_share is {self.failed_share}; it is a share, 0 to 1")


@dataclass(frozen=True)
class Views:
    """Random views of a clip; every draw is made once per clip and holds for all its frames."""

    area: tuple[float, float] = (0.2, 1.0)  # of the crop, as a share of the frame
    aspect: tuple[float, float] = (3 / 4, 4 / 3)  # of the crop, width over height
    flip: float = 0.5  # probability; 0 where left and right mean something
    jitter: float = 0.8  # probability of changing colours at all
    brightness: float = 0.4  # factor drawn from 1 ± this; likewise the next two
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1  # turns of the colour circle, drawn from ± this
    grayscale: float = 0.2  # probability
    blur: float = 0.5  # probability
    blur_sigma: tuple[float, float] = (0.1, 2.0)  # pixels of the finished clip
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    color_on: Literal["auto", "worker", "device"] = "auto"  # auto: workers beside a CPU, else the device

    def __post_init__(self) -> None:
        low, high = self.area
        check(0 < low <= high <= 1, f"views.area is {self.area}; it needs 0 < low ≤ high ≤ 1")
        low, high = self.aspect
        check(0 < low <= high, f"views.aspect is {self.aspect}; it needs 0 < low ≤ high")
        for name in ("flip", "jitter", "grayscale", "blur"):
            p = getattr(self, name)
            check(0 <= p <= 1, f"views.{name} is {p}; it is a probability, 0 to 1")
        for name in ("brightness", "contrast", "saturation"):
            x = getattr(self, name)
            check(0 <= x <= 1, f"views.{name} is {x}; it must lie in 0 to 1")
        check(0 <= self.hue <= 0.5, f"views.hue is {self.hue} turns; it must lie in 0 to 0.5")
        low, high = self.blur_sigma
        check(0 < low <= high, f"views.blur_sigma is {self.blur_sigma}; it needs 0 < low ≤ high")
        check(min(self.std) > 0, f"views.std is {self.std}; every entry must be positive")
