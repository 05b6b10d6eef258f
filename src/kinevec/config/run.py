"""All sections of a run together: what they must agree on, and in what two runs differ."""

from dataclasses import dataclass, field

from kinevec.config.methods import Fima, Method, Model, Mscl, Terms
from kinevec.config.refusal import check
from kinevec.config.training import Log, Train
from kinevec.config.tree import to_dict
from kinevec.config.videos import Clip, Data, Flow, Sampling, Views

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

    @property
    def length(self) -> int:
        """Source frames that a clip takes up: its window where FIMA cuts that into parts, else its span. Shorter
        videos are looped."""
        return self.clip.window if self.terms.fima else self.clip.span

    @property
    def unread(self) -> frozenset[str]:
        """Sections that nothing reads with these terms and this sampling."""
        read = {
            "mscl": self.terms.mscl,
            "fima": self.terms.fima,
            "flow": "flow" in self.motions or self.sampling.moving,
        }
        return frozenset(section for section, needed in read.items() if not needed)


def differences(old: Config, new: Config) -> list[str]:
    """Lines such as `train.lr: 0.02 → 0.05` for every value in which two configurations differ."""
    lines = []
    for section, values in to_dict(old).items():
        for key, value in values.items():
            other = getattr(getattr(new, section), key)
            if value != other:
                lines.append(f"{section}.{key}: {value} → {other}")
    return lines
