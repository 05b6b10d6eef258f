"""The report card as a page and as a command."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from audit_cases import CONFIG, write_set
from typer.testing import CliRunner

from kinevec.cli import app
from kinevec.cli.auditing import print_audit
from kinevec.config import Clip, Model
from kinevec.evaluate import classify
from kinevec.evaluate.audit import Audit, Estimate, Example
from kinevec.evaluate.audit.figures import FIGURES
from kinevec.evaluate.audit.settings import BACKGROUND, CONDITIONS, ORIGINAL
from kinevec.models import build_encoder
from kinevec.show.audit_page import write_audit
from kinevec.show.audit_summary import summary
from kinevec.train.checkpoint import save_encoder

HOSTILE = "</style><script>alert(1)</script>"


def made(figures: dict[str, float] | None = None) -> Audit:
    """An audit whose every number is known."""
    values = dict.fromkeys(FIGURES, 40.0) | (figures or {})

    def estimate(value: float) -> Estimate:
        return Estimate(value, max(value - 10, 0), min(value + 10, 100), raw=value)

    metrics = ("R@1", "linear")
    card = {key: {metric: estimate(value) for metric in metrics} for key, value in values.items()}
    card["arrow"] = {"linear": estimate(62.0)}
    nothing = {
        key: {metric: Estimate(None, undefined=f"at chance <{key}>") for metric in metrics} for key in card
    }
    sides = {side: {metric: estimate(55.5) for metric in metrics} for side in ("both", "queries")}
    scores = dict.fromkeys(CONDITIONS, sides)
    clip = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3)).astype(np.uint8)
    return Audit(
        figures={"trained": card, "untrained": nothing},
        scores={"trained": scores, "untrained": scores},  # type: ignore[dict-item]
        chance={"R@1": 11.5, "linear": 12.5},
        similarity={},
        examples=(Example(HOSTILE, HOSTILE, HOSTILE, {ORIGINAL: clip, BACKGROUND: clip}),),
        facts={
            "data": {"train": 8, "test": 4, "classes": 2, "rejected": {}, "test_seen_in_training": None},
            "encoder": {"source": HOSTILE, "name": "tiny", "terms": ["instance"], "step": None},
            "protocol": {"clips": 2, "faster_by_median": 1.57, "intervals": "95 %"},
            "masks": {
                "source": "by hand",
                "videos_with_foreground": 12,
                "foreground_share_median": 0.2,
                "test_videos_swapped": 4,
                "chance_to_follow": {"R@1": 33.0, "linear": 33.0},
            },
            "provenance": {"made": "today", "kinevec": "0", "commit": None, "machine": "one"},
        },
    )


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


def test_examples_move_and_lie_still(page: str) -> None:
    assert len(re.findall(r"\.e0c[01]\{background-image:url\(data:image/jpeg;base64,", page)) == 2
    assert page.count('class="play e0c') == page.count('class="frames e0c') == 2
    assert page.count("--frames:4") == 4


def test_the_summary_follows_the_numbers() -> None:
    text = " ".join(summary(made({"static": 80, "appearance_free": 20, "background": 50})))
    assert (
        "Most of what a linear probe reads from it above chance is still there when nothing moves (80 %, 70 to 90)."
        in text
    )
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
        "of what a linear probe reads from it above chance is still there when nothing moves",
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
