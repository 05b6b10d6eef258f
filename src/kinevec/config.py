"""Configuration: frozen dataclasses, read from TOML presets and files, refusing what makes no sense.

`load("moco", ["train.epochs=3"])` reads a preset and changes one value; `to_toml` writes a
configuration back so that reading it again gives an equal one.
"""

import dataclasses
import difflib
import math
import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

import tomli_w

from kinevec.errors import ConfigError

T = TypeVar("T")


def check(condition: bool, message: str) -> None:
    """Raises `ConfigError(message)` unless the condition holds."""
    if not condition:
        raise ConfigError(message)


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


@dataclass(frozen=True)
class Model:
    """The encoder."""

    name: str = "tiny"  # one of kinevec.models.ENCODERS


@dataclass(frozen=True)
class Method:
    """Contrast between two clips of one video (METHODS: MoCo)."""

    name: Literal["moco"] = "moco"
    dim: int = 128  # D, length of the projected vectors
    hidden: int = 512  # width of the projector's hidden layer
    centred: bool = False  # a batch norm before the projector, for small encoders and short schedules
    queue: int = 65_536  # K, past keys that serve as negatives
    temperature: float = 0.07  # τ
    momentum: float = 0.994  # m of the key encoder at the start
    momentum_schedule: Literal["cosine", "constant"] = "cosine"  # cosine: m rises to 1
    symmetric: bool = False  # average the loss of both directions

    def __post_init__(self) -> None:
        check(self.dim >= 2, f"method.dim is {self.dim}; it must be at least 2")
        check(self.hidden >= 1, f"method.hidden is {self.hidden}; it must be at least 1")
        check(self.queue >= 1, f"method.queue is {self.queue}; it must hold at least 1 key")
        check(self.temperature > 0, f"method.temperature is {self.temperature}; it must be positive")
        check(0 <= self.momentum <= 1, f"method.momentum is {self.momentum}; it must lie in 0 to 1")


@dataclass(frozen=True)
class Train:
    """The optimisation."""

    epochs: int = 200
    batch: int = 128  # videos per step
    optimizer: Literal["sgd", "adamw"] = "sgd"  # sgd has momentum 0.9
    lr: float = 0.02  # the peak of the cosine schedule
    weight_decay: float = 1e-4  # on all parameters
    warmup_epochs: float = 5.0  # linear rise of lr from 0
    clip_norm: float = 40.0  # gradients are scaled down to this norm; 0: never
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 where the hardware has it
    seed: int = 0
    device: str = "auto"  # auto: cuda where there is one, else cpu

    def __post_init__(self) -> None:
        check(self.epochs >= 1, f"train.epochs is {self.epochs}; it must be at least 1")
        check(self.batch >= 2, f"train.batch is {self.batch}; batch norm needs at least 2")
        check(self.lr > 0, f"train.lr is {self.lr}; it must be positive")
        check(self.weight_decay >= 0, f"train.weight_decay is {self.weight_decay}; it cannot be negative")
        check(self.clip_norm >= 0, f"train.clip_norm is {self.clip_norm}; it cannot be negative")
        check(0 <= self.seed < 2**63, f"train.seed is {self.seed}; it must lie in 0 to 2^63 - 1")
        check(
            0 <= self.warmup_epochs < self.epochs,
            f"train.warmup_epochs is {self.warmup_epochs}; it must be below train.epochs = {self.epochs}; set it too",
        )


@dataclass(frozen=True)
class Config:
    """All that decides a pretraining run."""

    clip: Clip = field(default_factory=Clip)
    data: Data = field(default_factory=Data)
    views: Views = field(default_factory=Views)
    model: Model = field(default_factory=Model)
    method: Method = field(default_factory=Method)
    train: Train = field(default_factory=Train)


def presets() -> dict[str, str]:
    """Names of the presets → the first comment line of each, which says what it is."""
    files = sorted(resources.files("kinevec.presets").iterdir(), key=lambda file: file.name)
    return {
        file.name.removesuffix(".toml"): file.read_text("utf-8").splitlines()[0].lstrip("# ")
        for file in files
        if file.name.endswith(".toml")
    }


def load(source: str | Path, changes: Iterable[str] = ()) -> Config:
    """Reads a preset or a TOML file and applies changes such as `"train.epochs=3"`.

    Raises:
        ConfigError: no such preset or file, not TOML, an unknown key, or a value that makes no sense.
    """
    tree = _read_tree(source)
    for change in changes:
        _apply(tree, change)
    return from_dict(Config, tree)


def from_dict(kind: type[T], tree: Mapping[str, Any], prefix: str = "") -> T:
    """Builds a configuration dataclass from plain dictionaries; missing keys keep their defaults.

    Raises:
        ConfigError: an unknown key (names the nearest known one) or a value of the wrong type.
    """
    hints = typing.get_type_hints(kind)
    values = {}
    for key, value in tree.items():
        if key not in hints:
            raise ConfigError(f"unknown key '{prefix}{key}'{_nearest(key, hints)}")
        values[key] = _typed(hints[key], value, f"{prefix}{key}")
    return kind(**values)


def to_dict(config: Any) -> dict[str, Any]:
    """Plain dictionaries, lists and values of a configuration dataclass."""
    tree: dict[str, Any] = dataclasses.asdict(config)
    return tree


def to_toml(config: Config) -> str:
    """The configuration as TOML text; floats are written so that reading gives them back exactly."""
    return tomli_w.dumps(to_dict(config))


def differences(old: Config, new: Config) -> list[str]:
    """Lines such as `train.lr: 0.02 → 0.05` for every value in which two configurations differ."""
    lines = []
    for section, values in to_dict(old).items():
        for key, value in values.items():
            other = getattr(getattr(new, section), key)
            if value != other:
                lines.append(f"{section}.{key}: {value} → {other}")
    return lines


def _read_tree(source: str | Path) -> dict[str, Any]:
    name = str(source)
    known = presets()
    if name in known:
        text = resources.files("kinevec.presets").joinpath(f"{name}.toml").read_text("utf-8")
    elif name.endswith(".toml"):
        try:
            text = Path(source).read_text("utf-8")
        except OSError as error:
            raise ConfigError(f"{name}: cannot read this configuration: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{name}: not UTF-8 text (byte {error.start})") from error
    else:
        raise ConfigError(
            f"unknown preset '{name}'{_nearest(name, known)}; "
            f"presets are {', '.join(known)}; a file must end in .toml"
        )
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: not valid TOML: {error}") from error


def _apply(tree: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    section, dot, name = key.strip().partition(".")
    if not equals or not dot:
        raise ConfigError(f"cannot read the change '{change}'; write section.key=value, as in train.epochs=3")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is a string: --set model.name=tiny
    branch = tree.setdefault(section, {})
    if not isinstance(branch, dict):
        raise ConfigError(f"unknown key '{key.strip()}'")
    branch[name] = value


def _nearest(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}"


def _typed(hint: Any, value: Any, key: str) -> Any:
    """The value as the type that a field asks for; an int serves as a float, a list as a tuple."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"'{key}' is a section; write [{key}] and its keys below it")
        return from_dict(hint, value, f"{key}.")
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{key} is {value!r}; it must be one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple) or len(value) != len(arguments):
            raise ConfigError(f"{key} is {value!r}; it must be a list of {len(arguments)} numbers")
        return tuple(_typed(kind, item, key) for kind, item in zip(arguments, value, strict=True))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if hint is float and isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{key} is {value}; it must be a finite number")
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise ConfigError(f"{key} is {value!r}; it must be of type {hint.__name__}")
    return value
