"""The report card as a page and as a command."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from audit_cases import CONFIG, write_set
from made_audits import made
from typer.testing import CliRunner

from kinevec.cli import app
from kinevec.cli.auditing import print_audit
from kinevec.config import Clip, Model
from kinevec.evaluate import classify
from kinevec.evaluate.audit import Estimate
from kinevec.evaluate.audit.figures import FIGURES
from kinevec.models import build_encoder
from kinevec.show.audit_page import write_audit
from kinevec.train.checkpoint import save_encoder


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "audit.html"
    write_audit(path, made())
    return path.read_text("utf-8")


def test_the_page_asks_nothing_of_the_network_and_runs_nothing(page: str) -> None:
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"(src|href)=(?!\"(data:|#))", page)
    assert "http" not in page.replace("http-equiv", "")


def test_every_figure_has_bars_intervals_and_its_question(page: str) -> None:
    for figure in FIGURES.values():
        assert figure.title in page
    assert page.count('class="whisker"') == 11  # two metrics for five figures, one for the arrow of time
    assert 'style="width:40.00%"></i><i class="whisker" style="left:30.00%;width:20.00%"' in page
    assert page.count('class="mark" style="left:50.00%"') == 1
    assert page.count('class="mark" style="left:33.00%"') == 2


def test_where_there_is_no_value_the_reason_stands(page: str) -> None:
    assert page.count("no value") == 12
    assert "at chance &lt;static&gt;" in page


def test_a_reason_that_all_figures_share_is_said_once(tmp_path: Path) -> None:
    audit = made()
    same = {
        key: {metric: Estimate(None, undefined="it is at chance") for metric in values}
        for key, values in audit.figures["untrained"].items()
    }
    write_audit(tmp_path / "a.html", replace(audit, figures={**audit.figures, "untrained": same}))
    text = (tmp_path / "a.html").read_text("utf-8")
    assert text.count("it is at chance") == 1
    assert "No value of untrained, R@1; of untrained, linear: it is at chance." in text


def test_headings_of_the_scores_stand_over_their_columns(page: str) -> None:
    table = re.search(r'<table class="scores">(.*?)</table>', page, re.S)
    assert table
    rows = [re.findall(r"<t[hd]([^>]*)>([^<]*)", row)[1:] for row in table[1].split("<tr>")[1:]]
    spans = [
        [(int((re.findall(r'colspan="(\d)"', rest) or [1])[0]), text) for rest, text in row] for row in rows
    ]
    assert {sum(span for span, _ in row) for row in spans} == {8}
    assert spans[0] == [(4, "trained"), (4, "untrained")]
    assert spans[1] == [(2, "R@1"), (2, "linear")] * 2
    assert spans[2] == [(1, "train and test"), (1, "test alone")] * 4


def test_examples_move_and_lie_still(page: str) -> None:
    assert len(re.findall(r"\.e0c[01]\{background-image:url\(data:image/jpeg;base64,", page)) == 2
    assert page.count('class="play e0c') == page.count('class="frames e0c') == 2
    assert page.count("--frames:4") == 4


@pytest.mark.parametrize("encoders", [("trained", "untrained"), ("untrained",)])
def test_the_table_has_intervals_and_what_guessing_reaches(
    encoders: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    card = made()
    parts = card.figures["trained"], card.scores["trained"]
    print_audit(
        replace(card, figures=dict.fromkeys(encoders, parts[0]), scores=dict.fromkeys(encoders, parts[1]))
    )
    printed = capsys.readouterr().out
    rows = {
        row[0]: row[1:] for row in (re.split(r" *[│┃] *", line)[1:-1] for line in printed.splitlines()) if row
    }
    cells = ["40 [30, 50]"] * 2 * len(encoders)
    assert rows["Survives without motion"] == [*cells, ""]
    assert rows["Tells forward from backward"] == ["", "62 [52, 72]"] * len(encoders) + ["50"]
    assert rows["Follows the new background"] == [*cells, "33"]
    assert "Masks of the foreground are by hand. 4 of 4 test videos got another background." in printed
    assert ("in brackets untrained" in " ".join(printed.split())) == (len(encoders) > 1)


def test_the_command_writes_table_json_and_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classify, "PENALTIES", (1e-3,))
    write_set(tmp_path / "videos", train=3, test=2)
    rows = "".join(
        f"{path.relative_to(tmp_path / 'videos')},{path.parent.name},{'train' if int(path.stem) < 3 else 'test'}\n"
        for path in sorted((tmp_path / "videos").rglob("*.mp4"))
    )
    (tmp_path / "videos" / "list.csv").write_text(f"path,label,split\n{rows}")
    config = replace(CONFIG, clip=Clip(frames=4, stride=2, size=16), model=Model("tiny"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        save_encoder(tmp_path, build_encoder("tiny"), config, step=3)
    data, out = tmp_path / "videos" / "list.csv", tmp_path / "card"
    options = ["--masks", tmp_path / "videos" / "masks", "-o", out, "--clips", 1, "--device", "cpu"]
    done = CliRunner().invoke(app, ["audit", str(tmp_path), "--data", str(data), *map(str, options)])
    assert done.exit_code == 0, done.output
    assert "8 test videos, 12 train videos, 4 classes" in done.output
    assert "appearance-free" in done.output
    assert (out / "audit.html").stat().st_size > 20_000
    written = json.loads((out / "audit.json").read_text())
    assert list(written["figures"]) == list(written["scores"]) == ["trained", "untrained"]
    assert written["masks"]["test_videos_swapped"] == 8
    assert written["encoder"]["step"] == 3
