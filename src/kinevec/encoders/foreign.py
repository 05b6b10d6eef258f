"""Weights of others: the papers' released checkpoints, torchvision's and other libraries' encoders.

A layout says where the encoder stands in a file, which encoder it is, and which clips it was trained on. The layouts
of MSCL and FIMA are those of their released code (megvii-research/MSCL, ZMHH-H/FIMA).
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from kinevec import config as configuration
from kinevec.config import Clip, Config, Model, Views
from kinevec.encoders.layout import WEIGHTS, is_exported
from kinevec.encoders.loaded import Loaded
from kinevec.encoders.weights import SAFE, filled, read_safetensors, read_weights, shape_only
from kinevec.errors import CheckpointError, ConfigError
from kinevec.models import build_encoder
from kinevec.models.convert import (
    FIMA_I3D,
    FIMA_I3D_EPSILON,
    PYTORCHVIDEO_SLOW_R50,
    VIDEO_CLASSIFIER,
    Conversion,
    NameMap,
    below,
    convert,
    with_epsilon,
)
from kinevec.runtime import seeded
from kinevec.train.checkpoint import DIGEST

KINETICS = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)  # mean, std as torchvision's
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALVES = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)  # RGB in [-1, 1]
GRAY = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)


@dataclass(frozen=True)
class Layout:
    """One encoder as others keep it.

    Attributes:
        encoder: our name of it.
        prefix: expression of what stands before its entries; without groups.
        mark: expression of an entry, after the prefix, that tells it from other encoders.
        names: the map of what follows the prefix.
        config: the clips it was trained on, and their normalisation.
        epsilon: ε of its batch norms, where it is not ours.
    """

    encoder: str
    prefix: str
    mark: str
    names: NameMap
    config: Config
    epsilon: float | None = None

    def matches(self, weights: Mapping[str, Tensor]) -> bool:
        """Whether these weights look like it."""
        return any(re.fullmatch(self.prefix + self.mark, name) for name in weights)


@dataclass(frozen=True)
class Kind:
    """Where weights come from.

    Attributes:
        title: in words.
        layouts: of the encoders that it has.
    """

    title: str
    layouts: tuple[Layout, ...]


@dataclass(frozen=True)
class Brought:
    """Weights of others in an encoder of ours.

    Attributes:
        loaded: the encoder, with the clips that belong to the weights.
        kind: a key of `KINDS`.
        conversion: what became of each entry.
    """

    loaded: Loaded
    kind: str
    conversion: Conversion


def _seen(
    encoder: str,
    clip: tuple[int, int, int],
    normal: tuple[tuple[float, float, float], tuple[float, float, float]],
) -> Config:
    """A configuration of clips alone: frames, stride and size; mean and std."""
    return Config(model=Model(encoder), clip=Clip(*clip), views=Views(mean=normal[0], std=normal[1]))


_R3D = r"layer1\.0\.conv1\.0\.weight"
_R2PLUS1D = r"layer1\.0\.conv1\.0\.0\.weight"
_MODULE = r"(?:module\.)?"
_MSCL = _MODULE + r"(?:recognizer\.encoder_q|encoder_q|backbone)\."
_FIMA = _MODULE + r"encoder_q\."
_FIMA_CONFIG = configuration.load("fima-ucf101")
_FIMA_R2PLUS1D = dataclasses.replace(_FIMA_CONFIG, model=Model("r2plus1d18"), clip=Clip(16, 2, 112))

# In this order they are tried: what names its place in a file first.
KINDS: dict[str, Kind] = {
    "mscl": Kind(
        "MSCL's released code, the query encoder of the RGB branch",
        (
            Layout("r3d18", _MSCL, _R3D, VIDEO_CLASSIFIER, configuration.load("mscl-r3d18")),
            Layout(
                "slowonly50",
                _MODULE + r"recognizer\.encoder_q\.",
                r"conv1\.conv\.weight",
                VIDEO_CLASSIFIER,
                configuration.load("mscl-slowonly50"),
            ),
        ),
    ),
    "fima": Kind(
        "FIMA's released code, the query encoder",
        (
            Layout("r2plus1d18", _FIMA, _R2PLUS1D, VIDEO_CLASSIFIER, _FIMA_R2PLUS1D),
            Layout("i3d", _FIMA, r"conv3d_1a_7x7\.conv3d\.weight", FIMA_I3D, _FIMA_CONFIG, FIMA_I3D_EPSILON),
        ),
    ),
    "mmaction": Kind(
        "mmaction2's SlowOnly-R50, 8×8",
        (
            Layout(
                "slowonly50",
                _MODULE + r"backbone\.",
                r"conv1\.conv\.weight",
                VIDEO_CLASSIFIER,
                _seen("slowonly50", (8, 8, 224), IMAGENET),
            ),
        ),
    ),
    "pytorchvideo": Kind(
        "pytorchvideo's slow_r50, 8×8",
        (
            Layout(
                "slowonly50",
                _MODULE,
                r"blocks\.0\.conv\.weight",
                PYTORCHVIDEO_SLOW_R50,
                _seen("slowonly50", (8, 8, 224), GRAY),
            ),
        ),
    ),
    "i3d": Kind(
        "the common PyTorch port of I3D",
        (
            Layout(
                "i3d",
                _MODULE,
                r"Conv3d_1a_7x7\.conv3d\.weight",
                VIDEO_CLASSIFIER,
                _seen("i3d", (64, 1, 224), HALVES),
            ),
        ),
    ),
    "torchvision": Kind(
        "torchvision's video ResNets",
        tuple(
            Layout(name, _MODULE, mark, VIDEO_CLASSIFIER, _seen(name, (16, 2, 112), KINETICS))
            for name, mark in (("r3d18", _R3D), ("r2plus1d18", _R2PLUS1D))
        ),
    ),
}


def bring(
    path: Path,
    kind: str | None = None,
    *,
    partial: bool = False,
    frames: int | None = None,
    stride: int | None = None,
    size: int | None = None,
) -> Brought:
    """Reads weights of others into an encoder of ours.

    Args:
        path: safetensors, or what `torch.save` wrote.
        kind: a key of `KINDS`; None: found out.
        partial: go on where the encoder lacks weights; what it lacks stays random (seed 0).
        frames, stride, size: of the clips, in place of those the weights were trained on.

    Raises:
        InputError, CheckpointError: as for `kinevec.encoders.weights.read_weights`; or it is of no kind that is
            known, or does not fill the encoder (lists names and shapes).
        ConfigError: no such kind, or clips that make no sense.
    """
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"unknown kind '{kind}'; known: {', '.join(KINDS)}")
    if path.suffix == SAFE:
        weights, header = read_safetensors(path)
        if ("config" in header and header.keys() & {"step", DIGEST}) or (
            path.name == WEIGHTS and is_exported(path.parent)
        ):
            raise CheckpointError(
                f"{path}: is an encoder of kinevec, with nothing to convert: use it as it is, as in `kinevec eval`, or "
                "`kinevec export` it"
            )
    else:
        weights = read_weights(path)
    kind, layout = _find(path, weights, kind)
    encoder = shape_only(layout.encoder)
    found = convert(weights, below(layout.prefix, layout.names), encoder)
    if not (found.fills or partial):
        raise CheckpointError(f"{path}: does not fill the encoder '{layout.encoder}': {found.report()}")
    ready = found.weights
    if layout.epsilon is not None:
        ready = with_epsilon(ready, encoder, layout.epsilon)
    if not found.fills:
        with seeded(0):
            ready = build_encoder(layout.encoder).state_dict() | ready
    encoder = filled(encoder, ready)
    config = layout.config
    wanted = {"frames": frames, "stride": stride, "size": size}
    clip = dataclasses.replace(config.clip, **{k: v for k, v in wanted.items() if v is not None})
    facts = {"origin": KINDS[kind].title, "left_random": len(found.missing) + len(found.mismatched)}
    loaded = Loaded(encoder, dataclasses.replace(config, clip=clip), str(path), None, facts)
    return Brought(loaded, kind, found)


def _find(path: Path, weights: Mapping[str, Tensor], kind: str | None) -> tuple[str, Layout]:
    """The layout of these weights: the first one whose mark is among them."""
    for name in [kind] if kind else KINDS:
        for layout in KINDS[name].layouts:
            if layout.matches(weights):
                return name, layout
    names = list(weights)
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    wanted = f"not of the kind '{kind}'" if kind else f"of no kind that is known ({', '.join(KINDS)})"
    raise CheckpointError(f"{path}: {len(names)} entries ({shown}), {wanted}")
