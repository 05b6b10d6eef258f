"""How an index cuts videos into clips, and what it keeps of each."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from kinevec.config import Clip, check


@dataclass(frozen=True)
class Settings:
    """What must be the same for all clips of an index.

    A clip of another length than the encoder was trained on is shown to it faster or slower: its frames are
    spread over the whole length.

    Raises:
        ConfigError: a value makes no sense.
    """

    length: float = (
        0.0  # seconds of a clip; 0: the encoder's frames at its own stride, by each video's frame rate
    )
    hop: float = 0.0  # seconds from the start of one clip to the next; 0: half a clip
    appearance: bool = True  # also keep a vector of each clip made static, which costs as much again

    def __post_init__(self) -> None:
        for name in ("length", "hop"):
            value = getattr(self, name)
            check(
                0 <= value < float("inf"),
                f"{name} is {value} seconds; it must be positive, or 0 for automatic",
            )
        check(
            not self.length or self.hop <= self.length,
            f"hop is {self.hop} s and length {self.length} s: what lies between two clips would not be indexed",
        )

    @classmethod
    def changed(cls, base: "Settings", changes: Mapping[str, Any]) -> "Settings":
        """These settings with every value of `changes` that is not None."""
        return cls(**{**asdict(base), **{key: value for key, value in changes.items() if value is not None}})

    def in_words(self, clip: Clip) -> str:
        """How videos are cut for an encoder that sees such clips."""
        length = f"{self.length:g} s" if self.length else f"{clip.window} frames of each video"
        half = f"{self.length / 2:g} s" if self.length else f"{max(1, clip.window // 2)} frames"
        hop = f"{self.hop:g} s" if self.hop else half
        return f"clips of {length} every {hop}, of which the encoder sees {clip.frames} frames"

    def differences(self, other: "Settings") -> list[str]:
        """Lines such as `length: 2.0 → 3.0` for every value in which the other settings differ."""
        pairs = [(f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        return [f"{name}: {mine} → {theirs}" for name, mine, theirs in pairs if mine != theirs]
