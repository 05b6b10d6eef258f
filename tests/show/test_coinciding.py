"""Lines that hide each other are found, and take turns."""

import math
import re
import xml.etree.ElementTree as xml

import numpy as np
import pytest

from kinevec.show.coinciding import Turn, coinciding, turns
from kinevec.show.curves import Curve, figure

NAN = math.nan
WAVE = np.sin(np.linspace(0, 6, 100))


def test_lines_that_lie_on_each_other_are_grouped_the_longest_first() -> None:
    short = [*WAVE[:30], *[NAN] * 70]
    lines = {
        "short": short,
        "a": WAVE,
        "up": WAVE + 0.1,
        "b": WAVE + 0.004,
        "up too": WAVE + 0.1,
        "other": -WAVE,
    }
    assert coinciding(lines) == [["a", "b", "short"], ["up", "up too"]]
    assert turns([["a", "b"], ["c", "d"]]) == {
        "a": Turn(0, 2),
        "b": Turn(1, 2),
        "c": Turn(0, 2),
        "d": Turn(1, 2),
    }


@pytest.mark.parametrize(
    ("other", "hidden"),
    [
        (WAVE + 0.02, False),  # one in a hundred of the chart's height
        (WAVE + np.where(np.arange(100) < 8, 1, 0), True),
        (WAVE + np.where(np.arange(100) < 12, 1, 0), False),
        (np.full(100, NAN), False),
        (np.where(np.arange(100) < 99, NAN, WAVE), True),
    ],
)
def test_how_close_is_close(other: np.ndarray, hidden: bool) -> None:
    assert bool(coinciding({"a": WAVE, "b": other})) == hidden


def test_lines_that_share_little_of_x_do_not_hide_each_other() -> None:
    first, second = [1.0, 1, 1, 1, NAN, NAN, NAN], [NAN, NAN, NAN, 1.0, 1, 1, 1]
    assert coinciding({"a": first, "b": second}) == []
    assert coinciding({"a": [1.0, 1], "b": [1.0, 1]}) == [["a", "b"]]  # a chart without height
    assert coinciding({"a": [NAN], "b": [NAN]}) == []
    assert coinciding({}) == []


def test_dashes_of_a_group_do_not_cover_each_other() -> None:
    patterns = [turn.dashes(4) for turn in turns(["abc"]).values()]
    assert patterns[0] is None

    def drawn(offset: float, dash: float, gap: float) -> list[bool]:
        return [(at + offset) % (dash + gap) < dash for at in range(48)]

    covered = [drawn(offset, *lengths) for offset, lengths in filter(None, patterns)]
    assert np.sum(covered, axis=0).tolist() == ([0] * 4 + [1] * 8) * 4


def test_all_lines_that_coincide_can_be_seen_in_a_chart() -> None:
    lines = {"a&b": [1.0, 2, 3], "late": [1.0, 2, NAN], "c": [3.0, 2, 1]}
    page = figure(Curve("t", "", [0, 1, 2], lines, ""), {})
    root = xml.fromstring(page)
    assert "These 2 lines coincide and are drawn in turns: a&b, late." in "".join(root.itertext())
    looks = [(path.get("class"), path.get("style")) for path in root.iter("path")]
    assert looks == [
        ("line s1", "stroke-dasharray:none"),
        ("line s3", None),
        ("line s2", "stroke-dasharray:16 16;stroke-dashoffset:16;stroke-linecap:butt"),
    ]
    dots = figure(Curve("t", "", [0], {"a": [1.0], "b": [1.0], "c": [1.0], "d": [2.0]}, ""), {})
    assert re.findall(r'class="(s\d)" [^>]* r="(\d)"', dots) == [
        ("s1", "5"),
        ("s4", "3"),
        ("s2", "4"),
        ("s3", "3"),
    ]
    assert "coincide" not in figure(Curve("t", "", [0, 1], {"a": [1.0, 2], "b": [2.0, 1]}, ""), {})
