"""The sentences that open a report card say what its numbers bear out."""

from dataclasses import replace

import pytest
from made_audits import made

from kinevec.evaluate.audit import Estimate
from kinevec.show.audit_summary import summary


def test_the_summary_follows_the_numbers() -> None:
    text = " ".join(summary(made({"static": 80, "appearance_free": 20, "background": 50})))
    assert "Percentages are of what a linear probe reads from its features above chance" in text
    assert "Most is still there when nothing moves (80 %, 70 to 90)." in text
    assert "Little is still there when only moving noise is left (20 %, 10 to 30)." in text
    assert "A part is lost when they get another background (50 %, 40 to 60)." in text
    card = made()
    other = replace(card, figures={"untrained": card.figures["untrained"]})
    assert summary(other)[1:] == ["What its score rests on cannot be said: at chance <static>."]


@pytest.mark.parametrize(
    ("value", "low", "high", "amount"),
    [
        (80, 51, 100, "Most"),
        (80, 50, 100, ""),
        (67, 60, 75, "Most"),
        (66, 60, 75, "A part"),
        (20, 0, 49, "Little"),
        (18, 0, 50, ""),
        (33, 25, 45, "A part"),
        (25, 5, 55, "A part"),
        (50, 25, 75, "A part"),
        (50, 24, 75, ""),
        (40, 0, 45, ""),
        (60, 55, 100, ""),
    ],
)
def test_the_summary_says_no_more_than_the_interval(value: int, low: int, high: int, amount: str) -> None:
    card = made()
    estimate = Estimate(value, low, high, raw=value)
    figures = {key: dict.fromkeys(values, estimate) for key, values in card.figures["trained"].items()}
    sentences = summary(replace(card, figures={"trained": figures}))[1:]
    ends = (
        "is still there when nothing moves",
        "is still there when only moving noise is left",
        "is lost when the test videos run backward",
        "is lost when they get another background",
    )
    numbers = f"({value} %, {low} to {high})."
    expected = [
        f"{amount} {end} {numbers}"
        if amount
        else f"How much {end} cannot be told from these videos {numbers}"
        for end in ends
    ]
    assert sentences == expected


def test_the_summary_names_the_encoders_beside() -> None:
    card, other, before = (made({"static": value}).figures["trained"] for value in (80, 60, 10))
    beside = replace(made(), figures={"MoCo": card, "FIMA": other, "untrained": before})
    assert (
        "when nothing moves (80 %, 70 to 90; FIMA: 60 %, 50 to 70; before training: 10 %, 0 to 20)."
        in " ".join(summary(beside))
    )


def test_of_an_encoder_beside_that_may_be_anything_no_number_is_said() -> None:
    card = made({"static": 80})
    anything = Estimate(100.0, 0, 100, raw=130)
    before = {key: dict.fromkeys(values, anything) for key, values in card.figures["trained"].items()}
    text = " ".join(summary(replace(card, figures={"trained": card.figures["trained"], "untrained": before})))
    assert "when nothing moves (80 %, 70 to 90; before training: cannot be told)." in text


def test_a_small_estimated_foreground_is_doubted() -> None:
    card = made()
    masks = card.facts["masks"]
    assert card.doubt == ""  # by hand
    for estimated, share, doubted in (
        (True, 0.03, True),
        (True, 0.05, False),
        (False, 0.03, False),
        (True, None, False),
    ):
        found = replace(
            card,
            facts={
                **card.facts,
                "masks": {**masks, "estimated": estimated, "foreground_share_median": share},
            },
        )
        assert ("which is 3 % of the picture" in found.doubt) == doubted
        assert (summary(found)[-1] == found.doubt) == doubted
