"""The report page: whole, self-contained, and escaped."""

import base64
import hashlib
import json
import os
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from report_read import written

from kinevec.errors import OutputError
from kinevec.show.report import Curve, Neighbour, Report, Row, Section, write_report
from kinevec.show.report import page as module

ATTACK = """</script><script>alert(1)</script><img src=x onerror='a()' "> & ${title} é"""


def test_the_page_asks_nothing_of_the_network(report: Report, tmp_path: Path) -> None:
    root = written(report, tmp_path)
    content = (tmp_path / "report.html").read_text("utf-8")
    assert not re.search("https?:", content)
    assert not re.search(r"@import|url\((?!data:)", root.all("style")[0].text)
    for element in root.all():
        for name in ("src", "href", "poster", "srcset", "data", "action"):
            assert re.match(r"#|data:", element.attributes.get(name, "#")), element
    assert not root.all("iframe") + root.all("object") + root.all("form") + root.all("base")


def test_the_policy_lets_only_its_own_script_run(report: Report, tmp_path: Path) -> None:
    root = written(report, tmp_path)
    data, script = root.all("script")
    assert data.attributes["type"] == "application/json"
    (policy,) = (meta for meta in root.all("meta") if "http-equiv" in meta.attributes)
    assert policy.attributes["http-equiv"] == "Content-Security-Policy"
    rules = dict(rule.split(" ", 1) for rule in policy.attributes["content"].split("; "))
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'"
    assert (rules["img-src"], rules["media-src"]) == ("data:", "blob:")


def test_the_page_can_be_read_by_machines_and_keyboards(report: Report, tmp_path: Path) -> None:
    root = written(report, tmp_path)
    (page,) = root.all("html")
    assert page.attributes["lang"] == "en"
    identities = [element.attributes["id"] for element in root.all() if "id" in element.attributes]
    assert len(set(identities)) == len(identities)
    for link in root.all("a"):
        assert link.attributes["href"][1:] in identities
    for section in root.all("section"):
        assert section.attributes["aria-labelledby"] in identities
    assert [element.text for element in root.all("h2")] == [
        "Scores",
        "Nearest neighbours",
        "Training",
        "How this was made",
    ]
    pictures = root.all("svg") + root.all(class_="moving") + root.all(class_="missing")
    assert len(pictures) == 1 + 7 + 1
    assert all(
        picture.attributes["role"] == "img" and picture.attributes["aria-label"] for picture in pictures
    )
    (button,) = root.all("button")
    assert (button.attributes["type"], button.attributes["id"]) == ("button", "playing")
    style = root.all("style")[0].text
    assert "@media (prefers-color-scheme: dark)" in style
    assert "@media (prefers-reduced-motion: reduce)" in style
    assert "(prefers-reduced-motion: reduce)" in root.all("script")[1].text


def test_text_from_outside_stays_text(report: Report, tmp_path: Path) -> None:
    near = replace(report.rows[0].neighbours["moco"][0], name=ATTACK, label=ATTACK)
    hostile = Report(
        title=ATTACK,
        summary=(ATTACK,),
        scores={ATTACK: {ATTACK: 1.0, "R@1": 2.0}, "untrained": {ATTACK: 1.0}},
        chance={ATTACK: 1.0},
        curves=(Curve(ATTACK, ATTACK, [0, 1], {ATTACK: [1, 2]}, ATTACK, ATTACK),),
        rows=(replace(report.rows[0], name=ATTACK, label=ATTACK, neighbours={ATTACK: (near,)}),),
        facts={ATTACK: ATTACK},
        intervals={ATTACK: {ATTACK: (0.5, 1.5)}},
        sections=(Section("more", ATTACK, "<p>HTML of ours</p>"),),
    )
    assert len(fields(Report)) == 9  # all of them are tried above
    root = written(hostile, tmp_path)
    assert len(root.all("script")) == 2
    assert not root.all("img")
    for element in root.all():
        assert not [name for name in element.attributes if name.startswith("on")], element
    for tag in (
        "title",
        "h1",
        "header",
        "caption",
        "th",
        "h3",
        "figcaption",
        "li",
        "b",
        "small",
        "h4",
        "dt",
        "dd",
        "text",
    ):
        assert any(ATTACK in element.text for element in root.all(tag)), tag
    for name in ("title", "aria-label"):
        assert any(ATTACK in element.attributes.get(name, "") for element in root.all()), name
    assert [tile.attributes["class"] for tile in root.all("figure", class_="tile")] == ["tile ", "tile right"]


def test_a_further_section_stands_after_the_scores_with_its_own_style(report: Report, tmp_path: Path) -> None:
    section = Section("more", "And more", '<p class="odd">Odd</p>', ".odd { color: red }")
    root = written(replace(report, sections=(section,)), tmp_path)
    assert [element.text for element in root.all("h2")][:2] == ["Scores", "And more"]
    assert root.all("p", class_="odd")[0].text == "Odd"
    assert ".odd { color: red }" in root.all("style")[0].text


def test_names_that_are_no_text_do_not_stop_the_page(report: Report, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")  # Latin-1 on a file system of UTF-8
    root = written(replace(report, rows=(replace(report.rows[0], name=name),)), tmp_path)
    assert "caf?.mp4" in root.all("article")[0].text


def test_without_labels_the_page_says_so(report: Report, tmp_path: Path) -> None:
    near = Neighbour(report.rows[0].query, "near.mp4", None, 0.5)
    row = Row(report.rows[0].query, "query.mp4", None, {"moco": (near,)})
    root = written(replace(report, scores={}, chance={}, rows=(row,)), tmp_path)
    said = " ".join(root.all("section", id="scores")[0].text.split())
    assert "These videos have no labels, so there is nothing to count and no score to give." in said
    assert not root.all("table")
    neighbours = root.all("section", id="neighbours")[0].text
    assert "Without labels your eyes are the judge" in neighbours
    assert "✓" not in neighbours
    assert "right" not in neighbours


def test_parts_that_are_empty_are_left_out(report: Report, tmp_path: Path) -> None:
    root = written(replace(report, summary=(), curves=(), rows=(), facts={}), tmp_path)
    assert [element.text for element in root.all("h2")] == ["Scores"]
    assert [link.attributes["href"] for link in root.all("a")] == ["#scores"]
    assert json.loads(root.all("script")[0].text) == []


def test_a_failure_leaves_the_old_page(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "replace", full)
        with pytest.raises(
            OutputError, match=r"report\.html: the report cannot be written: No space left on device"
        ):
            write_report(path, report)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError):
            write_report(path, report)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text() == "old"
    write_report(path, report)
    assert path.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_the_old_page_stands_until_the_new_one_is_whole(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    seen = []
    real = os.replace

    def watched(aside: Path, to: Path) -> None:
        seen.append((path.read_text(), Path(aside).parent == tmp_path, Path(aside).read_bytes()[-8:]))
        real(aside, to)

    monkeypatch.setattr(module.os, "replace", watched)
    write_report(path, report)
    assert seen == [("old", True, b"</html>\n")]


def test_a_missing_folder_is_an_output_error(report: Report, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file or directory"):
        write_report(tmp_path / "missing" / "report.html", report)
