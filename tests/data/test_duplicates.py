"""Files with the same content are found, and named where they stand on both sides of a split."""

import csv
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from faults import numbered_video
from kinevec.data.duplicates import find_copies
from kinevec.data.files import find_records
from kinevec.data.manifest import read_manifest
from kinevec.data.prepare import PrepareConfig, Summary, prepare


def videos(tmp_path: Path) -> Path:
    """Four different videos, of which one is twice in train, and one in train and test, under two labels."""
    root = tmp_path / "videos"
    for frames, place in enumerate(("train/jump", "train/run", "test/jump", "test/run"), start=5):
        (root / place).mkdir(parents=True)
        numbered_video(root / place / "own.mp4", frames, (48, 40))
    shutil.copy(root / "train/jump/own.mp4", root / "train/jump/again.mp4")
    shutil.copy(root / "train/run/own.mp4", root / "test/jump/leaked.mp4")
    return root


def run(tmp_path: Path, root: Path) -> Summary:
    config = PrepareConfig(short_side=32, motion="none")
    return prepare(find_records(root), tmp_path / "out", config, workers=0)


def test_copies_are_reported_and_leaks_are_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = videos(tmp_path)
    summary = run(tmp_path, root)
    within, across = sorted(summary.copies, key=lambda copies: copies.leak)
    assert [record.name for record in within.records] == ["train/jump/again.mp4", "train/jump/own.mp4"]
    assert (within.leak, within.contradict) == (False, False)
    assert [record.name for record in across.records] == ["test/jump/leaked.mp4", "train/run/own.mp4"]
    assert (across.leak, across.contradict) == (True, True)
    assert across.sources == (root / "test/jump/leaked.mp4", root / "train/run/own.mp4")
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "1 videos stand in more than one split" in warnings[0]
    assert "test/jump/leaked.mp4 (test) = train/run/own.mp4 (train)" in warnings[0]
    assert "2 files are copies of others" in "\n".join(summary.lines())
    with (tmp_path / "out" / "duplicates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted((row["name"], row["split"], row["label"]) for row in rows) == [
        ("test/jump/leaked.mp4", "test", "jump"),
        ("train/jump/again.mp4", "train", "jump"),
        ("train/jump/own.mp4", "train", "jump"),
        ("train/run/own.mp4", "train", "run"),
    ]
    assert len({row["hash"] for row in rows}) == 2


def test_copies_of_a_part(tmp_path: Path) -> None:
    run(tmp_path, videos(tmp_path))
    manifest = read_manifest(tmp_path / "out")
    assert len(find_copies(manifest)) == 2
    assert [len(copies.records) for copies in find_copies(manifest.select("train"))] == [2]
    assert find_copies(manifest.select("test")) == ()


def test_without_splits_nothing_leaks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    numbered_video(tmp_path / "videos.mp4", 5, (48, 40))
    (tmp_path / "videos").mkdir()
    for name in "abc":
        shutil.copy(tmp_path / "videos.mp4", tmp_path / "videos" / f"{name}.mp4")
    summary = run(tmp_path, tmp_path / "videos")
    (copies,) = summary.copies
    assert str(copies) == "a.mp4 = b.mp4 = c.mp4"
    assert not copies.leak
    half = replace(copies, records=(replace(copies.records[0], split="train"), *copies.records[1:]))
    assert not half.leak  # a file without a split is in no other one
    assert not caplog.records
