"""The folder of an exported model is whole or absent, tells nothing private, and replaces only its like."""

import json
import os
import re
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from huggingface_hub import ModelCard

import kinevec
from faults import numbered_video
from kinevec import encoders, tasks
from kinevec.config import Clip, Config, Flow, Model, Terms, Train
from kinevec.encoders import Loaded
from kinevec.errors import InputError, OutputError
from kinevec.exchange import export as module
from kinevec.exchange.export import export, publishable
from kinevec.exchange.target import check_target
from kinevec.models import build_encoder
from kinevec.runtime import seeded
from kinevec.train.checkpoint import save_encoder
from reference import released

CONFIG = Config(
    clip=Clip(frames=4, stride=2, size=32),
    model=Model("tiny"),
    flow=Flow(method="raft", weights="/home/me/secret/raft.pth"),
    terms=Terms(instance=1.0, flow=0.5),
    train=Train(seed=4, epochs=9, warmup_epochs=1, batch=32),
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    with seeded(5):
        save_encoder(folder, build_encoder("tiny"), CONFIG, step=1234)
    facts = {"videos": 5678, "looped": 0, "rejected": 1, "command": ["kinevec", "/home/me/secret"]}
    (folder / "run.json").write_text(json.dumps(facts))
    return folder


def evaluation(run: Path) -> dict[str, Any]:
    return {
        "scores": {"trained": {"R@1": 61.04, "R@50": 100.0}, "untrained": {"R@1": 20.0, "R@50": 100.0}},
        "chance": {"R@1": 3.7, "R@50": 100.0},
        "intervals": {"level": 0.95, "trained": {"R@1": [55.0, 66.66], "R@50": [100.0, 100.0]}},
        "data": {"train": 1431, "test": 430, "classes": 27, "rejected": {"secret/a.mp4": "empty"}},
        "protocol": {"clips": 10, "list": ["/home/me/secret/list.csv", 3]},
        "run": {"folder": str(run), "identity": encoders.load(run).identity, "step": 1234},
        "provenance": {"command": ["kinevec", "eval", "secret"], "torch": "2"},
        "outcomes": {"videos": ["secret/b.mp4"]},
    }


def test_the_folder_has_weights_configuration_card_and_evaluation(run: Path, tmp_path: Path) -> None:
    (run / "eval.json").write_text(json.dumps(evaluation(run)))
    out = tasks.export(run, tmp_path / "deep" / "model")
    assert sorted(os.listdir(out)) == ["README.md", "config.json", "eval.json", "model.safetensors"]
    assert sorted(os.listdir(out.parent)) == ["model"]
    weights = safetensors.torch.load_file(out / "model.safetensors")
    state = encoders.load(run).encoder.state_dict()
    assert set(weights) == set(state)
    assert all(torch.equal(value, state[name]) for name, value in weights.items())
    content = json.loads((out / "config.json").read_text())
    assert (content["format"], content["version"], content["encoder"], content["channels"]) == (
        "kinevec-encoder",
        1,
        "tiny",
        128,
    )
    assert content["clip"] == {"frames": 4, "stride": 2, "size": 32}
    assert content["normalisation"] == {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert (content["step"], content["facts"]["videos"]) == (1234, 5678)
    assert content["training"]["terms"]["flow"] == 0.5
    modes = {stat.S_IMODE((out / name).stat().st_mode) for name in os.listdir(out)}
    assert len(modes) == 1  # all may be read by the same people


def test_nothing_private_leaves(run: Path, tmp_path: Path) -> None:
    compared = {"against": {"first": "runs/secret/a", "second": "../secret/b"}}
    (run / "eval.json").write_text(json.dumps(evaluation(run) | compared))
    out = tasks.export(run, tmp_path / "model")
    text = "".join((out / name).read_text() for name in ("README.md", "config.json", "eval.json"))
    assert "secret" not in text
    assert str(tmp_path) not in text
    assert encoders.load(out).config.flow.weights == "raft.pth"
    told = json.loads((out / "eval.json").read_text())
    assert told["scores"] == evaluation(run)["scores"]
    assert told["data"] == {"train": 1431, "test": 430, "classes": 27, "rejected": 1}
    assert told["protocol"] == {"clips": 10, "list": ["list.csv", 3]}
    assert told["run"] == {"identity": evaluation(run)["run"]["identity"], "step": 1234}
    assert publishable({"rejected": 3, "a": [{"folder": "x"}], "n": None}) == {
        "rejected": 3,
        "a": [{}],
        "n": None,
    }


def test_the_card_says_what_it_is_and_how_it_was_made(run: Path, tmp_path: Path) -> None:
    (run / "eval.json").write_text(json.dumps(evaluation(run)))
    out = tasks.export(run, tmp_path / "model")
    text = (out / "README.md").read_text("utf-8")
    for part in (
        "# model\n",
        "`tiny` (0.9 M parameters)",
        encoders.load(run).identity,
        "4 frames, every 2nd of the video",
        "32 × 32 pixels",
        "0.485, 0.456, 0.406",
        "On 5,678 videos, without labels: 1,234 steps of a schedule of 9 epochs, batches of 32, seed 4.",
        "`instance` 1, `flow` 0.5",
        "| | trained | untrained | chance |\n|---|---:|---:|---:|\n| R@1 | 61.0 (55.0–66.7) | 20.0 | 3.7 |\n\n",
        "On 430 test videos, 1,431 train videos, 27 classes; in brackets 95 % intervals",
        "To be chosen by whoever publishes this model",
    ):
        assert part in text, part
    assert "R@50" not in text  # guessing reaches it too
    assert "too high" not in text
    leaky = evaluation(run)
    leaky["data"] |= {"test_seen_in_training": 7, "test_copies_of_training": 2}
    (run / "eval.json").write_text(json.dumps(leaky))
    text = (tasks.export(run, tmp_path / "leaky") / "README.md").read_text("utf-8")
    assert (
        "**7 of 430 test videos were trained on (without labels), 2 are copies of videos that were trained on: these "
        "scores are too high.**" in text
    )
    front = ModelCard.load(out / "README.md").data
    assert (front.library_name, front.pipeline_tag, front.license) == ("kinevec", "feature-extraction", None)
    assert "video" in front.tags


def test_the_three_lines_of_the_card_run(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tasks.export(run, tmp_path / "model")
    lines = re.findall(r"```python\n(.*?)```", (out / "README.md").read_text("utf-8"), re.S)
    assert len(lines) == 1
    assert len(lines[0].splitlines()) == 3
    for name in "ab":
        numbered_video(tmp_path / f"{name}.mp4", 9, (40, 40))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(lines[0], names)  # the text is ours
    assert names["vectors"].shape == (2, 128)


@pytest.mark.parametrize(
    ("loaded", "words"),
    [
        (("untrained:tiny", 0, {}), "None: this encoder is as it was initialised (seed 4)"),
        (
            ("x", None, {"origin": "elsewhere", "left_random": 0}),
            "Converted by kinevec from elsewhere; see there",
        ),
        (("x", None, {"origin": "elsewhere", "left_random": 2}), "**2 of its entries were missing there"),
        (("x", None, {}), "On videos, without labels: a schedule of 9 epochs, batches"),
    ],
)
def test_the_card_of_encoders_that_were_not_trained_here(
    loaded: tuple[str, int | None, dict[str, Any]], words: str, tmp_path: Path
) -> None:
    config = replace(CONFIG, clip=Clip(stride=1))
    text = (export(Loaded(build_encoder("tiny"), config, *loaded), tmp_path / "m") / "README.md").read_text(
        "utf-8"
    )
    assert words in text
    assert "every one of the video" in text
    assert "Evaluation" not in text


def test_evaluations_of_something_else_stay_behind(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = evaluation(run)
    for run_facts, kept in (
        ({"identity": found["run"]["identity"], "step": 7}, True),
        ({"step": 1234}, True),
        ({"identity": "other", "step": 1234}, False),
        ({"step": 7}, False),
    ):
        (run / "eval.json").write_text(json.dumps({**found, "run": run_facts}))
        out = tasks.export(run, tmp_path / "model")
        assert (out / "eval.json").exists() == kept
    assert caplog.text.count("left out: it is of another encoder") == 2
    (run / "eval.json").write_text("{")
    assert not (tasks.export(run, tmp_path / "model") / "eval.json").exists()
    assert "not JSON" in caplog.text


def test_only_an_exported_model_is_replaced(run: Path, tmp_path: Path) -> None:
    out = tasks.export(run, tmp_path / "model")
    tasks.export("untrained:tiny", out)
    assert encoders.load(out).step == 0
    tasks.export(out, out)
    assert encoders.load(out).step == 0
    (tmp_path / "link").symlink_to(out)
    tasks.export(run, tmp_path / "link")
    assert encoders.load(out).step == 1234
    (tmp_path / "empty").mkdir()
    assert encoders.load(tasks.export(run, tmp_path / "empty")).step == 1234
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"files were added \(notes.txt\)"):
        tasks.export(run, out)
    assert (out / "notes.txt").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="is a file"):
        tasks.export(run, tmp_path / "file")
    before = sorted(os.listdir(run))
    with pytest.raises(OutputError, match="exists and is not an exported model"):
        tasks.export(run, run)
    assert sorted(os.listdir(run)) == before
    with pytest.raises(OutputError, match="cannot be written"):
        tasks.export(run, tmp_path / "file" / "model")


def test_what_fails_on_the_way_leaves_the_old_model(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> str:
        raise OSError(28, "No space left on device")

    out = tasks.export(run, tmp_path / "model")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setattr(module, "card", fail)
    for target in (out, tmp_path / "new"):
        with pytest.raises(OutputError, match="cannot be written: No space left on device"):
            export(encoders.load("untrained:tiny"), target)
    monkeypatch.undo()
    rename = Path.rename

    def stuck(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stuck)
    with pytest.raises(OutputError, match="Input/output error"):
        export(encoders.load("untrained:tiny"), out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert sorted(os.listdir(tmp_path)) == ["model", "run"]


def test_a_refusal_comes_before_the_work(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "load", lambda place: pytest.fail("loaded"))
    with pytest.raises(OutputError):
        tasks.export(run, run)
    with pytest.raises(OutputError):
        tasks.convert(run / "encoder.safetensors", run)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r"ONNX needs onnx, onnxscript, onnxruntime: pip install 'kinevec\[onnx\]'"
    ):
        tasks.export(run, tmp_path / "m", onnx=True)
    assert not (tmp_path / "m").exists()


def test_a_model_folder_can_be_moved_and_is_complete_by_itself(run: Path, tmp_path: Path) -> None:
    out = tasks.export(run, tmp_path / "model")
    video = numbered_video(tmp_path / "a.mp4", 9, (40, 40))
    expected = kinevec.load(run, precision="fp32").embed([video]).vectors
    shutil.rmtree(run)
    moved = out.rename(tmp_path / "läuft überall")
    np.testing.assert_array_equal(kinevec.load(moved, precision="fp32").embed([video]).vectors, expected)


def test_conversions_are_written_as_models(tmp_path: Path) -> None:
    state = {f"encoder_q.{k}": torch.zeros(()).expand(v) for k, v in released.state_shapes().items()}
    torch.save({"state_dict": state}, tmp_path / "checkpoint_0199.pth.tar")
    found = tasks.convert(tmp_path / "checkpoint_0199.pth.tar", tmp_path / "model", size=112)
    loaded = encoders.load(tmp_path / "model")
    assert loaded.identity == found.loaded.identity
    assert (loaded.step, loaded.config.clip) == (None, Clip(16, 2, 112))
    assert "Converted by kinevec from FIMA's released code" in (tmp_path / "model" / "README.md").read_text(
        "utf-8"
    )


def test_links_are_resolved_and_new_places_are_free(tmp_path: Path) -> None:
    assert check_target(tmp_path / "new") == tmp_path.resolve() / "new"
