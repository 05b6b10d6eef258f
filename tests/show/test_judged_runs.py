"""Scores of runs: side by side where they are of the same videos and measured alike, else apart."""

import json
from pathlib import Path
from typing import Any

import pytest

from kinevec.cli import comparing
from kinevec.config import to_dict
from kinevec.evaluate.protocols import Settings
from kinevec.show.compare import Comparison, write_page
from kinevec.show.judged import read_judged
from kinevec.show.runs import read_runs
from show.test_read_runs import write_run


def evaluated(
    folder: Path, name: str, data: str, scores: dict[str, float], *, made: str = "2026-01-01", **settings: Any
) -> None:
    """An evaluation of four test videos that are named like the data."""
    content = {
        "judged": "trained",
        "scores": {"trained": scores, "untrained": {"R@1": 1.0}},
        "chance": {"R@1": 25.0},
        "data": {"folder": f"somewhere/{data}", "test": 4, "train": 9, "classes": 2},
        "protocol": {"settings": to_dict(Settings(**settings)), "train_videos": "x"},
        "provenance": {"made": made},
        "outcomes": {"videos": [f"{data}{i}" for i in range(4)], "labels": list("aabb")},
    }
    (folder / name).write_text(json.dumps(content))


def rows(folders: list[Path]) -> list[tuple[str, ...]]:
    comparison = Comparison.of(read_runs(folders))
    return [(r.section, r.name, *r.values) for r in comparison.rows() if r.section.startswith("score")]


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [write_run(tmp_path / name) for name in ("one", "two")]


def test_the_same_data_stand_in_one_row_and_others_apart(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = folders
    evaluated(one, "eval.json", "gym", {"R@1": 50.0, "knn top-1": 75.0})
    evaluated(two, "eval.json", "street", {"R@1": 60.0})
    evaluated(two, "eval-retrieval-gym.json", "gym", {"R@1": 70.0}, protocols=("retrieval",))
    gym, street = (
        f"score (%), {name}: 4 test videos, 9 train videos, 2 classes" for name in ("gym", "street")
    )
    assert rows(folders) == [
        (gym, "R@1 (chance 25.0)", "50.0", "70.0"),
        (gym, "knn top-1", "75.0", ""),
        (street, "R@1 (chance 25.0)", "", "60.0"),
    ]
    comparison = Comparison.of(read_runs(folders))
    assert len(comparison.notes) == 1
    assert "judged on 2 different sets of videos" in comparison.notes[0]
    write_page(tmp_path / "c.html", comparison)
    page = (tmp_path / "c.html").read_text()
    assert street in page
    assert "compare scores only within one part" in page
    comparing.compare(folders, tmp_path / "out")
    said = capsys.readouterr()
    assert street in said.out
    assert "R@1 (chance 25.0)" in said.out
    assert "judged on 2 different sets" in said.err


def test_other_settings_are_other_rows_where_they_matter(folders: list[Path]) -> None:
    one, two = folders
    evaluated(one, "eval.json", "gym", {"R@1": 50.0, "knn top-1": 75.0, "5-shot top-1": 30.0}, k=20)
    evaluated(two, "eval.json", "gym", {"R@1": 60.0, "knn top-1": 80.0, "5-shot top-1": 31.0}, k=3, draws=99)
    found = {row[1]: row[2:] for row in rows(folders)}
    assert found == {
        "R@1 (chance 25.0)": ("50.0", "60.0"),
        "knn top-1 (k 20)": ("75.0", ""),
        "knn top-1 (k 3)": ("", "80.0"),
        "5-shot top-1": ("30.0", "31.0"),
    }
    assert "measured in different ways" in Comparison.of(read_runs(folders)).notes[0]


def test_of_the_same_judged_twice_the_later_stands(folders: list[Path]) -> None:
    for name, made, score in (("eval.json", "2026-02", 20.0), ("eval-b.json", "2026-03", 30.0)):
        evaluated(folders[0], name, "gym", {"R@1": score}, made=made)
    assert [row[2:] for row in rows(folders)] == [("30.0", "")]


def test_other_labels_are_other_data(folders: list[Path]) -> None:
    for folder in folders:
        evaluated(folder, "eval.json", "gym", {"R@1": 5.0})
    content = json.loads((folders[1] / "eval.json").read_text())
    content["outcomes"]["labels"] = list("abab")
    (folders[1] / "eval.json").write_text(json.dumps(content))
    found = rows(folders)
    assert [row[2:] for row in found] == [("5.0", ""), ("", "5.0")]
    assert found[0][0] != found[1][0]  # alike in words, and told apart all the same


def test_the_encoder_that_was_asked_for_is_shown(folders: list[Path]) -> None:
    evaluated(folders[0], "eval.json", "gym", {"R@1": 5.0})
    content = json.loads((folders[0] / "eval.json").read_text())
    content["judged"] = "untrained"
    (folders[0] / "eval.json").write_text(json.dumps(content))
    (judged,), wrong = read_judged(folders[0])
    assert (judged.scores, wrong) == ({"R@1": 1.0}, [])
