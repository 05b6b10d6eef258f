"""The rows of the benchmark: which configuration each is, and which settings the search may give it.

A row is a preset with changes, as in docs/methods.md; what all rows share (clip, views, optimisation) is applied to
each of them alike, then what the search chose for the row.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kinevec import config as configuration
from kinevec.config import Config

UNTRAINED, SUPERVISED = "untrained", "supervised"
AS_PRESET = "as preset"
_MSCL_BARE = ("terms.flow=0", "terms.cross=0", "terms.rotated=0", "terms.local=0")


@dataclass(frozen=True)
class Row:
    """One line of the tables.

    Attributes:
        title: what the papers call it.
        preset, changes: the configuration, without what all rows share.
        head: the row that the search is made for, whose setting this one takes; "" where it is itself.
    """

    title: str
    preset: str
    changes: tuple[str, ...] = ()
    head: str = ""


ROWS: dict[str, Row] = {
    UNTRAINED: Row("untrained", "moco"),
    "moco": Row("MoCo", "mscl", _MSCL_BARE),
    "mscl-flow": Row("+ flow branch, cross-modal", "mscl", ("terms.rotated=0", "terms.local=0"), head="mscl"),
    "mscl-local": Row("+ LMCL", "mscl", ("terms.rotated=0", "mscl.rotated_steps=false"), head="mscl"),
    "mscl": Row("+ FRA (MSCL)", "mscl"),
    "mscl-mds": Row("+ MDS", "mscl", ("sampling.near=true", "sampling.moving=true"), head="mscl"),
    "moco-symmetric": Row("MoCo, symmetric", "fima", ("terms.pixel=0", "terms.frame=0"), head="moco"),
    "fima-vanilla": Row("+ L_VD", "fima", ("terms.pixel=0", "terms.frame=0", "terms.vanilla=1"), head="fima"),
    "fima-pixel": Row(
        "+ L_pix, no decoder",
        "fima",
        ("terms.frame=0", "fima.decoder=false", "fima.foreground=false"),
        head="fima",
    ),
    "fima-decoder": Row("+ motion decoder", "fima", ("terms.frame=0", "fima.foreground=false"), head="fima"),
    "fima-foreground": Row("+ foreground sampling", "fima", ("terms.frame=0",), head="fima"),
    "fima": Row("+ L_frame (FIMA)", "fima"),
    "union": Row(
        "FIMA and MSCL's local term",
        "fima",
        (
            "terms.local=1",
            "mscl.neck=linear",
            "mscl.width=16",
            "mscl.blocks=1",
            "flow.gap=2",
            "flow.short_side=64",
        ),
        head="fima",
    ),
    SUPERVISED: Row("supervised", "moco"),
}
SEARCHED = tuple(name for name, row in ROWS.items() if not row.head and name not in (UNTRAINED, SUPERVISED))
_ANY_HUE: dict[str, object] = {
    "views.jitter": 1.0,
    "views.brightness": 0.4,
    "views.contrast": 0.4,
    "views.saturation": 0.4,
    "views.hue": 0.5,
    "views.grayscale": 0.3,
}
_SLOW: dict[str, object] = {"train.lr": 0.0005}  # a third of the preset's
_LONG: dict[str, object] = {"train.epochs": 150}  # three times as long
# What rows can be trained with, the same for every row: "section.key" → value, on top of the preset.
SETTINGS: dict[str, dict[str, object]] = {
    AS_PRESET: {},
    "any hue": _ANY_HUE,
    "any hue slow": {**_ANY_HUE, **_SLOW},
    "smaller crops": {"views.area": "[0.3, 1.0]"},
    "any hue slow long": {**_ANY_HUE, **_SLOW, **_LONG},
    "as preset long": _LONG,
}
CANDIDATES = tuple(SETTINGS)[:4]  # of the search; the others answer questions that came up


def setting_of(row: str, chosen: Mapping[str, str], asked: str | None = None) -> str:
    """The name of the setting that a row is trained with: what was asked for, else what the search chose.

    Untrained and supervised encoders know no other than that of the preset.

    Args:
        chosen: row → setting, of the rows that the search was made for.
    """
    if row in (UNTRAINED, SUPERVISED):
        return AS_PRESET
    return asked or chosen.get(ROWS[row].head or row, AS_PRESET)


def in_path(setting: str) -> str:
    """The name of a setting as that of a folder."""
    return setting.replace(" ", "-")


@dataclass(frozen=True)
class Size:
    """How large an experiment is: the encoder, its clips, and how it is computed.

    Attributes:
        shared: changes of every row.
        supervised: further changes of the ceiling, which sees labels and may train as it likes best.
        clips: clips a video when judging.
    """

    shared: tuple[str, ...]
    supervised: tuple[str, ...]
    clips: int = 10


_VIEWS = ("views.flip=0", "views.blur=0")
SIZES = {
    "cpu": Size(
        ("clip.stride=5", "data.workers=0", "data.store=frames", "train.device=cpu"),
        ("train.weight_decay=0.05", "train.epochs=60"),
    ),
    "gpu": Size(
        (
            "model.name=r3d18",
            "clip.frames=16",
            "clip.stride=2",
            "clip.size=96",
            "method.dim=128",
            "method.hidden=512",
            "train.epochs=200",
        ),
        ("train.weight_decay=0.05",),
    ),
}


def changes_of(row: str, size: str, setting: Mapping[str, object], more: Iterable[str] = ()) -> list[str]:
    """By what a row differs from its preset, "section.key=value", the later over the earlier.

    Args:
        setting: what the search chose, "section.key" → value; the ceiling takes no part in it.
        more: further changes.
    """
    chosen = SIZES[size]
    changes = [*ROWS[row].changes, *chosen.shared]
    if row == SUPERVISED:
        changes += chosen.supervised
    else:
        changes += [f"{key}={value}" for key, value in setting.items()]
    return [*changes, *more]


def config_of(
    row: str, size: str, setting: Mapping[str, object], seed: int, more: Iterable[str] = ()
) -> Config:
    """The configuration of a row; arguments as for `changes_of`."""
    changes = changes_of(row, size, setting, more)
    return configuration.load(ROWS[row].preset, [*changes, f"train.seed={seed}"])
