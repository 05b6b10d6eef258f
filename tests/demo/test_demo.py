"""The demo: three methods on the same videos, judged, audited and shown side by side."""

import json
from pathlib import Path

import numpy as np
import pytest

from kinevec.data import Collection, SynthConfig
from kinevec.data.records import Record
from kinevec.demo import job, report
from kinevec.demo.report import LOOKS
from kinevec.errors import InputError, OutputError
from kinevec.evaluate import classify
from kinevec.evaluate.evaluation import Evaluation
from kinevec.evaluate.features import Features
from kinevec.tasks import synth


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of a demo over a few procedural videos, and its report."""
    folder = tmp_path_factory.mktemp("demo")
    synth(folder / "my videos", SynthConfig(videos_per_class=4, frames=33, size=48))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "AUDIT_CLIPS", 1)
        patch.setattr(classify, "PENALTIES", (1e-3,))  # the audit fits some forty probes
        page, _ = job.demo(folder / "out", videos=folder / "my videos", steps=1)
    return folder, page


def test_all_methods_are_trained_alike_and_judged_in_one_pass(made: tuple[Path, Path]) -> None:
    folder, _ = made
    facts = [
        json.loads((folder / "out" / "runs" / preset / "run.json").read_text())
        for preset in ("moco", "mscl", "fima")
    ]
    assert {(found["videos"], found["seed"], found["steps"]) for found in facts} == {(30, 0, 1)}
    found = json.loads((folder / "out" / "eval.json").read_text())
    assert list(found["scores"]) == ["MoCo", "MSCL", "FIMA", "untrained"]
    card = json.loads((folder / "out" / "audit.json").read_text())
    assert list(card["figures"]) == ["MoCo", "MSCL", "FIMA", "untrained"]
    assert not list((folder / "out" / "runs").glob("*/*.raw"))


def test_a_video_without_motion_does_not_cost_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def one_frame_first(loaded: object, path: Path) -> object:
        asked.append(path)
        if len(asked) == 1:
            raise InputError("fewer than 2 frames")
        return path

    monkeypatch.setattr(report, "look", one_frame_first)
    monkeypatch.setattr(report, "activation_strip", lambda found, picture: picture.write_bytes(b"x"))
    records = tuple(Record(Path(f"{i}.mp4"), f"{i}.mp4", "abc"[i % 3], None, "test") for i in range(6))
    part = Features(np.zeros((6, 1, 2), np.float32), Collection(records, (None,) * 6, ()))  # type: ignore[arg-type]
    section = report._activation(Evaluation({}, {}, {"x": part}, {}), {})
    assert section.content.count("<img") == LOOKS
    assert len(asked) == LOOKS + 1


def test_the_report_shows_them_side_by_side(made: tuple[Path, Path]) -> None:
    page = made[1].read_text("utf-8")
    parts = ("Scores", "Motion or background?", "Where each encoder looks", "Nearest neighbours", "Training")
    places = [page.index(f">{part}</h2>") for part in parts]
    assert places == sorted(places)
    assert page.count("data:image/png;base64,") == LOOKS
    for name in ("MoCo", "MSCL", "FIMA", "untrained"):
        assert page.count(f"</i>{name}</th>") >= 3
    assert "whisker" in page


def test_an_older_demo_is_replaced_and_nothing_else_is_removed(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    job._clear(runs)
    for name in ("moco", "fima"):
        (runs / name).mkdir(parents=True)
        (runs / name / "run.json").write_text("{}")
    job._clear(runs)
    assert not runs.exists()
    (runs / "my best run").mkdir(parents=True)
    (runs / "moco").mkdir()
    with pytest.raises(OutputError, match=r"holds more than the runs of a demo \(my best run\)"):
        job._clear(runs)
    assert (runs / "moco").is_dir()


def test_the_queue_stays_below_the_number_of_videos() -> None:
    config = job.configuration.load("moco")
    few = job._fitted(config, 40, 10)
    assert (few.method.queue, few.train.epochs) == (20, 10)
    many = job._fitted(config, 320, 200)
    assert (many.method.queue, many.train.epochs) == (config.method.queue, 20)
