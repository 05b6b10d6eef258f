"""Configuration: frozen dataclasses, read from TOML presets and files, refusing what makes no sense.

`load("moco", ["train.epochs=3"])` reads a preset and changes one value; `to_toml` writes a
configuration back so that reading it again gives an equal one.
"""

import dataclasses
import difflib
import logging
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

log = logging.getLogger(__name__)

T = TypeVar("T")

# Values that change how a run is done and watched, not what it computes: a run may go on with others.
INCIDENTAL = frozenset(
    {
        "data.workers",
        "data.store_limit_gb",  # where that makes clips come from elsewhere, the run refuses
        "data.failed_share",
        "train.device",  # to rounding, as far as the devices agree; another precision is warned of
        "train.save_every",
        "train.keep",
        "train.on_nan",
        "log.wandb",
    }
)


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


@dataclass(frozen=True)
class Model:
    """The encoder."""

    name: str = "tiny"  # one of kinevec.models.ENCODERS


@dataclass(frozen=True)
class Terms:
    """Weights of the losses; 0 leaves out a term and all that only it needs. The loss is their weighted sum."""

    instance: float = 1.0  # MoCo between two RGB clips (METHODS §0)
    flow: float = 0.0  # MSCL: MoCo between their flow clips, in a thin branch of its own
    cross: float = 0.0  # MSCL: between RGB and flow clips, both ways
    rotated: float = 0.0  # MSCL, FRA at clip level: `flow` and `cross` again with rotated flow
    local: float = 0.0  # MSCL, LMCL: every step of the RGB clip against the steps of its flow
    vanilla: float = 0.0  # FIMA, L_VD: pooled RGB clip against the other's pooled difference
    pixel: float = 0.0  # FIMA, L_pix: its cells against the other's difference cells
    frame: float = 0.0  # FIMA, L_frame: its class token against the other's local clips

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            weight = getattr(self, name)
            check(weight >= 0, f"terms.{name} is {weight}; a weight cannot be negative")
        check(any(getattr(self, name) for name in self.__dataclass_fields__), "every weight in [terms] is 0")
        branch = self.flow > 0 or self.cross > 0
        check(
            not self.rotated or branch,
            f"terms.rotated is {self.rotated}, but repeats terms.flow and terms.cross, which are 0",
        )

    @property
    def names(self) -> list[str]:
        """Those that take part."""
        return [name for name in self.__dataclass_fields__ if getattr(self, name)]

    @property
    def mscl(self) -> bool:
        """Whether the flow branch of MSCL takes part."""
        return any((self.flow, self.cross, self.rotated, self.local))

    @property
    def fima(self) -> bool:
        """Whether FIMA's motion keys take part."""
        return any((self.vanilla, self.pixel, self.frame))


@dataclass(frozen=True)
class Method:
    """Momentum contrast, for every term (METHODS §0)."""

    dim: int = 128  # D, length of the projected vectors
    hidden: int = 512  # width of the projectors' hidden layer
    centred: bool = False  # a batch norm before the projector, for small encoders and short schedules
    queue: int = 65_536  # K, past keys that serve as negatives
    damping: float = 1.0  # a key's similarity fades by this factor with every step of its age
    temperature: float = 0.07  # τ
    momentum: float = 0.994  # m of the key encoder at the start
    momentum_schedule: Literal["cosine", "constant"] = "cosine"  # cosine: m rises to 1
    symmetric: bool = False  # average the losses of both directions
    query_norm: Literal["own", "synchronised"] = (
        "own"  # batch norms of the query side under several ranks: over each rank's batch, or over all of them as one
    )
    key_norm: Literal["shuffled", "synchronised", "own"] = (
        "shuffled"  # those of the key side; shuffled: over as many clips as own, but some of every rank
    )

    def __post_init__(self) -> None:
        check(self.dim >= 2, f"method.dim is {self.dim}; it must be at least 2")
        check(self.hidden >= 1, f"method.hidden is {self.hidden}; it must be at least 1")
        check(self.queue >= 1, f"method.queue is {self.queue}; it must hold at least 1 key")
        check(0 < self.damping <= 1, f"method.damping is {self.damping}; it must lie in 0 to 1, 0 excluded")
        check(self.temperature > 0, f"method.temperature is {self.temperature}; it must be positive")
        check(0 <= self.momentum <= 1, f"method.momentum is {self.momentum}; it must lie in 0 to 1")


