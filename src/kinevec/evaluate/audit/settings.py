"""What an audit does: its settings, its conditions, and who is changed."""

from dataclasses import dataclass
from typing import Literal

from kinevec.config import check
from kinevec.motion.flow import check_method

Side = Literal["both", "queries"]  # whose videos are changed: train and test, or test alone
SIDES: tuple[Side, ...] = ("both", "queries")

ORIGINAL = "original"
BACKGROUND = "background swapped"
SLOWER = "slower"
FASTER = "faster"
RECOLOURED = "recoloured"
SHUFFLED = "shuffled"
STATIC = "static"
REVERSED = "reversed"
APPEARANCE_FREE = "appearance-free"

CONDITIONS = {
    ORIGINAL: "as it is",
    STATIC: "every frame is the middle one: nothing moves",
    SHUFFLED: "the frames in another order, neither forward nor backward",
    REVERSED: "the frames in reverse order",
    APPEARANCE_FREE: "noise that moves as the video does: a single frame shows nothing",
    BACKGROUND: "what moves, cut out and laid over a video of another class",
    RECOLOURED: "brightness, contrast, saturation, hue and tint changed at random, once per video",
    SLOWER: "the same moment at half the speed",
    FASTER: "the same moment at up to twice the speed, as far as the video is long",
}


@dataclass(frozen=True)
class AuditConfig:
    """Settings of an audit.

    Raises:
        ConfigError: a value makes no sense.
    """

    clips: int = 4  # a video, even in time
    seed: int = 0  # of orders, colours, noise, the choice of backgrounds, and the bootstrap
    resamples: int = 1000  # bootstrap draws of the test videos
    examples: int = 2  # test videos whose changed clips are kept to look at
    untrained: bool = True  # also audit the encoder as it was before training
    flow: str = "dis"  # a key of kinevec.motion.flow.METHODS, for the moving noise

    def __post_init__(self) -> None:
        check(self.clips >= 1, f"clips is {self.clips}; it must be at least 1")
        check(self.seed >= 0, f"seed is {self.seed}; it cannot be negative")
        check(self.resamples >= 100, f"resamples is {self.resamples}; an interval needs at least 100")
        check(self.examples >= 0, f"examples is {self.examples}; it cannot be negative")
        check_method(self.flow)
