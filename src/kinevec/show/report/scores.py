"""The scores of a report: one panel for each, with a bar for every encoder, and what the words mean."""

import math
import re
from collections.abc import Iterable, Mapping
from html import escape

from kinevec.evaluate.outcomes import PER_CLASS, TOP5
from kinevec.show.curves import BASELINE
from kinevec.show.html import pair_list, signed
from kinevec.show.report.content import Report

MEANINGS = {
    r"R@\d+": (
        "R@k",
        "Retrieval. For every test video, the k most similar training videos are looked up. R@k is the share "
        "of test videos for which at least one of those k has the same label.",
    ),
    r"linear.*": (
        "Linear probe",
        "The encoder is frozen and one linear layer on top of it learns to name the labels. Its accuracy on "
        "test videos says how much of what the labels mean can be read straight off the features.",
    ),
}


def score_part(report: Report, styles: Mapping[str, str]) -> str:
    """The scores of a report as HTML.

    Args:
        styles: encoder name → CSS class of its colour.
    """
    names = dict.fromkeys(name for scores in report.scores.values() for name in scores)
    if not names:
        return (
            '<p class="about">These videos have no labels, so there is nothing to count and no score to give. '
            "The nearest neighbours can be judged by eye: does what an encoder puts beside a video move like it?</p>"
        )
    panels = "".join(_panel(name, report, styles) for name in names)
    return f'<div class="panels">{panels}</div>{pair_list("terms", _terms(names, report))}'


def _terms(names: Iterable[str], report: Report) -> dict[str, str]:
    """What the words and numbers of the scores mean, as far as they appear."""
    terms = {
        term: text
        for pattern, (term, text) in MEANINGS.items()
        if any(re.match(pattern, name) for name in names)
    }
    if BASELINE in report.scores:
        terms["Untrained"] = (
            "The same network with the random weights it started from. Even those tell some videos apart; only "
            "what goes beyond them was learned, so each encoder also shows its difference to it in points."
        )
    if report.intervals:
        terms["Intervals"] = (
            "The small numbers, and the thin lines on the bars: where the score would lie in 95 of 100 draws of as many "
            "test videos. They say nothing about other runs of the training."
        )
    if report.chance:
        terms["Chance"] = (
            "What guessing without looking would reach: the upright line across the bars. A score of 3.0\u00a0× chance is "
            "three times that. Where guessing is right nearly always, as with many tries among few labels, multiples are "
            "small for everyone: look at the scores with a lower line first."
        )
    return terms


def _panel(name: str, report: Report, styles: Mapping[str, str]) -> str:
    """One score of all encoders: a table, and a bar under every line."""
    chance = report.chance.get(name, math.nan)
    base = report.scores.get(BASELINE, {}).get(name, math.nan)
    columns = ["percent"]
    columns += ["vs untrained"] if math.isfinite(base) else []
    columns += ["vs chance"] if math.isfinite(chance) else []
    lines = ""
    for encoder, scores in report.scores.items():
        value = scores.get(name, math.nan)
        ends = report.intervals.get(encoder, {}).get(name)
        gain = "" if encoder == BASELINE else signed(value - base)
        cells = {
            "percent": _percent(value) + _ends(ends),
            "vs untrained": gain,
            "vs chance": _times(value, chance),
        }
        lines += (
            f'<tr><th scope="row"><i class="key {styles[encoder]}"></i>{escape(encoder)}</th>'
            + "".join(f"<td>{cells[column]}</td>" for column in columns)
            + f'</tr><tr aria-hidden="true"><td colspan="4">{_bar(value, chance, styles[encoder], ends)}</td></tr>'
        )
    if math.isfinite(chance):
        empty = "<td></td>" * (len(columns) - 1)
        lines += (
            '<tr class="chance"><th scope="row"><i class="key"></i>chance</th>'
            f"<td>{_percent(chance)}</td>{empty}</tr>"
        )
    head = "".join(f'<th scope="col">{column}</th>' for column in ["encoder", *columns])
    return (
        f'<div class="panel"><table><caption>{escape(name)}<small>{_meaning(name)}</small></caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _meaning(name: str) -> str:
    """What a point of a score is given for."""
    if found := re.fullmatch(r"R@(\d+)", name):
        nearest = "the nearest video" if found[1] == "1" else f"at least one of the {found[1]} nearest videos"
        return f"{nearest} has the right label"
    if not name.startswith("linear"):
        return ""
    if name.endswith(TOP5):
        return "the right label is among the first five that a linear layer on the features names"
    share = ", as the mean over classes" if name.endswith(PER_CLASS) else ""
    return f"a linear layer on the features names the right label{share}"


def _ends(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f" <small>{ends[0]:.0f}–{ends[1]:.0f}</small>"


def _bar(value: float, chance: float, style: str, ends: tuple[float, float] | None = None) -> str:
    """A bar of `value` percent with a mark at chance and its interval; the numbers beside it say the same in text."""
    share = min(max(value, 0), 100) if math.isfinite(value) else 0
    mark = (
        f'<i class="mark" style="left:{min(max(chance, 0), 100):.2f}%"></i>' if math.isfinite(chance) else ""
    )
    whisker = (
        f'<i class="whisker" style="left:{ends[0]:.2f}%;width:{ends[1] - ends[0]:.2f}%"></i>' if ends else ""
    )
    return f'<div class="bar" aria-hidden="true"><i class="{style}" style="width:{share:.2f}%"></i>{whisker}{mark}</div>'


def _percent(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "–"


def _times(value: float, chance: float) -> str:
    return f"{value / chance:.1f}\u00a0×" if math.isfinite(value) and chance > 0 else "–"