@dataclass(frozen=True)
class Mscl:
    """The flow branch and the local term of MSCL (METHODS §1); read where their terms have a weight."""

    motion: Literal["flow", "difference"] = "flow"  # what the branch sees
    width: int = 16  # channels of the branch's first stage; each of the next three has twice as many
    blocks: int = 2  # residual blocks in each stage
    neck: Literal["pyramid", "linear"] = "pyramid"  # of the RGB steps: stages 2 to 4, or stage 2 alone
    rotated_steps: bool = True  # FRA at frame level: the steps of the rotated flow are negatives too
    temperature: float = 0.07  # τ of the local term

    def __post_init__(self) -> None:
        check(self.width >= 1, f"mscl.width is {self.width}; it must be at least 1")
        check(self.blocks >= 1, f"mscl.blocks is {self.blocks}; it must be at least 1")
        check(self.temperature > 0, f"mscl.temperature is {self.temperature}; it must be positive")


@dataclass(frozen=True)
class Fima:
    """The motion keys and the decoder of FIMA (METHODS §2); read where their terms have a weight."""

    motion: Literal["difference", "flow"] = "difference"  # what the motion keys are made of
    decoder: bool = True  # predict the other clip's motion; else the clip's own cells are compared
    foreground: bool = True  # compare only cells above the median of the activation map
    steps: int = 2  # T', time steps of the encoder's last feature map; there is one local clip for each
    together: bool = False  # key clips of a video in one pass, batch norms by kind: the same, slower on a CPU
    positive_radius: float = 0.7  # cells closer than this are positives, in cell diagonals
    temperature: float = 0.1  # τ of all three terms
    vanilla_queue: int = 2_240  # past pooled keys of the motion clips, negatives of terms.vanilla
    dense_queue: int = 0  # past keys of single cells; 0: only those of the batch are negatives
    local_queue: int = 2_240  # past keys of local clips; 0: only those of the batch
    width: int = 512  # of the decoder's tokens
    heads: int = 4
    feedforward: int = 512
    layers: int = 2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check(self.temperature > 0, f"fima.temperature is {self.temperature}; it must be positive")
        check(self.steps >= 1, f"fima.steps is {self.steps}; it must be at least 1")
        check(
            self.positive_radius > 0, f"fima.positive_radius is {self.positive_radius}; it must be positive"
        )
        check(self.vanilla_queue >= 1, f"fima.vanilla_queue is {self.vanilla_queue}; it must be at least 1")
        for name in ("dense_queue", "local_queue"):
            check(getattr(self, name) >= 0, f"fima.{name} is {getattr(self, name)}; it cannot be negative")
        check(
            self.heads >= 1 and self.width >= 2 and self.width % self.heads == 0 and self.width % 2 == 0,
            f"fima.width is {self.width}; it must be even and a multiple of fima.heads = {self.heads}",
        )
        check(self.feedforward >= 1, f"fima.feedforward is {self.feedforward}; it must be at least 1")
        check(self.layers >= 1, f"fima.layers is {self.layers}; it must be at least 1")
        check(0 <= self.dropout < 1, f"fima.dropout is {self.dropout}; it must lie in 0 to 1, 1 excluded")


@dataclass(frozen=True)
class Train:
    """The optimisation."""

    epochs: int = 200
    batch: int = 128  # videos per step, of all ranks together: lr and schedule do not depend on their number
    accumulate: int = (
        1  # equal parts in which a rank's videos of a step are passed one by one, to save memory
    )
    optimizer: Literal["sgd", "adamw"] = "sgd"  # sgd has momentum 0.9
    lr: float = 0.02  # the peak of the cosine schedule
    weight_decay: float = 1e-4  # on all parameters
    warmup_epochs: float = 5.0  # linear rise of lr from 0
    clip_norm: float = 40.0  # gradients are scaled down to this norm; 0: never
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 where the hardware has it
    compile: bool = False  # encoders by torch.compile: slower on a CPU, a minute to start (docs/speed.md)
    seed: int = 0
    device: str = "auto"  # auto: cuda where there is one, else cpu
    save_every: int = 0  # steps between checkpoints; there is one at the end of each epoch anyway
    keep: int = 2  # checkpoints: the newest and those before it; that of the best epoch is kept beside them
    on_nan: Literal["stop", "skip"] = "stop"  # skip: back to the last checkpoint, and on without that batch

    def __post_init__(self) -> None:
        check(self.epochs >= 1, f"train.epochs is {self.epochs}; it must be at least 1")
        check(self.batch >= 2, f"train.batch is {self.batch}; batch norm needs at least 2")
        check(self.accumulate >= 1, f"train.accumulate is {self.accumulate}; it must be at least 1")
        check(
            self.batch % self.accumulate == 0 and self.batch >= 2 * self.accumulate,
            f"train.batch is {self.batch}; it must divide into train.accumulate = {self.accumulate} parts of at least 2",
        )
        check(self.lr > 0, f"train.lr is {self.lr}; it must be positive")
        check(self.weight_decay >= 0, f"train.weight_decay is {self.weight_decay}; it cannot be negative")
        check(self.save_every >= 0, f"train.save_every is {self.save_every} steps; it cannot be negative")
        check(self.keep >= 1, f"train.keep is {self.keep}; at least the newest checkpoint is kept")
        check(self.clip_norm >= 0, f"train.clip_norm is {self.clip_norm}; it cannot be negative")
        check(0 <= self.seed < 2**63, f"train.seed is {self.seed}; it must lie in 0 to 2^63 - 1")
        check(
            0 <= self.warmup_epochs < self.epochs,
            f"train.warmup_epochs is {self.warmup_epochs}; it must be below train.epochs = {self.epochs}; set it too",
        )


