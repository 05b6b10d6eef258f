"""Runs side by side: what the table says, and what the picture and the page show."""

import json
import os
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from cv2 import IMREAD_COLOR, imread

from kinevec import tasks
from kinevec.cli import comparing
from kinevec.config import Config, Fima, Flow, Mscl, Sampling, Terms
from kinevec.errors import OutputError
from kinevec.show.compare import (
    COLORS,
    DASHES,
    ROUND_DASHES,
    Comparison,
    _dashes,
    short,
    write_page,
    write_picture,
)
from kinevec.show.curves import ROUNDS, STYLES
from kinevec.show.html import part
from kinevec.show.runs import MEANINGS, TITLES, read_runs
from method_steps import CONTRAST, build, clips, configured
from show.test_read_runs import CONFIG, write_run

OTHER = replace(
    CONFIG,
    terms=Terms(pixel=1),
    train=replace(CONFIG.train, lr=0.5),
    method=replace(CONFIG.method, symmetric=True),
)


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    one = write_run(tmp_path / "runs" / "<one>")
    two = write_run(
        tmp_path / "runs" / "two", OTHER, steps=20, total=60, warnings=["mind"], pixel=3.25, rank=7.0
    )
    (one / "eval.json").write_text(json.dumps({"scores": {"trained": {"R@1": 41.25}}}))
    (tmp_path / "runs" / "notes").mkdir()
    return [one, two, tmp_path / "runs" / "notes"]


@pytest.fixture
def comparison(folders: list[Path]) -> Comparison:
    return Comparison.of(read_runs(folders))


def test_the_table(comparison: Comparison, folders: list[Path]) -> None:
    rows = [(row.section, row.name, *row.values) for row in comparison.rows()]
    assert rows == [
        ("run", "terms", "instance, 0.5·local", "instance, pixel"),
        ("run", "encoder", "tiny", "tiny"),
        ("run", "step", "40 of 40", "20 of 60"),
        ("last loss", "local", "2", "2"),
        ("last loss", "pixel", "", "3.25"),
        ("last loss", "loss", "4.6", "4.8"),
        ("speed", "share of time waiting", "0.1", "0.1"),
        ("health", "effective rank", "50", "7"),
        ("health", "warnings", "0", "2"),
        ("score (%), data not recorded", "R@1", "41.2", ""),
        ("setting", "terms.local", "0.5", "0.0"),
        ("setting", "terms.pixel", "0.0", "1.0"),
        ("setting", "method.symmetric", "False", "True"),
        ("setting", "train.lr", "0.02", "0.5"),
    ]
    assert comparison.remarks == (
        ("two", "unfinished: step 20 of 60"),
        (str(folders[2]), "not a run (no config.toml in it)"),
    )


def test_curves_of_runs_that_were_looked_at_at_other_steps(tmp_path: Path) -> None:
    one, two = write_run(tmp_path / "one"), write_run(tmp_path / "two")
    (two / "log.jsonl").write_text('{"step": 15, "loss": 1.0}\n{"step": 25, "loss": 3.0}\n')
    curves = {curve.title: curve for curve in Comparison.of(read_runs([one, two])).curves()}
    assert list(curves) == ["local", "loss", "effective rank", "share of time waiting"]
    loss = curves["loss"]
    assert loss.x == [10, 15, 20, 25, 30, 40]
    assert loss.y["one"] == pytest.approx([4.9, 4.85, 4.8, 4.75, 4.7, 4.6])
    assert loss.y["two"] == pytest.approx([np.nan, 1, 2, 3, np.nan, np.nan], nan_ok=True)
    assert list(curves["local"].y) == ["one"]


def test_the_page_is_one_file_that_asks_nothing_of_the_network(
    comparison: Comparison, tmp_path: Path
) -> None:
    write_page(tmp_path / "c.html", comparison)
    page = (tmp_path / "c.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert "<one>" not in page
    assert "&lt;one&gt;" in page
    assert page.count("<figure") == page.count("<svg") == len(comparison.curves())
    for text in ("unfinished: step 20 of 60", "not a run", "41.2", "train.lr", "instance, 0.5·local"):
        assert text in page
    assert "$" not in page


def test_the_picture_shows_every_run(comparison: Comparison, tmp_path: Path) -> None:
    write_picture(tmp_path / "c.png", comparison)
    picture = imread(str(tmp_path / "c.png"), IMREAD_COLOR)
    assert picture is not None
    for color in COLORS[:2]:
        wanted = np.array([int(color[i : i + 2], 16) for i in (5, 3, 1)])
        assert (np.abs(picture.astype(int) - wanted).max(-1) < 8).sum() > 100, color
    assert len(COLORS) == len(DASHES) == STYLES


def test_twenty_runs_have_twenty_kinds_of_lines(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / f"r{i:02}") for i in range(20)]
    comparison = Comparison.of(read_runs(folders))
    write_page(tmp_path / "a.html", comparison)
    keys = re.findall(r'<i class="key ([^"]+)"></i>r\d\d</th>', (tmp_path / "a.html").read_text())
    assert len(set(keys)) == len(keys) == 20
    css = part("report.css")
    assert len(ROUND_DASHES) == ROUNDS == 3
    assert all(f".line.{name}" in css and f".legend .{name}" in css for name in ("r1", "r2", "r3"))
    looks = {(COLORS[i % len(COLORS)], str(_dashes(i))) for i in range(20)}
    assert len(looks) == 20


