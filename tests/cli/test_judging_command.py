"""`kinevec eval` where the command line itself decides: comparisons without data, and words that it cannot read."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from kinevec.cli import auditing, tables
from kinevec.cli.app import app, out
from kinevec.cli.scores import print_per_class, print_scores, say_filed
from kinevec.config import to_dict
from kinevec.errors import ConfigError, InputError, LateError
from kinevec.evaluate.evaluation import Evaluation
from kinevec.evaluate.filed import Filed
from kinevec.evaluate.outcomes import Outcomes
from kinevec.evaluate.protocols import Settings


def evaluate(*words: str) -> None:
    app(["eval", *words], standalone_mode=False)


def made(path: Path, hits: list[float], spread: dict[str, float] | None = None) -> Evaluation:
    values = {"R@1": np.array(hits), "knn top-1": np.array(hits), "knn top-5": np.ones(4)}
    outcomes = Outcomes(tuple("vwxy"), ("a", "a", "[b]", "[b]"), values, spread=spread or {})
    facts = {
        "data": {"test": 4, "train": 9, "classes": 2},
        "protocol": {"settings": to_dict(Settings()), "train_videos": "x"},
        "run": {"folder": str(path.parent)},
    }
    chance = {name: 100.0 if name == "knn top-5" else 25.0 for name in outcomes.names}
    found = Evaluation({"trained": outcomes.scores}, chance, {}, facts, {"trained": outcomes})
    path.parent.mkdir(exist_ok=True)
    found.write(path)
    return found


def test_two_evaluations_are_compared_without_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = tmp_path / "a" / "eval.json", tmp_path / "b" / "eval.json"
    made(one, [1, 1, 1, 0])
    made(two, [0, 1, 0, 0])
    evaluate(str(one), "--against", str(two))
    text = capsys.readouterr().out
    assert "+50.0 [" in text
    assert "75.0" in text
    assert "0.5000" in text  # of the four signs of two differences, two
    assert f"first: {one.parent}" in text
    assert f"second: {two.parent}" in text


def test_scores_are_shown_before_it_is_said_that_the_disk_is_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = made(tmp_path / "a" / "eval.json", [1, 1, 1, 0])

    def full(*given: object, **more: object) -> None:
        raise LateError("no space left", found)

    monkeypatch.setattr("kinevec.tasks.evaluate", full)
    with pytest.raises(LateError, match="no space left"):
        evaluate("run", "--data", "videos", "--against", "other.json")
    assert "75.0 [" in capsys.readouterr().out


def test_an_audit_is_shown_before_it_is_said_that_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object, **more: object) -> None:
        raise LateError("no space left", "the audit")

    shown: list[object] = []
    monkeypatch.setattr("kinevec.tasks.audit", full)
    monkeypatch.setattr(auditing, "print_audit", shown.append)
    with pytest.raises(LateError, match="no space left"):
        app(["audit", "run", "--data", "videos"], standalone_mode=False)
    assert shown == ["the audit"]


def test_an_encoder_of_several_is_named_behind_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = tmp_path / "a" / "eval.json"
    made(one, [1, 1, 1, 0])
    evaluate(f"{one}#trained", "--against", f"{one}#trained")
    assert f"first: {one}#trained" in capsys.readouterr().out
    odd = tmp_path / "runs#1" / "a#b.json"
    made(odd, [1, 1, 1, 0])
    evaluate(str(odd), "--against", f"{odd}#trained")
    text = capsys.readouterr().out
    assert f"first: {odd.parent}" in text
    assert f"second: {odd}#trained" in text


def test_scores_are_shown_with_what_they_are_worth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = made(tmp_path / "a" / "eval.json", [1, 1, 1, 0], {"knn top-1": 3.25})
    print_scores(found)
    print_per_class(found)
    text = capsys.readouterr().out
    low, high = found.intervals["trained"]["R@1"]
    assert f"75.0 [{low:.1f}, {high:.1f}]" in text
    assert "75.0 ± 3.2 [" in text
    assert "[low, high]: 95 %" in text
    assert "knn top-5" not in text  # guessing reaches it anyway
    assert "[b]" in text


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is an evaluation; name another one with --against"):
        evaluate("eval.json")
    with pytest.raises(InputError, match="name labelled videos with --data"):
        evaluate("run")
    data = ("run", "--data", str(tmp_path))
    with pytest.raises(InputError, match="--shots is '1;5'"):
        evaluate(*data, "--protocols", "few-shot", "--shots", "1;5")
    with pytest.raises(ConfigError, match="unknown protocol 'knnn'"):
        evaluate(*data, "--protocols", "retrieval, knnn")


@pytest.mark.parametrize(
    ("protocols", "option", "about"),
    [
        ("retrieval", ("--finetune-set", "epochs=3"), "--finetune-set is about finetune"),
        ("retrieval,knn", ("--finetune", "small"), "--finetune is about finetune"),
        ("retrieval,linear", ("--k", "3"), "--k is about knn"),
        ("linear,few-shot", ("--temperature", "9"), "--temperature is about knn"),
        ("knn", ("--draws", "7"), "--draws is about few-shot"),
        ("knn", ("--shots", "7"), "--shots is about few-shot"),
        ("retrieval,knn", ("--seeds", "3"), "--seeds is about few-shot and finetune and linear"),
    ],
)
def test_no_option_goes_unread(protocols: str, option: tuple[str, str], about: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{about}, which --protocols {protocols} lacks: add it there"):
        evaluate("run", "--data", str(tmp_path), "--protocols", protocols, *option)


def test_an_unknown_protocol_is_named_before_options(tmp_path: Path) -> None:
    for protocols, says in (("lineer", "unknown protocol 'lineer'"), (",", "no protocol was named")):
        with pytest.raises(ConfigError, match=says):
            evaluate("run", "--data", str(tmp_path), "--protocols", protocols, "--seeds", "2")


def test_options_of_encoders_are_refused_where_two_evaluations_are_compared(tmp_path: Path) -> None:
    for words in (("-o", "d.json"), ("--clips", "3"), ("--per-class",), ("--no-keep-features",)):
        with pytest.raises(InputError, match=r"a\.json is an evaluation: --[a-z-]+ would be of encoders"):
            evaluate("a.json", "--against", "b.json", *words)


def test_a_level_of_masks_needs_masks() -> None:
    with pytest.raises(ConfigError, match="--mask-level is about the files of --masks"):
        app(["audit", "run", "--data", "d", "--mask-level", "30"], standalone_mode=False)


def test_nothing_is_cut_where_nobody_watches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four encoders with spread and interval need more than the 80 columns that a pipe is taken for."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(out, "_width", None)  # a console that is made where COLUMNS is set keeps that
    found = made(tmp_path / "a" / "eval.json", [1, 1, 1, 0], {"R@1": 3.25, "knn top-1": 3.25})
    names = [f"encoder-of-a-long-name-{i}" for i in range(4)]
    outcomes = dict.fromkeys(names, found.outcomes["trained"])
    print_scores(replace(found, scores=dict.fromkeys(names, found.scores["trained"]), outcomes=outcomes))
    text = capsys.readouterr().out
    assert "…" not in text
    assert all(name in text for name in names)
    assert len({len(line) for line in text.splitlines() if line.startswith("│")}) == 1
    assert text.count("75.0 ± 3.2") == 8
    assert out.width == 80
    assert out._width is None  # as wide as the terminal is at any time


def test_on_a_narrow_terminal_words_fold_and_numbers_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    paper = io.StringIO()
    monkeypatch.setattr(tables, "out", Console(file=paper, force_terminal=True, width=40, color_system=None))
    table = Table("what")
    tables.number_columns(table, "one", "two")
    table.add_row("some-long-name-of-a-setting-in-words", "12.3 [10.0, 15.0]", "99.9 [90.0, 100.0]")
    tables.print_table(table)
    lines = [line for line in paper.getvalue().splitlines() if line.startswith("│")]
    assert len(lines) > 1
    assert "12.3 [10.0, 15.0]" in lines[0]
    assert "99.9 [90.0, 100.0]" in lines[0]
    assert "".join(line.split("│")[1].strip() for line in lines) == "some-long-name-of-a-setting-in-words"


def test_where_it_was_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    say_filed(Filed(tmp_path / "eval-knn-gym.json", "monday", tmp_path / "eval.json"))
    text = capsys.readouterr().out
    assert f"Written to {tmp_path / 'eval-knn-gym.json'} (in place of the same of monday)" in text
    assert f"{tmp_path / 'eval.json'} is another evaluation" in text
