"""An audit whose every number is known."""

import numpy as np

from kinevec.evaluate.audit import Audit, Estimate, Example
from kinevec.evaluate.audit.figures import FIGURES
from kinevec.evaluate.audit.settings import BACKGROUND, CONDITIONS, ORIGINAL

HOSTILE = "</style><script>alert(1)</script>"


def made(figures: dict[str, float] | None = None) -> Audit:
    """An audit whose every number is known."""
    values = dict.fromkeys(FIGURES, 40.0) | (figures or {})

    def estimate(value: float) -> Estimate:
        return Estimate(value, max(value - 10, 0), min(value + 10, 100), raw=value)

    metrics = ("R@1", "linear")
    card = {key: {metric: estimate(value) for metric in metrics} for key, value in values.items()}
    card["arrow"] = {"linear": estimate(62.0)}
    nothing = {
        key: {metric: Estimate(None, undefined=f"at chance <{key}>") for metric in metrics} for key in card
    }
    sides = {side: {metric: estimate(55.5) for metric in metrics} for side in ("both", "queries")}
    scores = dict.fromkeys(CONDITIONS, sides)
    clip = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3)).astype(np.uint8)
    return Audit(
        figures={"trained": card, "untrained": nothing},
        scores={"trained": scores, "untrained": scores},  # type: ignore[dict-item]
        chance={"R@1": 11.5, "linear": 12.5},
        similarity={},
        examples=(Example(HOSTILE, HOSTILE, HOSTILE, {ORIGINAL: clip, BACKGROUND: clip}),),
        facts={
            "data": {"train": 8, "test": 4, "classes": 2, "rejected": {}, "test_seen_in_training": None},
            "encoder": {"source": HOSTILE, "name": "tiny", "terms": ["instance"], "step": None},
            "protocol": {"clips": 2, "faster_by_median": 1.57, "intervals": "95 %"},
            "masks": {
                "source": "by hand",
                "videos_with_foreground": 12,
                "foreground_share_median": 0.2,
                "test_videos_swapped": 4,
                "chance_to_follow": {"R@1": 33.0, "linear": 33.0},
            },
            "provenance": {"made": "today", "kinevec": "0", "commit": None, "machine": "one"},
        },
    )
