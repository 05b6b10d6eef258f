"""What the motion report card says, in plain sentences that claim no more than the intervals bear out."""

from collections.abc import Mapping

from kinevec.evaluate.audit import Audit, Estimate
from kinevec.evaluate.audit.scores import LINEAR
from kinevec.evaluate.outcomes import BEFORE

# In percent. From MOST on "most", below LITTLE "little", where the whole interval lies on that side of HALF.
MOST, LITTLE, HALF = 67, 33, 50
REST = {
    "static": "is still there when nothing moves",
    "appearance_free": "is still there when only moving noise is left",
    "reversal": "is lost when the test videos run backward",
    "background": "is lost when they get another background",
}


def summary(audit: Audit) -> list[str]:
    """What the figures of the linear probe say, in plain sentences; the first says what was done."""
    data, encoder = audit.facts["data"], audit.facts["encoder"]
    name, figures = next(iter(audit.figures.items()))
    others = {other: found for other, found in audit.figures.items() if other != name}
    sentences = [
        f"{encoder['source']}, judged on {data['test']} test videos of {data['classes']} classes as they are, and with "
        "one thing at a time taken away. Percentages are of what a linear probe reads from its features above chance; "
        "the table has retrieval beside it."
    ]
    if figures["static"][LINEAR].value is None:
        reason = figures["static"][LINEAR].undefined
        return [*sentences, f"What its score rests on cannot be said: {reason}."]
    for key in REST:
        beside = {
            _named(other): _briefly(found[key][LINEAR]) for other, found in others.items() if key in found
        }
        note = "".join(f"; {who}: {its}" for who, its in beside.items() if its)
        sentences += _sentence(figures, key, note)
    return [*sentences, audit.doubt] if audit.doubt else sentences


def said_of(figures: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
    """What the figures of one encoder by the linear probe say, in plain sentences."""
    if figures["static"][LINEAR].value is None:
        return [f"What its score rests on cannot be said: {figures['static'][LINEAR].undefined}."]
    return [sentence for key in REST for sentence in _sentence(figures, key)]


def _sentence(figures: Mapping[str, Mapping[str, Estimate]], key: str, note: str = "") -> list[str]:
    """What one figure says; nothing where it is not there or has no value."""
    value = figures.get(key, {}).get(LINEAR)
    if value is None or not (spoken := _spoken(value)):
        return []
    amount = _amount(value)
    said = f"{amount} {REST[key]}" if amount else f"How much {REST[key]} cannot be told from these videos"
    return [f"{said} ({spoken}{note})."]


def _named(encoder: str) -> str:
    return "before training" if encoder == BEFORE else encoder


def _amount(estimate: Estimate) -> str:
    """Most, little or a part, where the interval bears it out; else ""."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or low is None or high is None:
        return ""
    if value >= MOST and low > HALF:
        return "Most"
    if value < LITTLE and high < HALF:
        return "Little"
    return "A part" if low > 0 and high < 100 and high - low <= HALF else ""


def _briefly(estimate: Estimate) -> str:
    """As `_spoken`, but of what may be anything only that."""
    return "cannot be told" if (estimate.low, estimate.high) == (0, 100) else _spoken(estimate)


def _spoken(estimate: Estimate) -> str:
    """The value and its interval; "" where there is none."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or low is None or high is None:
        return ""
    return f"{value:.0f} %, {low:.0f} to {high:.0f}"
