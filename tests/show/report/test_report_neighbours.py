"""The neighbours of a report stand where they belong, in order, each video embedded once and small."""

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from report_read import Page, written

from kinevec.show.report import Neighbour, Report, Row, write_report
from kinevec.show.thumbnails import thumbnail


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
