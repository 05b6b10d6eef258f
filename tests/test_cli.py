"""The commands as a person types them: what they print, what they leave behind, how they fail."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import faults
from faults import numbered_video
from kinevec import config

SMALL = [
    "clip.frames=4",
    "clip.size=16",
    "train.epochs=2",
    "train.warmup_epochs=1",
    "train.batch=4",
    "method.queue=8",
]
CHANGES = [part for change in [*SMALL, "data.workers=0"] for part in ("--set", change)]


def kinevec(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kinevec", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
    )


def refused(result: subprocess.CompletedProcess[str], code: int, words: str) -> None:
    """One line that names the matter, no traceback, nothing on standard output, the right exit code."""
    assert result.returncode == code, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert words in lines[0]
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("my videos")
    for label in ("läuft", "jumps up"):
        (folder / label).mkdir()
        for i in range(5):
            numbered_video(folder / label / f"{i}.mp4", 12 + i, size=(40, 40))
    faults.zero_byte(folder / "läuft" / "empty.mp4")
    return folder


def test_pretrain_then_eval(videos: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "a"
    trained = kinevec("pretrain", "moco", "--data", videos, "-o", run, *CHANGES)
    assert trained.returncode == 0, trained.stderr
    assert "left out läuft/empty.mp4: empty file (0 bytes)" in trained.stderr
    assert (
        f"Judge it: kinevec eval {run} --data '{videos}'" in trained.stdout
    )  # the folder's name has a space
    assert "empty.mp4,empty file" in (run / "rejected.csv").read_text()
    judged = kinevec("eval", run, "--data", videos, "--clips", "2")
    assert judged.returncode == 0, judged.stderr
    for word in ("R@1", "linear top-1", "trained", "untrained", "chance"):
        assert word in judged.stdout
    found = json.loads((run / "eval.json").read_text())
    assert set(found["scores"]) == {"trained", "untrained"}
    assert len(found["data"].pop("files")) == 32
    assert found["data"] == {
        "train": 7,
        "test": 3,
        "classes": 2,
        "unlabelled": 0,
        "rejected": {"läuft/empty.mp4": "empty file (0 bytes)"},
        "test_seen_in_training": 0,
        "test_copies_of_training": 3,  # the classes have the same videos
        "looped": 2,
        "folder": str(videos),
    }
    again = kinevec("pretrain", "moco", "--data", videos, "-o", run, *CHANGES)
    refused(again, 2, "holds a run; pass --resume")


def test_prepared_videos_train_like_others(videos: Path, tmp_path: Path) -> None:
    prepared = tmp_path / "prepared"
    options = ["--short-side", "32", "--motion", "none", "--workers", "1"]
    result = kinevec("prepare", videos, "-o", prepared, *options)
    assert result.returncode == 0, result.stderr
    assert "10 videos" in result.stdout
    assert "läuft/empty.mp4" in (prepared / "rejected.csv").read_text()
    run = tmp_path / "run"
    trained = kinevec("pretrain", "moco", "--data", prepared, "-o", run, *CHANGES)
    assert trained.returncode == 0, trained.stderr
    judged = kinevec("eval", run, "--data", prepared, "--clips", "2")
    assert judged.returncode == 0, judged.stderr
    data = json.loads((run / "eval.json").read_text())["data"]
    assert (data["classes"], data["test_seen_in_training"]) == (2, 0)
    refused(kinevec("prepare", videos, "-o", prepared, "--short-side", "64"), 2, "short_side")


def test_synth_makes_videos(tmp_path: Path) -> None:
    options = ["--videos-per-class", "2", "--test-share", "0.5", "--size", "32", "--frames", "8"]
    result = kinevec("synth", "-o", tmp_path / "v", *options, "--seed", "4")
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "v").rglob("*.mp4"))) == 20
    refused(kinevec("synth", "-o", tmp_path / "w", "--size", "33"), 2, "size is 33")
    assert not (tmp_path / "w").exists()


def test_demo_on_a_folder_without_labels(tmp_path: Path) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    for i in range(6):
        numbered_video(folder / f"{i}.mp4", 30, size=(64, 64))
    result = kinevec("demo", "--videos", folder, "-o", tmp_path / "demo", "--steps", "2")
    assert result.returncode == 0, result.stderr
    assert "no labels" in result.stdout
    page = (tmp_path / "demo" / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert "report.html" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["pretrain", "moco", "--data", "missing"], 2, "missing: no such folder"),
        (["pretrain", "moco", "--data", "empty"], 2, "no video files found"),
        (["pretrain", "moco", "--data", "broken"], 1, "none of 1 videos can be read"),
        (["pretrain", "mocco", "--data", "broken"], 2, "did you mean 'moco'?"),
        (["pretrain", "moco", "--data", "broken", "--set", "train.epoch=3"], 2, "did you mean 'epochs'?"),
        (
            ["pretrain", "moco", "--data", "still", "--set", "train.device=nonsense"],
            2,
            "train.device is 'nonsense'",
        ),
        (["pretrain", "moco", "--data", "still", "--set", "model.name=tinny"], 2, "did you mean 'tiny'?"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: list[str], code: int, words: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    faults.text_as_mp4(tmp_path / "broken" / "a.mp4")
    (tmp_path / "still").mkdir()
    for i in range(3):
        faults.one_frame(tmp_path / "still" / f"{i}.mp4")
    refused(kinevec(*arguments, "-o", "run", cwd=tmp_path), code, words)
    assert not (tmp_path / "run").exists()


def test_one_frame_videos_are_looped(tmp_path: Path) -> None:
    for i in range(4):
        faults.one_frame(tmp_path / f"{i}.mp4")
    result = kinevec("pretrain", "moco", "--data", tmp_path, "-o", tmp_path / "run", *CHANGES)
    assert result.returncode == 0, result.stderr
    assert "3 of 3 videos are shorter than a clip" in result.stderr.replace("\n", " ")


def test_unwritable_output(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = kinevec("pretrain", "moco", "--data", videos, "-o", tmp_path / "file" / "run", *CHANGES)
    refused(result, 2, "cannot be written")
    assert (tmp_path / "file").read_text() == "mine"


def test_eval_of_what_is_no_run(videos: Path, tmp_path: Path) -> None:
    refused(kinevec("eval", tmp_path, "--data", videos), 2, "is it the folder of a run?")


def test_presets_are_listed_and_said_what_they_are() -> None:
    result = kinevec("presets")
    for name, meaning in config.presets().items():
        assert name in result.stdout
        assert meaning.split(",")[0] in result.stdout


def test_help_says_what_a_command_reads_writes_and_costs() -> None:
    for command in ("pretrain", "eval", "synth", "demo"):
        text = kinevec(command, "--help").stdout
        assert "Cost" in text
        assert "write" in text.lower()


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = kinevec("--debug", "pretrain", "moco", "--data", tmp_path / "missing", "-o", tmp_path / "run")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
