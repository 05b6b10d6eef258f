"""What an audit found."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kinevec.data.whole import write_text
from kinevec.evaluate.audit.collect import Example
from kinevec.evaluate.audit.figures import FIGURES, Estimate
from kinevec.evaluate.audit.settings import Side

LITTLE = 0.05  # of the picture: an estimated foreground below it may be a part of who moves

Scores = Mapping[str, Mapping[Side, Mapping[str, Estimate]]]  # condition → side → metric


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        figures: encoder ("trained", "untrained") → figure, a key of FIGURES → metric → estimate.
        scores: encoder → condition → who is changed → metric → estimate.
        chance: metric → percent that guessing reaches.
        similarity: encoder → condition → mean cosine between a test video's feature when changed and as it is.
        examples: test videos to look at; not written.
        facts: how it was found: data, protocol, masks, provenance.
    """

    figures: Mapping[str, Mapping[str, Mapping[str, Estimate]]]
    scores: Mapping[str, Scores]
    chance: Mapping[str, float]
    similarity: Mapping[str, Mapping[str, float]]
    examples: tuple[Example, ...]
    facts: Mapping[str, Any]

    @property
    def content(self) -> dict[str, Any]:
        """All but the examples, as JSON has it."""
        return {
            "figures": _plain(self.figures),
            "scores": _plain(self.scores),
            "chance": dict(self.chance),
            "similarity": _plain(self.similarity),
            **self.facts,
        }

    def guess(self, figure: str, metric: str) -> float | None:
        """What guessing reaches in a figure, in percent; None where it is reckoned above chance.

        Args:
            figure: a key of FIGURES.
        """
        if FIGURES[figure].kind != "share":
            return None
        if figure == "arrow":
            return 50.0
        chance: float | None = self.facts["masks"]["chance_to_follow"].get(metric)
        return chance

    @property
    def doubt(self) -> str:
        """Why figures of backgrounds may mislead, as a sentence; "" where nothing speaks against them."""
        masks = self.facts["masks"]
        share = masks["foreground_share_median"]
        if not masks.get("estimated") or share is None or share >= LITTLE:
            return ""
        return (
            f"Mind the figures of backgrounds: the foreground was estimated from what moves, which is {100 * share:.0f} % of "
            "the picture (median). Of people who stand and move their arms the rest counts as background. Look at the "
            "examples, or give masks."
        )

    def write(self, path: Path) -> None:
        """Writes all but the examples as JSON, atomically."""
        write_text(path, json.dumps(self.content, indent=2, ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    """Mappings and estimates as JSON has them; an estimate leaves out what it lacks."""
    if isinstance(value, Estimate):
        return {key: item for key, item in asdict(value).items() if item not in (None, "")} or {"value": None}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
