"""What the scores of a demo say, in words and as a table: which method is ahead of the first one, and how sure that is."""

from html import escape

from kinevec.evaluate.compare import differences
from kinevec.evaluate.evaluation import Evaluation
from kinevec.evaluate.outcomes import BEFORE
from kinevec.evaluate.significance import Difference
from kinevec.show.report import Section

MEASURES = {"R@1": "retrieval", "linear top-1": "the linear probe"}
STYLE = """.differences { max-width: 46em; margin-top: 16px; }
.differences th, .differences td { padding: 6px 0 6px 12px; border-bottom: 1px solid var(--line); text-align: right; font-weight: 400; }
.differences th:first-child { padding-left: 0; text-align: left; }
.differences small { color: var(--soft); }
"""

Differences = dict[str, dict[str, Difference]]  # encoder → score → its difference to the first encoder


def ahead_of_first(result: Evaluation) -> Differences:
    """By the scores in `MEASURES`, each trained encoder less the first, over the same test videos."""
    base = result.outcomes[result.judged]
    found = {}
    for name, outcomes in result.outcomes.items():
        if name not in (result.judged, BEFORE):
            every = differences(outcomes.hits, base.hits, base.labels)
            found[name] = {score: every[score] for score in MEASURES}
    return found


def result_in_words(result: Evaluation, found: Differences) -> str:
    """What came out, for the head of the page."""
    *shares, last = (f"{scores['R@1']:.0f} % ({name})" for name, scores in result.scores.items())
    return (
        f"The nearest neighbour has the right label for {', '.join(shares)} and {last} of {result.facts['data']['test']} "
        f"videos that nothing was trained on; guessing gives {result.chance['R@1']:.0f} %. "
        + " ".join(_verdict(name, result.judged, of) for name, of in found.items())
    )


def difference_section(result: Evaluation, found: Differences) -> Section:
    """The differences as a table."""
    heads = "".join(f'<th scope="col">{escape(name)} less {escape(result.judged)}</th>' for name in found)
    rows = "".join(
        f'<tr><th scope="row">{score}</th>'
        + "".join(f"<td>{_cell(of[score])}</td>" for of in found.values())
        + "</tr>"
        for score in MEASURES
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
    return Section("differences", "Is that more than chance?", f'<p class="about">{about}</p>{table}', STYLE)


def _verdict(name: str, first: str, of: dict[str, Difference]) -> str:
    ahead = [words for score, words in MEASURES.items() if of[score].low > 0]
    behind = [words for score, words in MEASURES.items() if of[score].high < 0]
    if not ahead and not behind:
        return f"Between {name} and {first} these videos show no clear difference."
    sides = [(word, by) for word, by in (("ahead of", ahead), ("behind", behind)) if by]
    parts = [
        f"clearly {word} {whom} by {' and '.join(by)}"
        for (word, by), whom in zip(sides, (first, "it"), strict=False)
    ]
    return f"{name} is {', and '.join(parts)}."


def _cell(value: Difference) -> str:
    p = f"p {value.p:.3f}" if value.p >= 0.001 else "p &lt; 0.001"
    ends = f"{value.low:+.1f} to {value.high:+.1f}, {p}"
    return f"{value.points:+.1f} <small>{ends}</small>".replace("-", "−")
