"""The report page: whole, self-contained, escaped, and right in its numbers."""

import base64
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from faults import zero_byte
from kinevec.errors import OutputError
from kinevec.show import report as module
from kinevec.show.report import Curve, Neighbour, Report, Row, Section, write_report
from kinevec.show.thumbnails import thumbnail
from numbered import numbered_video

VOID = {"meta", "link", "br", "img", "input", "hr"}
ATTACK = """</script><script>alert(1)</script><img src=x onerror='a()' "> & ${title} é"""


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    children: list["Element | str"] = field(default_factory=list)

    def all(self, tag: str = "", **attributes: str) -> list["Element"]:
        """Descendants with a tag and with these words among their attributes."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                words = {name: child.attributes.get(name, "").split() for name in child.attributes}
                wanted = {name.rstrip("_"): word for name, word in attributes.items()}
                if tag in ("", child.tag) and all(
                    word in words.get(name, ()) for name, word in wanted.items()
                ):
                    found.append(child)
                found += child.all(tag, **attributes)
        return found

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)


class Page(HTMLParser):
    """Reads a page into elements; every tag must be closed in order."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]
        self.feed(content)
        self.close()
        assert self.open == [self.root], f"not closed: {[element.tag for element in self.open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute stands twice in {tag}: {attrs}"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("videos")
    sizes = {"one": (64, 64), "two": (96, 64), "three": (64, 96)}
    made = {name: numbered_video(folder / f"{name}.mp4", 4, size) for name, size in sizes.items()}
    return {**made, "bad": zero_byte(folder / "bad.mp4")}


@pytest.fixture
def report(videos: dict[str, Path]) -> Report:
    def near(name: str, label: str | None, similarity: float) -> Neighbour:
        return Neighbour(videos[name], f"{name}.mp4", label, similarity)

    rows = (
        Row(
            videos["one"],
            "one.mp4",
            "wave",
            {
                "moco": (near("two", "wave", 0.934), near("three", "clap", 0.5), near("one", None, -0.126)),
                "untrained": (near("bad", "clap", 0.3), near("two", "wave", 0.2)),
            },
        ),
        Row(videos["two"], "two.mp4", None, {"moco": (near("one", "wave", 1.0),), "untrained": ()}),
    )
    return Report(
        title="What moco learned",
        summary=("It learned something.", "And more."),
        scores={
            "moco": {"R@1": 40.24, "linear probe": 20.0},
            "untrained": {"R@1": 19.12, "linear probe": 24.5},
        },
        chance={"R@1": 3.7, "linear probe": 4.0},
        curves=(Curve("Loss", "nats", [0, 1, 2], {"loss": [3.0, 2.0, 1.0]}, "It should fall."),),
        rows=rows,
        facts={"seed": "0", "command": "kinevec demo"},
    )


def written(report: Report, folder: Path) -> Element:
    write_report(folder / "report.html", report)
    return Page((folder / "report.html").read_text("utf-8")).root


def lines(table: Element) -> list[list[str]]:
    """The texts of the cells of each line of a table, without those that are for the eye alone."""
    shown = [line for line in table.all("tr") if "aria-hidden" not in line.attributes]
    return [[cell.text for cell in line.children if isinstance(cell, Element)] for line in shown]


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


def test_an_interval_is_a_line_on_the_bar_and_small_numbers_beside_the_score(
    report: Report, tmp_path: Path
) -> None:
    root = written(replace(report, intervals={"moco": {"R@1": (31.26, 49.04)}}), tmp_path)
    (whisker,) = root.all("i", class_="whisker")
    assert whisker.attributes["style"] == "left:31.26%;width:17.78%"
    assert any(element.text == "31–49" for element in root.all("small"))
    assert any("95 of 100" in element.text for element in root.all("dd"))
    assert not written(report, tmp_path).all("i", class_="whisker")


def test_names_that_are_no_text_do_not_stop_the_page(report: Report, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")  # Latin-1 on a file system of UTF-8
    root = written(replace(report, rows=(replace(report.rows[0], name=name),)), tmp_path)
    assert "caf?.mp4" in root.all("article")[0].text


def test_each_file_is_embedded_once_and_shown_where_it_belongs(
    report: Report, videos: Mapping[str, Path], tmp_path: Path
) -> None:
    root = written(report, tmp_path)
    contents = [base64.b64decode(text) for text in json.loads(root.all("script")[0].text)]
    assert sorted(contents) == sorted(thumbnail(videos[name]).video for name in ("one", "two", "three"))
    shown = {}
    for tile in root.all("figure", class_="tile"):
        for moving in tile.all(class_="moving"):
            shown.setdefault(tile.attributes["title"], set()).add(int(moving.attributes["data-video"]))
    assert {name: [contents[i] for i in places] for name, places in shown.items()} == {
        f"{name}.mp4": [thumbnail(videos[name]).video] for name in ("one", "two", "three")
    }
    style = root.all("style")[0].text
    assert style.count("data:image/jpeg") == 3
    assert "--shape:1.000" in root.all("div", class_="rows")[0].attributes["style"]


def test_rows_show_neighbours_in_order_and_mark_the_right_ones(report: Report, tmp_path: Path) -> None:
    first, second = written(report, tmp_path).all("article")
    tiles = first.all("figure", class_="tile")
    assert [tile.attributes["title"] for tile in tiles] == [
        f"{n}.mp4" for n in ("one", "two", "three", "one", "bad", "two")
    ]
    assert [tile.attributes["class"].split()[1:] for tile in tiles] == [
        [],
        ["right"],
        ["wrong"],
        [],
        ["wrong"],
        ["right"],
    ]
    texts = [tile.all("figcaption")[0].text for tile in tiles]
    assert texts == [
        "waveone.mp4",
        "✓same label as the query: 0.93wavetwo.mp4",
        "another label than the query: 0.50clapthree.mp4",
        "−0.13one.mp4",
        "another label than the query: 0.30clapbad.mp4",
        "✓same label as the query: 0.20wavetwo.mp4",
    ]
    assert [article.all("h3")[0].text for article in (first, second)] == ["Query 1", "Query 2"]
    assert [heading.text for heading in first.all("h4")] == ["moco 1 of 3 right", "untrained 1 of 2 right"]
    assert [group.attributes["aria-label"] for group in first.all(role="group")] == [
        "nearest to one.mp4 by moco",
        "nearest to one.mp4 by untrained",
    ]
    assert tiles[4].all(class_="missing")[0].text == "empty file (0 bytes)"
    assert [heading.text for heading in second.all("h4")] == ["moco", "untrained"]
    assert not second.all(class_="right") + second.all(class_="wrong")
    assert second.all("p", class_="empty")[0].text == "None."


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


def test_real_videos_make_a_small_page(utd: Path, tmp_path: Path) -> None:
    files = sorted((utd / "wave").glob("*.mp4"))[:11]
    near = tuple(Neighbour(file, file.name, "wave", 0.5) for file in files[1:6])
    row = Row(
        files[0],
        files[0].name,
        "wave",
        {"a": near, "b": tuple(replace(n, path=p) for n, p in zip(near, files[6:], strict=True))},
    )
    write_report(tmp_path / "r.html", Report("t", (), {}, {}, (), (row,) * 10, {}))
    root = Page((tmp_path / "r.html").read_text("utf-8")).root
    assert not root.all(class_="missing")
    embedded = len(root.all("script")[0].text) + len(root.all("style")[0].text)
    assert 10 * embedded < 2_500_000  # as if the rows showed different files
