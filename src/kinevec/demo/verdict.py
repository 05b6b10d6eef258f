"""What the scores of a demo say, in words and as a table: who is ahead of whom, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from kinevec.evaluate.compare import differences
from kinevec.evaluate.evaluation import Evaluation
from kinevec.evaluate.outcomes import BEFORE
from kinevec.evaluate.significance import Difference
from kinevec.show.html import signed
from kinevec.show.report import Section

MEASURES = {"R@1": "retrieval", "linear top-1": "the linear probe"}
STYLE = """.differences { max-width: 46em; margin-top: 16px; }
.differences th, .differences td { padding: 6px 0 6px 12px; border-bottom: 1px solid var(--line); text-align: right; font-weight: 400; }
.differences th:first-child { padding-left: 0; text-align: left; }
.differences small { color: var(--soft); }
"""


@dataclass(frozen=True)
class Pair:
    """What two encoders differ by: the first less the second, over the same test videos, by the scores in `MEASURES`."""

    first: str
    second: str
    by: dict[str, Difference]

    def measures(self, side: int) -> list[str]:
        """The scores that say clearly that the first is ahead (1) or behind (−1), in words."""
        return [words for score, words in MEASURES.items() if self.by[score].side == side]


def pairs(result: Evaluation) -> list[Pair]:
    """Each further encoder beside the first, and each beside the untrained one."""
    first, *others = (name for name in result.outcomes if name != BEFORE)
    wanted = [(name, first) for name in others]
    wanted += [(name, BEFORE) for name in (first, *others) if BEFORE in result.outcomes]
    return [Pair(name, other, _differences(result, name, other)) for name, other in wanted]


def result_in_words(result: Evaluation, found: Sequence[Pair]) -> list[str]:
    """What came out, as paragraphs for the head of the page."""
    *shares, last = (f"{scores['R@1']:.0f} % ({name})" for name, scores in result.scores.items())
    numbers = (
        f"The nearest neighbour has the right label for {', '.join(shares)} and {last} of {result.facts['data']['test']} "
        f"videos that were kept apart; guessing gives {result.chance['R@1']:.0f} %."
    )
    methods, learnt = (
        [_verdict(pair) for pair in found if (pair.second == BEFORE) == untrained]
        for untrained in (False, True)
    )
    return [" ".join([numbers, *methods]), *([" ".join(learnt)] if learnt else [])]


def difference_section(found: Sequence[Pair]) -> Section:
    """The differences as a table."""
    heads = "".join(f'<th scope="col">{score}</th>' for score in MEASURES)
    rows = "".join(
        f'<tr><th scope="row">{escape(pair.first)} less {escape(pair.second)}</th>'
        + "".join(f"<td>{_cell(pair.by[score])}</td>" for score in MEASURES)
        + "</tr>"
        for pair in found
    )
    about = (
        "In points, over the same test videos, with the 95 % interval; p: how often a difference at least as large comes out "
        "where each video's two results change places at random. Where the interval holds 0, these videos cannot tell the "
        "two apart. Each method was trained once: another seed of the training would give other numbers, and how far apart "
        "they lie is not in these intervals."
    )
    table = (
        f'<table class="differences"><thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    )
    return Section(
        "differences", "How sure are the differences?", f'<p class="about">{about}</p>{table}', STYLE
    )


def _differences(result: Evaluation, name: str, other: str) -> dict[str, Difference]:
    one, two = (result.outcomes[key] for key in (name, other))
    every = differences(one.hits, two.hits, one.labels)
    return {score: every[score] for score in MEASURES}


def _verdict(pair: Pair) -> str:
    second = "the untrained network" if pair.second == BEFORE else pair.second
    sides = [
        (word, measures)
        for side, word in ((1, "ahead of"), (-1, "behind"))
        if (measures := pair.measures(side))
    ]
    if not sides:
        return f"Between {pair.first} and {second} these videos show no clear difference."
    parts = [
        f"clearly {word} {whom} by {' and '.join(measures)}"
        for (word, measures), whom in zip(sides, (second, "it"), strict=False)
    ]
    return f"{pair.first} is {', and '.join(parts)}."


def _cell(value: Difference) -> str:
    p = f"p {value.p:.3f}" if value.p >= 0.001 else "p &lt; 0.001"
    return f"{signed(value.points)} <small>{signed(value.low)} to {signed(value.high)}, {p}</small>"