def test_names_of_runs_may_be_anything(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    names = ["lr_$1_vs_$2", "運動", os.fsdecode(b"caf\xe9"), "<b>&"]
    comparison = Comparison.of(read_runs([write_run(tmp_path / name) for name in names]))
    write_picture(tmp_path / "a.png", comparison)
    write_page(tmp_path / "a.html", comparison)
    assert "caf\\udce9" in (tmp_path / "a.html").read_text("utf-8")
    assert not recwarn.list


def test_runs_without_a_log_are_no_obstacle(tmp_path: Path) -> None:
    result = tasks.compare([write_run(tmp_path / "a", steps=0)], tmp_path / "out")
    assert [(row.name, row.values) for row in result.rows()][2] == ("step", ("0 of 40",))
    assert (tmp_path / "out" / "compare.png").stat().st_size > 0
    assert "nothing logged yet" in (tmp_path / "out" / "compare.html").read_text()


def test_it_is_said_that_no_run_was_judged(comparison: Comparison, folders: list[Path]) -> None:
    assert comparison.notes == []
    (folders[0] / "eval.json").unlink()
    (note,) = Comparison.of(read_runs(folders)).notes
    assert note.startswith("No scores: no evaluation with scores lies in these folders")


def test_a_place_that_cannot_be_written_is_refused(folders: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        tasks.compare(folders, tmp_path / "file" / "out")


def test_everything_that_a_method_logs_is_explained() -> None:
    terms = Terms(**{field.name: 1.0 for field in fields(Terms)})
    config = configured(terms, replace(CONTRAST, symmetric=True))
    losses = build(config)(clips(config))
    logged = {*losses.terms, *losses.figures}
    assert {"flow_rotated", "cross_rotated", "local_accuracy"} < logged
    assert set(MEANINGS) == logged | set(TITLES)
    assert all(len(MEANINGS[name]) <= 120 for name in logged)


def test_what_another_version_logged_is_not_explained_wrongly(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", novel=3.0)
    curves = {curve.title: curve for curve in Comparison.of(read_runs([run])).curves()}
    assert curves["novel"].explanation == "Logged by another version of kinevec, and not known to this one."


def test_settings_that_no_terms_read_are_left_out(tmp_path: Path) -> None:
    plain, moving = Config(), Config(sampling=Sampling(moving=True))
    mscl = Config(terms=Terms(flow=1))
    other = {"fima": Fima(width=128), "mscl": Mscl(width=8), "flow": Flow(gap=3)}

    def settings(*configs: Config) -> list[tuple[str, ...]]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        runs = read_runs([write_run(folder / str(i), config) for i, config in enumerate(configs)])
        rows = [(row.name, *row.values) for row in Comparison.of(runs).rows() if row.section == "setting"]
        return [row for row in rows if row[0].partition(".")[0] in other]

    assert settings(plain, replace(plain, **other)) == []
    assert settings(moving, replace(moving, **other)) == [("flow.gap", "8", "3")]
    assert settings(plain, mscl, replace(mscl, **other)) == [
        ("flow.gap", "", "8", "3"),
        ("mscl.width", "", "16", "8"),
    ]
    assert settings(replace(plain, **other), mscl) == []  # only one of them reads it


def test_equal_runs_are_all_seen_in_the_picture(tmp_path: Path) -> None:
    runs = read_runs([write_run(tmp_path / name) for name in "abcd"])
    write_picture(tmp_path / "c.png", Comparison.of(runs))
    picture = imread(str(tmp_path / "c.png"), IMREAD_COLOR)
    assert picture is not None
    for color in COLORS[:4]:
        wanted = np.array([int(color[i : i + 2], 16) for i in (5, 3, 1)])
        below = picture[len(picture) // 5 :].astype(int)  # without the legend
        assert (np.abs(below - wanted).max(-1) < 8).sum() > 100, color


def test_the_last_value_of_an_unfinished_run_says_its_step(comparison: Comparison, tmp_path: Path) -> None:
    write_page(tmp_path / "c.html", comparison)
    page = (tmp_path / "c.html").read_text()
    assert "two <span>4.8 at step 20</span>" in page
    assert "at the end" not in page


def test_digits() -> None:
    assert [short(value) for value in (4.123456, 0.00012345, 1234567.0, float("nan"))] == [
        "4.12",
        "0.000123",
        "1.23e+06",
        "",
    ]


def test_the_command(folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    comparing.compare(folders, tmp_path / "out")
    said = capsys.readouterr()
    for text in ("<one>", "two", "instance, pixel", "20 of 60", "41.2", "train.lr"):
        assert text in said.out
    assert "two: unfinished: step 20 of 60" in said.err
    assert f"{folders[2]}: not a run" in said.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["compare.html", "compare.png"]