@dataclass(frozen=True)
class Log:
    """Where figures go beside the run's `log.jsonl` and TensorBoard."""

    wandb: str = ""  # project on Weights & Biases, which needs kinevec[wandb]; "": none


@dataclass(frozen=True)
class Config:
    """All that decides a pretraining run."""

    clip: Clip = field(default_factory=Clip)
    sampling: Sampling = field(default_factory=Sampling)
    flow: Flow = field(default_factory=Flow)
    data: Data = field(default_factory=Data)
    views: Views = field(default_factory=Views)
    model: Model = field(default_factory=Model)
    terms: Terms = field(default_factory=Terms)
    method: Method = field(default_factory=Method)
    mscl: Mscl = field(default_factory=Mscl)
    fima: Fima = field(default_factory=Fima)
    train: Train = field(default_factory=Train)
    log: Log = field(default_factory=Log)

    def __post_init__(self) -> None:
        if self.terms.mscl and self.mscl.motion == "difference":
            turned = "terms.rotated" if self.terms.rotated else ""
            turned = "mscl.rotated_steps" if self.terms.local and self.mscl.rotated_steps else turned
            check(
                not turned,
                f"{turned} is set, but frame differences cannot be rotated: set it to "
                f"{'false' if turned.startswith('mscl') else 0}, or mscl.motion=flow",
            )
        if self.terms.fima:
            check(
                self.method.symmetric,
                "FIMA's terms are computed in both directions: set method.symmetric=true",
            )
        if self.terms.frame:
            check(
                self.fima.motion == "flow" or self.fima.steps <= self.clip.stride,
                f"local clips of {self.clip.frames} frames do not fit into one of fima.steps = {self.fima.steps} "
                f"parts of a window of {self.clip.window} frames without repeating some, whose difference would be "
                "nothing: raise clip.stride",
            )
            check(self.fima.decoder, "terms.frame needs the decoder's class token: set fima.decoder=true")

    @property
    def motions(self) -> set[str]:
        """What the terms need beside RGB clips: "flow", "difference", both or nothing."""
        mscl = {self.mscl.motion} if self.terms.mscl else set()
        return mscl | ({self.fima.motion} if self.terms.fima else set())


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

    Where `train.epochs` is changed, or set in a file, alone and is not above the warm-up's epochs, half of the run is
    warm-up.

    Raises:
        ConfigError: no such preset or file, not TOML, an unknown key, or a value that makes no sense.
    """
    tree = _read_tree(source)
    named = {_apply(tree, change) for change in changes}
    if "train.warmup_epochs" not in named and ("train.epochs" in named or not _has_warmup(tree)):
        _shorten_warmup(tree)
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


def _has_warmup(tree: Mapping[str, Any]) -> bool:
    train = tree.get("train")
    return isinstance(train, Mapping) and "warmup_epochs" in train


def _shorten_warmup(tree: dict[str, Any]) -> None:
    """Lowers a warm-up that nobody chose for so short a run to half of it."""
    train = tree.get("train")
    if not isinstance(train, dict) or "epochs" not in train:
        return
    epochs, warmup = train["epochs"], train.get("warmup_epochs", Train.warmup_epochs)
    numbers = isinstance(epochs, int) and isinstance(warmup, int | float)
    if numbers and 1 <= epochs <= warmup:  # anything odd is refused later
        train["warmup_epochs"] = epochs / 2
        log.info(
            "train.warmup_epochs is %g instead of %g, half of train.epochs=%d", epochs / 2, warmup, epochs
        )


def _apply(tree: dict[str, Any], change: str) -> str:
    """Makes a change; returns the key that it names."""
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
    return f"{section}.{name}"


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
