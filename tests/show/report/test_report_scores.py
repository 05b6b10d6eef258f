"""The scores of a report are right in their numbers, bars and words."""

import math
from dataclasses import replace
from pathlib import Path

from report_read import lines, written

from kinevec.show.report import Report


def test_an_interval_is_a_line_on_the_bar_and_small_numbers_beside_the_score(
    report: Report, tmp_path: Path
) -> None:
    root = written(replace(report, intervals={"moco": {"R@1": (31.26, 49.04)}}), tmp_path)
    (whisker,) = root.all("i", class_="whisker")
    assert whisker.attributes["style"] == "left:31.26%;width:17.78%"
    assert any(element.text == "31–49" for element in root.all("small"))
    assert any("95 of 100" in element.text for element in root.all("dd"))
    assert not written(report, tmp_path).all("i", class_="whisker")


def test_scores_are_compared_with_untrained_and_chance(report: Report, tmp_path: Path) -> None:
    root = written(report, tmp_path)
    retrieval, probe = root.all("table")
    assert retrieval.all("caption")[0].text == "R@1the nearest video has the right label"
    assert probe.all("caption")[0].text == "linear probea linear layer on the features names the right label"
    head = ["encoder", "percent", "vs untrained", "vs chance"]
    assert lines(retrieval) == [
        head,
        ["moco", "40.2", "+21.1", "10.9\u00a0×"],
        ["untrained", "19.1", "", "5.2\u00a0×"],
        ["chance", "3.7", "", ""],
    ]
    assert lines(probe)[1:] == [
        ["moco", "20.0", "−4.5", "5.0\u00a0×"],
        ["untrained", "24.5", "", "6.1\u00a0×"],
        ["chance", "4.0", "", ""],
    ]
    bars = [[i.attributes["style"] for i in bar.all("i")] for bar in retrieval.all(class_="bar")]
    assert bars == [["width:40.24%", "left:3.70%"], ["width:19.12%", "left:3.70%"]]
    keys = [[i.attributes["class"] for i in line.all("i")] for line in retrieval.all("tr")]
    assert keys == [[], ["key s1"], ["s1", "mark"], ["key s0"], ["s0", "mark"], ["key"]]
    assert [term.text for term in root.all("dl")[0].all("dt")] == [
        "R@k",
        "Linear probe",
        "Untrained",
        "Chance",
    ]


def test_scores_without_comparison(report: Report, tmp_path: Path) -> None:
    scores = {"a": {"R@5": 12.0, "kNN": math.nan}, "b": {"R@5": 120.0}}
    root = written(replace(report, scores=scores, chance={}), tmp_path)
    retrieval, other = root.all("table")
    assert lines(retrieval) == [["encoder", "percent"], ["a", "12.0"], ["b", "120.0"]]
    assert retrieval.all("caption")[0].text == "R@5at least one of the 5 nearest videos has the right label"
    assert lines(other) == [["encoder", "percent"], ["a", "–"], ["b", "–"]]
    assert [i.attributes["style"] for i in other.all("i") if "style" in i.attributes] == ["width:0.00%"] * 2
    assert retrieval.all("i", class_="s2")[-1].attributes["style"] == "width:100.00%"
    assert [term.text for term in root.all("dl")[0].all("dt")] == ["R@k"]


def test_a_chance_of_zero_divides_nothing(report: Report, tmp_path: Path) -> None:
    root = written(replace(report, scores={"a": {"R@1": 5.0}}, chance={"R@1": 0.0}), tmp_path)
    assert lines(root.all("table")[0])[1:] == [["a", "5.0", "–"], ["chance", "0.0", ""]]
