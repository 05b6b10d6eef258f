"""What a demo says of its scores: ahead, behind, or not to be told."""

import numpy as np
import pytest

from kinevec.demo import verdict
from kinevec.demo.verdict import Pair, difference_section, pairs, result_in_words
from kinevec.evaluate.evaluation import Evaluation
from kinevec.evaluate.outcomes import Outcomes
from kinevec.evaluate.significance import Difference, paired

VIDEOS = tuple(f"v{i}" for i in range(100))
LABELS = tuple("ab" * 50)


def outcomes(retrieval: int, linear: int) -> Outcomes:
    """So many of 100 videos are right, the first ones."""
    hits = {
        name: (np.arange(100) < count).astype(float)
        for name, count in (("R@1", retrieval), ("linear top-1", linear))
    }
    return Outcomes(VIDEOS, LABELS, {**hits, "linear top-5": np.ones(100)})


def judged(**found: Outcomes) -> Evaluation:
    scores = {name: one.scores for name, one in found.items()}
    return Evaluation(scores, {"R@1": 12.4}, {}, {"data": {"test": 100}}, found)


def test_only_what_the_interval_bears_out_is_said() -> None:
    result = judged(
        MoCo=outcomes(40, 40),
        MSCL=outcomes(70, 75),
        FIMA=outcomes(41, 60),
        other=outcomes(60, 10),
        last=outcomes(10, 41),
        alike=outcomes(41, 39),
        untrained=outcomes(20, 20),
    )
    found = pairs(result)
    names = ["MSCL", "FIMA", "other", "last", "alike"]
    wanted = [(name, "MoCo") for name in names] + [(name, "untrained") for name in ("MoCo", *names)]
    assert [(pair.first, pair.second) for pair in found] == wanted
    for pair in found:
        one, base = (result.outcomes[name].of("R@1") for name in (pair.first, pair.second))
        assert pair.by["R@1"] == paired(one, base, LABELS)
    assert result_in_words(result, found) == [
        "The nearest neighbour has the right label for 40 % (MoCo), 70 % (MSCL), 41 % (FIMA), 60 % (other), 10 % (last), "
        "41 % (alike) and 20 % (untrained) of 100 videos that were kept apart; guessing gives 12 %. "
        "MSCL is clearly ahead of MoCo by retrieval and the linear probe. "
        "FIMA is clearly ahead of MoCo by the linear probe. "
        "other is clearly ahead of MoCo by retrieval, and clearly behind it by the linear probe. "
        "last is clearly behind MoCo by retrieval. "
        "Between alike and MoCo these videos show no clear difference.",
        "MoCo is clearly ahead of the untrained network by retrieval and the linear probe. "
        "MSCL is clearly ahead of the untrained network by retrieval and the linear probe. "
        "FIMA is clearly ahead of the untrained network by retrieval and the linear probe. "
        "other is clearly ahead of the untrained network by retrieval, and clearly behind it by the linear probe. "
        "last is clearly ahead of the untrained network by the linear probe, and clearly behind it by retrieval."
        " alike is clearly ahead of the untrained network by retrieval and the linear probe.",
    ]
    del result.outcomes["untrained"]
    assert len(result_in_words(result, pairs(result))) == 1


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.1, 5.0, "A is clearly ahead of B by retrieval."),
        (1e-14, 5.0, "Between A and B these videos show no clear difference."),
        (0.0, 5.0, "Between A and B these videos show no clear difference."),
        (-5.0, -1e-14, "Between A and B these videos show no clear difference."),
        (-5.0, 0.0, "Between A and B these videos show no clear difference."),
        (-5.0, -0.1, "A is clearly behind B by retrieval."),
    ],
)
def test_an_interval_that_ends_at_0_says_nothing(low: float, high: float, said: str) -> None:
    of = {"R@1": Difference(20, 15, low, high, 0.05), "linear top-1": Difference(20, 15, -1, 1, 0.9)}
    assert verdict._verdict(Pair("A", "B", of)) == said


@pytest.mark.parametrize(("p", "said"), [(0.00099, "p &lt; 0.001"), (0.001, "p 0.001"), (0.25, "p 0.250")])
def test_a_small_p_is_no_nought(p: float, said: str) -> None:
    assert verdict._cell(Difference(20, 35.5, -25, -3.04, p)) == f"−15.5 <small>−25.0 to −3.0, {said}</small>"
    assert verdict._cell(Difference(20, 20.01, -0.04, 0, p)) == f"+0.0 <small>+0.0 to +0.0, {said}</small>"


def test_the_table_gives_points_interval_and_p() -> None:
    result = judged(MoCo=outcomes(40, 40), MSCL=outcomes(30, 75))
    (pair,) = found = pairs(result)
    content = difference_section(found).content
    assert "MSCL less MoCo" in content
    for value, sign in ((pair.by["R@1"], "−10.0"), (pair.by["linear top-1"], "+35.0")):
        ends = f"{value.low:+.1f} to {value.high:+.1f}, p ".replace("-", "−")
        assert f"{sign} <small>{ends}" in content
    assert content.index("R@1") < content.index("linear top-1")


def test_names_are_escaped() -> None:
    result = judged(**{"<b>": outcomes(40, 40), "<i>": outcomes(30, 75)})
    content = difference_section(pairs(result)).content
    assert "&lt;i&gt; less &lt;b&gt;" in content
