"""The figures of an audit: what survives a change, and what is lost by it, with intervals over the test videos."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kinevec.evaluate.audit.settings import APPEARANCE_FREE, BACKGROUND, REVERSED, STATIC, Side
from kinevec.evaluate.score_interval import ratio, too_few, wilson_of
from kinevec.evaluate.significance import LEVEL, ROUNDING, interval

Floats = NDArray[np.float64]
Draws = NDArray[np.int64]  # (B, Q): B bootstrap samples of the test videos


@dataclass(frozen=True)
class Estimate:
    """A number in percent with its 95 % interval over the test videos.

    Attributes:
        value: None where it has no meaning, as `undefined` says.
        undefined: why there is no value; "" where there is.
        raw: the value before it was clipped to 0 to 100.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    undefined: str = ""
    raw: float | None = None


@dataclass(frozen=True)
class Figure:
    """What a figure tells, and what it is made from.

    Attributes:
        kind: survives: (changed − chance) / (original − chance); lost: 1 − that; share: of test videos.
    """

    title: str
    question: str
    kind: Literal["survives", "lost", "share"]
    condition: str
    side: Side


FIGURES = {
    "static": Figure(
        "Survives without motion",
        "How much of the score above chance is still there when every frame is the same? High: it can be had from a "
        "still picture.",
        "survives",
        STATIC,
        "both",
    ),
    "appearance_free": Figure(
        "Survives without appearance",
        "How much is still there when only moving noise is left, of which no single frame shows anything? High: "
        "motion alone is enough.",
        "survives",
        APPEARANCE_FREE,
        "both",
    ),
    "reversal": Figure(
        "Lost when time runs backward",
        "How much of the score above chance is lost when only the test videos are played backward? High: the encoder "
        "takes the direction for a part of the motion.",
        "lost",
        REVERSED,
        "queries",
    ),
    "arrow": Figure(
        "Tells forward from backward",
        "How often does a linear probe on the features say rightly whether a video runs forward or backward? "
        "50 is a guess.",
        "share",
        REVERSED,
        "both",
    ),
    "background": Figure(
        "Lost with another background",
        "How much of the score above chance is lost when only the test videos get the background of another class? "
        "High: what stands behind decides, or disturbs, what the encoder finds.",
        "lost",
        BACKGROUND,
        "queries",
    ),
    "follows": Figure(
        "Follows the new background",
        "How often does such a video get the label that its new background came with, which is wrong?",
        "share",
        BACKGROUND,
        "queries",
    ),
}


def bootstrap(count: int, resamples: int, seed: int) -> Draws:
    """(B, Q) test videos drawn with replacement."""
    return np.random.default_rng(seed).integers(0, count, (resamples, count))


def share(hits: Floats, resamples: int, seed: int) -> Estimate:
    """The mean of hits (Q,) in percent."""
    if not len(hits):
        return Estimate(None, undefined="no test video could be changed in this way")
    low, high = interval(hits, [""] * len(hits), resamples=resamples, seed=seed)
    value = 100 * float(hits.mean())
    return Estimate(value, 100 * low, 100 * high, raw=value)


def survives(changed: Floats, original: Floats, chance: Floats, draws: Draws) -> Estimate:
    """(changed − chance) / (original − chance) in percent, clipped to 0 to 100.

    Both are resampled together; where there are few videos, nearly all are hits or misses, or few differ between
    the two, resampling would be surer than it may be, and the limits are those of
    `kinevec.evaluate.score_interval.ratio`. Where the original's own interval does not lie above chance, the ratio says
    nothing and has no value, whatever it is changed to. Where the value is clipped, its interval is no narrower than that of what
    it is clipped to, see `_at_bound`.

    Args:
        changed, original: (Q,) hits on the same test videos.
        chance: (Q,) what a guess would reach on each; the mean of it is taken as known.
        draws: see `bootstrap`.
    """
    guess = float(chance.mean())
    above, kept = original - guess, changed - guess
    weight = np.full(len(original), 1 / len(original))
    if not _clearly_above(original, guess, weight, draws):
        return Estimate(
            None,
            undefined=f"the original scores {100 * original.mean():.1f} %, not clearly above chance "
            f"({100 * guess:.1f} %)",
        )
    few = any(too_few(part, weight) for part in (original, changed, np.abs(changed - original)))
    ends = _closed_form(changed, original, guess, weight) if few else _resampled(kept, above, draws)
    raw = 100 * float(kept.mean() / above.mean())
    if not 0 <= raw <= 100:
        low, high = _at_bound(raw > 100, original, guess, weight)
        ends = min(ends[0], low), max(ends[1], high)
    low, high = (_clipped(100 * end) for end in ends)
    return Estimate(_clipped(raw), low, high, raw=raw)


def _clearly_above(original: Floats, chance: float, weight: Floats, draws: Draws) -> bool:
    """Whether the interval of the score itself, as `share` gives it, lies above chance."""
    low = (
        wilson_of(original, weight, LEVEL)[0]
        if too_few(original, weight)
        else float(np.quantile(original[draws].mean(1), (1 - LEVEL) / 2))
    )
    return low > chance + ROUNDING


def _at_bound(everything: bool, original: Floats, chance: float, weight: Floats) -> tuple[float, float]:
    """Limits where everything survives (each video as before) or nothing does (a score of exactly chance).

    An interval that lies wholly beyond the bound would be clipped to a point and look certain, although the videos
    tell no more of the bound than had the value been there.
    """
    return _closed_form(original if everything else np.full(len(original), chance), original, chance, weight)


def _closed_form(changed: Floats, original: Floats, chance: float, weight: Floats) -> tuple[float, float]:
    """Limits of `ratio`; 0 to 1, which is anything, where it has none."""
    return ratio(changed, original, chance, weight, LEVEL) or (0.0, 1.0)


def _resampled(kept: Floats, above: Floats, draws: Draws) -> tuple[float, float]:
    """Bootstrap limits of a ratio of means, of the draws whose denominator lies above 0: nearly all."""
    whole = above[draws].mean(1)
    tail = (1 - LEVEL) / 2
    sound = whole > 0
    low, high = np.quantile(kept[draws].mean(1)[sound] / whole[sound], [tail, 1 - tail])
    return float(low), float(high)


def lost(survived: Estimate) -> Estimate:
    """What does not survive: 100 − it."""
    if survived.value is None or survived.low is None or survived.high is None or survived.raw is None:
        return survived
    return Estimate(100 - survived.value, 100 - survived.high, 100 - survived.low, raw=100 - survived.raw)


def _clipped(value: float) -> float:
    return min(max(value, 0.0), 100.0)
