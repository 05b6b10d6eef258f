"""Folders of runs are read as far as they go, and what is wrong with one is said of that one."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kinevec.config import Config, Terms, Train, to_toml
from kinevec.errors import InputError
from kinevec.show.runs import Run, read_run, read_runs

CONFIG = Config(terms=Terms(local=0.5), train=Train(epochs=2, warmup_epochs=1))


def write_run(folder: Path, config: Config = CONFIG, steps: int = 40, total: int = 40, **more: Any) -> Path:
    """A run's folder, as far as comparing looks at it: the loss falls by one a hundred steps."""
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(to_toml(config), "utf-8")
    (folder / "run.json").write_text(json.dumps({"steps": total}))
    lines = [
        json.dumps(
            {"step": step, "local": 2.0, "loss": 5 - step / 100, "rank": 10.0 + step, "waiting": 0.1} | more
        )
        for step in range(10, steps + 1, 10)
    ]
    (folder / "log.jsonl").write_text("".join(line + "\n" for line in lines))
    return folder


def test_a_run(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", warnings=["mind"])
    scores = {"trained": {"R@1": 41.25, "note": "x"}, "untrained": {"R@1": 3}}
    (folder / "eval.json").write_text(json.dumps({"scores": scores}))
    run = read_run(folder, "a")
    assert (run.name, run.config, run.step, run.total, run.remarks) == ("a", CONFIG, 40, 40, ())
    assert [judged.scores for judged in run.judged] == [{"R@1": 41.25}]
    assert run.figures == ["local", "loss", "rank", "waiting"]
    assert run.last("loss") == pytest.approx(4.6)
    assert math.isnan(run.last("pixel"))
    assert run.series("rank") == ([10, 20, 30, 40], [20.0, 30.0, 40.0, 50.0])
    assert run.warnings == 4


def test_scores_of_another_step_or_of_videos_that_were_trained_on_are_remarked(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    scores = {"trained": {"R@1": 41.25}}
    for name, step, data in (
        ("eval.json", 40, {"test": 9, "test_seen_in_training": 0, "test_copies_of_training": None}),
        ("eval-a.json", 10, {"test": 9}),
        ("eval-b.json", None, {"test": 9, "test_seen_in_training": 3, "test_copies_of_training": 1}),
    ):
        (folder / name).write_text(json.dumps({"scores": scores, "run": {"step": step}, "data": data}))
    assert read_run(folder, "a").remarks == (
        "eval-a.json judges step 10, and the log goes to step 40",
        "eval-b.json: 3 of 9 test videos were trained on (without labels), 1 are copies of videos that were trained on",
    )


def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "other").mkdir()
    broken = write_run(tmp_path / "broken")
    (broken / "config.toml").write_text("[train]\nepoch = 3\n")
    write_run(tmp_path / "unfinished", total=90)
    write_run(tmp_path / "silent", steps=0)
    cut = write_run(tmp_path / "cut")
    (cut / "log.jsonl").write_bytes((cut / "log.jsonl").read_bytes()[:-20])
    damaged = write_run(tmp_path / "damaged")
    (damaged / "run.json").write_text("{")
    (damaged / "eval.json").write_text("[3]")
    (damaged / "eval-knn-x.json").write_text("{")
    binary = write_run(tmp_path / "binary")
    (binary / "log.jsonl").write_bytes(b"\xff\xfe\x00")
    expected = {
        "missing": ("no such folder",),
        "file": ("not a folder",),
        "other": ("not a run (no config.toml in it)",),
        "broken": ("its configuration cannot be read: unknown key 'train.epoch'; did you mean 'epochs'?",),
        "unfinished": ("unfinished: step 40 of 90",),
        "silent": ("nothing logged yet",),
        "cut": ("unfinished: step 30 of 40",),
        "damaged": (
            "run.json cannot be read (JSONDecodeError)",
            "eval.json holds something else",
            "eval-knn-x.json cannot be read (JSONDecodeError)",
        ),
    }
    for name, remarks in expected.items():
        assert read_run(tmp_path / name, name).remarks == remarks, name
    assert read_run(damaged, "x").total is None
    assert "its log cannot be read" in read_run(binary, "x").remarks[0]


def test_names_are_short_where_they_differ(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name) for name in ("one/a", "two/a", "two/b")]
    assert [run.name for run in read_runs(folders)] == [str(folders[0]), str(folders[1]), "b"]


def test_nothing_to_compare_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read_runs([tmp_path / "missing", tmp_path / "other"])
    assert str(error.value) == f"{tmp_path / 'missing'}: no such folder; {tmp_path / 'other'}: no such folder"
    with pytest.raises(InputError, match="no runs were named"):
        read_runs([])
    assert len(read_runs([tmp_path / "missing", write_run(tmp_path / "a")])) == 2


def test_what_is_no_run_is_named_as_it_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "t" / "a")
    (tmp_path / "t" / "empty").mkdir()
    empty = Path("t/empty")
    assert [run.name for run in read_runs([empty, Path("t/a")])] == ["t/empty", "a"]
    with pytest.raises(InputError, match=r"^t/empty: not a run \(no config.toml in it\)$"):
        read_runs([empty])


def test_files_that_lie_among_runs_are_passed_over(tmp_path: Path) -> None:
    names = ("eval.json", "eval-confusion-trained-knn.PNG", "compare.html", "clips.csv", "notes.txt")
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "old.json").mkdir()
    run = write_run(tmp_path / "a")
    paths = [tmp_path / name for name in names]
    read = read_runs([*paths, tmp_path / "old.json", tmp_path / "gone.json", run])
    assert [(one.name, one.remarks) for one in read] == [
        (str(tmp_path / "notes.txt"), ("not a folder",)),
        (str(tmp_path / "old.json"), ("not a run (no config.toml in it)",)),
        (str(tmp_path / "gone.json"), ("no such folder",)),
        ("a", ()),
    ]
    with pytest.raises(InputError, match=r"eval.json: not a folder; .*clips.csv: not a folder$"):
        read_runs(paths[:4])


def test_a_log_of_odd_things_is_read(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    (folder / "log.jsonl").write_text('7\n{"loss": 1}\n{"step": 3, "loss": "high"}\n')
    run = read_run(folder, "a")
    assert (run.step, run.figures) == (3, ["loss"])
    assert math.isnan(run.last("loss"))
    assert replace(run, entries=()) == Run("a", CONFIG, 40, (), (), ("unfinished: step 3 of 40",))
