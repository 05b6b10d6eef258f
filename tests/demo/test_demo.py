"""The demo: three methods on the same videos, judged, audited and shown side by side."""

import json
import math
import os
import shutil
import signal
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from kinevec import encoders, tasks
from kinevec.data import Collection, SynthConfig
from kinevec.data.records import Record
from kinevec.demo import job, report, sections
from kinevec.demo.sections import LOOKS
from kinevec.errors import InputError, Interrupted, OutputError
from kinevec.evaluate import classify
from kinevec.evaluate.audit.masks import EstimatedMasks, GeneratedMasks, Masks
from kinevec.evaluate.evaluation import Evaluation
from kinevec.evaluate.features import Features
from kinevec.evaluate.outcomes import Outcomes
from kinevec.evaluate.protocols import BASIC, Settings
from kinevec.models import build_encoder
from kinevec.tasks import synth
from kinevec.tasks.comparing import compare
from kinevec.train.checkpoint import save_encoder
from kinevec.train.trainer import Trainer


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


def test_each_run_has_the_evaluation_that_it_would_have_got_alone(
    made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = made
    monkeypatch.setattr(classify, "PENALTIES", (1e-3,))
    together = json.loads((folder / "out" / "eval.json").read_text())
    for name, preset in job.METHODS.items():
        run = folder / "out" / "runs" / preset
        alone = json.loads((run / "eval.json").read_text())
        assert alone["judged"] == "trained"
        assert alone["scores"] == {
            "trained": together["scores"][name],
            "untrained": together["scores"]["untrained"],
        }
        assert alone["outcomes"]["hits"]["trained"] == together["outcomes"]["hits"][name]
        assert (alone["run"]["folder"], alone["data"]) == (str(run), together["data"])
        assert list(alone["protocol"]["found"]) == ["trained", "untrained"]
        found = kinevec_eval(run, folder / "my videos")
        assert found["scores"] == alone["scores"]
        assert found["protocol"] == alone["protocol"]
        assert found["run"] == alone["run"]
    runs = [folder / "out" / "runs" / preset for preset in job.METHODS.values()]
    rows = [row for row in compare(runs).rows() if row.section.startswith("score")]
    assert any(row.name.startswith("R@1 ") and all(row.values) for row in rows)


def kinevec_eval(run: Path, data: Path) -> dict[str, Any]:
    settings = Settings(protocols=BASIC)
    with TemporaryDirectory() as aside:
        tasks.evaluate(run, data, out=Path(aside) / "x.json", settings=settings, cache=None)
        content: dict[str, Any] = json.loads((Path(aside) / "x.json").read_text())
    return content


def test_a_video_without_motion_does_not_cost_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def one_frame_first(loaded: object, path: Path) -> object:
        asked.append(path)
        if len(asked) == 1:
            raise InputError("fewer than 2 frames")
        return SimpleNamespace(
            seen={"x": SimpleNamespace(on_motion=-0.25), "y": SimpleNamespace(on_motion=math.nan)}
        )

    monkeypatch.setattr(sections, "look", one_frame_first)
    monkeypatch.setattr(sections, "activation_strip", lambda found, picture: picture.write_bytes(b"x"))
    records = tuple(Record(Path(f"{i}.mp4"), f"{i}.mp4", "abc"[i % 3], None, "test") for i in range(6))
    part = Features(np.zeros((6, 1, 2), np.float32), Collection(records, (None,) * 6, ()))  # type: ignore[arg-type]
    section = sections.activation(Evaluation({}, {}, {"x": part}, {}), {})
    assert section.content.count("<img") == LOOKS
    assert section.content.count("Activation follows speed: x −0.25, y –.") == LOOKS
    assert len(asked) == LOOKS + 1


def test_the_report_shows_them_side_by_side(made: tuple[Path, Path]) -> None:
    page = made[1].read_text("utf-8")
    parts = (
        "Scores",
        "How sure are the differences?",
        "Motion or background?",
        "Where each encoder looks",
        "Nearest neighbours",
        "Training",
    )
    places = [page.index(f">{part}</h2>") for part in parts]
    assert places == sorted(places)
    assert page.count("data:image/png;base64,") == LOOKS
    for name in ("MoCo", "MSCL", "FIMA", "untrained"):
        assert page.count(f"</i>{name}</th>") >= 3
    assert "whisker" in page


def weights(folder: Path) -> dict[str, dict[str, bytes]]:
    return {
        path.parent.name: {name: value.tobytes() for name, value in load_file(path).items()}
        for path in folder.glob("runs/*/encoder.safetensors")
    }


def test_a_demo_goes_on_with_the_runs_of_the_same_one(
    made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the second method and begun again it comes to the same weights, and what lies in a run's folder stays."""
    source, out = made[0] / "my videos", tmp_path / "out"
    real = job._train

    def stopped(name: str, *given: object, resume: bool) -> None:
        if name == "MSCL" and not resume:
            os.kill(os.getpid(), signal.SIGINT)
        real(name, *given, resume=resume)  # type: ignore[arg-type]

    monkeypatch.setattr(job, "AUDIT_CLIPS", 1)
    monkeypatch.setattr(classify, "PENALTIES", (1e-3,))
    with monkeypatch.context() as patch:
        patch.setattr(job, "_train", stopped)
        with pytest.raises(
            Interrupted, match=f"interrupted: videos and runs are kept in {out}, and the same demo goes"
        ):
            job.demo(out, videos=source, steps=1)
    assert list(weights(out)) == ["moco"]
    (out / "runs" / "moco" / "notes.txt").write_text("mine")
    (out / "runs" / "my best run").mkdir()
    page, _ = job.demo(out, videos=source, steps=1)
    assert weights(out) == weights(made[0] / "out")
    assert (out / "runs" / "moco" / "notes.txt").read_text() == "mine"
    assert (out / "runs" / "my best run").is_dir()
    assert ", with runs that were begun before" in page.read_text("utf-8")
    assert ", with runs that were begun before" not in made[1].read_text("utf-8")


def test_a_demo_stopped_in_the_middle_of_a_run_comes_to_the_same(
    made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after a step, and then before the first checkpoint of the next method."""
    source, outs = made[0] / "my videos", [tmp_path / "whole", tmp_path / "stopped"]
    step, steps = Trainer.train_step, []

    def stopping(trainer: Trainer, batch: Any) -> Any:
        steps.append(trainer.folder.name)
        if steps == ["moco"]:
            os.kill(os.getpid(), signal.SIGINT)  # asks for an end after this step
        if steps[-1] == "mscl":
            raise KeyboardInterrupt
        return step(trainer, batch)

    monkeypatch.setattr(job, "demo_report", lambda *given, **more: given)
    monkeypatch.setattr(job, "write_report", lambda *given: None)
    monkeypatch.setattr(job, "audit", lambda *given, **more: SimpleNamespace(write=lambda path: None))
    monkeypatch.setattr(classify, "PENALTIES", (1e-3,))
    job.demo(outs[0], videos=source, steps=2)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", stopping)
        with pytest.raises(
            Interrupted, match=r"stopped at step 1 of 2; everything is saved in .*moco, and resuming"
        ):
            job.demo(outs[1], videos=source, steps=2)
        with pytest.raises(Interrupted, match="the same demo goes on with them"):
            job.demo(outs[1], videos=source, steps=2)
    assert (outs[1] / "runs" / "mscl" / "config.toml").exists()
    assert not (outs[1] / "runs" / "mscl" / "checkpoint.pt").exists()
    job.demo(outs[1], videos=source, steps=2)
    assert weights(outs[0]) == weights(outs[1])
    with monkeypatch.context() as patch:
        patch.setattr(job, "_train", lambda *given, **more: pytest.fail("a finished run was trained"))
        job.demo(outs[1], videos=source, steps=2)
    (outs[1] / "runs" / "moco" / "encoder.safetensors").unlink()  # killed between two files
    mscl = outs[1] / "runs" / "mscl"
    save_encoder(mscl, build_encoder("tiny"), encoders.load(mscl).config, step=1)
    job.demo(outs[1], videos=source, steps=2)
    assert weights(outs[0]) == weights(outs[1])


def test_procedural_videos_have_exact_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Masks] = []

    def noted(*given: object, masks: Masks, **more: object) -> None:
        asked.append(masks)
        raise InputError("enough")

    monkeypatch.setattr(job, "audit", noted)
    monkeypatch.setattr(job, "METHODS", {"MoCo": "moco"})
    monkeypatch.setattr(classify, "PENALTIES", (1e-3,))
    synth(tmp_path / "made", SynthConfig(videos_per_class=4, frames=33, size=48))
    shutil.copytree(tmp_path / "made" / "videos", tmp_path / "own")
    for source in ("made", "own"):
        with pytest.raises(InputError, match="enough"):
            job.demo(tmp_path / f"out {source}", videos=tmp_path / source, steps=1)
    assert [type(masks) for masks in asked] == [GeneratedMasks, EstimatedMasks]


def outcomes(hits: str, labels: str = "aab") -> Outcomes:
    top1 = np.array([float(hit) for hit in hits])
    return Outcomes(
        tuple(f"v{i}" for i in range(3)), tuple(labels), {"linear top-1": top1, "linear top-5": np.ones(3)}
    )


def test_a_mean_over_classes_that_is_that_over_videos_is_not_shown_twice() -> None:
    def told(*found: Outcomes) -> list[str]:
        scores = {f"e{i}": one.scores for i, one in enumerate(found)}
        return report._telling(Evaluation(scores, dict.fromkeys(scores["e0"], 50.0), {}, {}))

    assert told(outcomes("111"), outcomes("000")) == ["linear top-1", "linear top-5"]
    assert told(outcomes("111"), outcomes("100")) == ["linear top-1", "linear top-5", "linear per class"]
    assert told(outcomes("100"), outcomes("111")) == ["linear top-1", "linear top-5", "linear per class"]


def test_the_report_says_what_each_run_is_made_of_and_what_is_doubtful(made: tuple[Path, Path]) -> None:
    page = made[1].read_text("utf-8")
    for preset in job.METHODS.values():
        assert f"preset {preset} with method.queue: " in page
        assert f"runs/{preset}/config.toml beside this page" in page
    assert "Mind: " not in page
    for words in ("The audit takes 1 clips of a video", "What its score rests on cannot be said"):
        assert words in page


def test_test_videos_that_were_trained_on_are_minded() -> None:
    plain = report._about({"test": 9}, 5, 30, procedural=False)
    assert not any("Mind" in sentence for sentence in plain)
    copied = report._about({"test": 9, "test_copies_of_training": 2}, 5, 30, procedural=False)
    assert "Mind: 2 of 9 test videos are copies of videos that were trained on." in copied
    made = report._about({"test": 9}, 5, 30, procedural=True)
    assert made[:-1] == plain
    assert "only the motion of the object tells the class" in made[-1]


def test_the_runs_of_another_demo_are_refused_and_stay(made: tuple[Path, Path]) -> None:
    folder, out = made[0], made[0] / "out"
    before = weights(out)
    advice = r"wants a folder of its own: --out, or make demo OUT=…$"
    said = "runs/moco cannot be gone on with: "
    with pytest.raises(OutputError, match=rf"{said}.*train\.epochs.*{advice}"):
        job.demo(out, videos=folder / "my videos", steps=2)
    other = folder / "other"
    shutil.copytree(folder / "my videos", other, dirs_exist_ok=True)
    with (other / "labels.csv").open("a") as listed:
        name = next(other.rglob("*.mp4"))
        shutil.copy(name, other / "more.mp4")
        listed.write("more.mp4,pulse,train\n")
    with pytest.raises(OutputError, match=rf"{said}.*was made on 30 videos, now there are 31.*{advice}"):
        job.demo(out, videos=other, steps=1)
    assert weights(out) == before


def test_the_queue_stays_below_the_number_of_videos() -> None:
    config = job.configuration.load("moco")
    few = job._fitted(config, 40, 10)
    assert (few.method.queue, few.train.epochs) == (20, 10)
    many = job._fitted(config, 320, 200)
    assert (many.method.queue, many.train.epochs) == (config.method.queue, 20)
