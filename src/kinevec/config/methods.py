"""The sections on what is learned from clips: the encoder, the terms of the loss, and each method's own settings."""

from dataclasses import dataclass
from typing import Literal

from kinevec.config.refusal import check


@dataclass(frozen=True)
class Model:
    """The encoder."""

    name: str = "tiny"  # one of kinevec.models.ENCODERS


@dataclass(frozen=True)
class Terms:
    """Weights of the losses; 0 leaves out a term and all that only it needs. The loss is their weighted sum."""

    instance: float = 1.0  # MoCo between two RGB clips (arXiv:1911.05722)
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
    """Momentum contrast, for every term (MoCo, arXiv:1911.05722)."""

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
    """The flow branch and the local term of MSCL (arXiv:2208.06105); read where their terms have a weight."""

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
    """The motion keys and the decoder of FIMA (arXiv:2309.00297); read where their terms have a weight."""

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
