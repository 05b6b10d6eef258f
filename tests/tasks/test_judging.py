"""Judging as a task: what is written where, several runs, comparisons, and what is refused before any work."""

import fcntl
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from kinevec import encoders, tasks
from kinevec.config import Clip, Config, Model, Train
from kinevec.errors import CheckpointError, DataError, InputError, Interrupted, LateError, OutputError
from kinevec.evaluate import evaluation
from kinevec.evaluate.classifier import load_classifier
from kinevec.evaluate.evaluation import Evaluation
from kinevec.evaluate.filed import Filed, place_for
from kinevec.evaluate.finetune import FinetuneConfig
from kinevec.evaluate.protocols import Settings
from kinevec.models import build_encoder
from kinevec.tasks import judging
from kinevec.train.checkpoint import save_encoder
from kinevec.train.loop import FACTS
from painted import coloured_set

RETRIEVAL = Settings(protocols=("retrieval",), clips=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    collection = coloured_set(folder, "abab", ["train", "train", "test", "test"])
    lines = [f"{r.path.name},{r.label},{r.split}" for r in collection.records]
    (folder / "labels.csv").write_text("\n".join(["path,label,split", *lines]))
    return folder


def make_run(folder: Path, seed: int) -> Path:
    folder.mkdir(parents=True)
    config = Config(
        clip=Clip(frames=4, stride=1, size=16), model=Model("tiny"), train=Train(precision="fp32", seed=seed)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(100 + seed)
        save_encoder(folder, build_encoder("tiny"), config, step=3)
    (folder / FACTS).write_text("{}")
    return folder


def test_a_run_is_judged_into_its_folder(data: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", 0)
    result = tasks.evaluate(run, data, clips=2, device="cpu")
    content = json.loads((run / "eval.json").read_text())
    assert content["scores"] == result.scores
    assert {"R@1", "linear top-1", "knn top-1"} <= set(result.scores["trained"])
    assert content["protocol"]["clips"] == 2
    assert len(list((run / "features").iterdir())) == 2
    assert content["data"]["folder"] == str(data)
    other = tasks.evaluate(run, data, settings=RETRIEVAL, untrained=False, cache=None, device="cpu")
    assert len(list((run / "features").iterdir())) == 2
    beside = run / f"eval-retrieval-{data.name}.json"
    assert other.filed == Filed(beside, None, run / "eval.json")
    assert json.loads((run / "eval.json").read_text()) == content
    assert list(json.loads(beside.read_text())["scores"]) == ["trained"]
    again = tasks.evaluate(run, data, clips=2, device="cpu").filed
    assert again == Filed(run / "eval.json", content["provenance"]["made"])
    tasks.evaluate(
        run, data, settings=RETRIEVAL, cache=tmp_path / "kept", out=tmp_path / "x.json", device="cpu"
    )
    assert len(list((tmp_path / "kept").iterdir())) == 2
    assert (tmp_path / "x.json").is_file()


def test_several_runs_are_judged_as_their_mean_and_compared(data: Path, tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "runs" / name, seed) for seed, name in enumerate("ab")]
    single = [tasks.evaluate(run, data, settings=RETRIEVAL, device="cpu") for run in runs]
    result = tasks.evaluate(runs, data, settings=RETRIEVAL, device="cpu", against=runs[0])
    content = json.loads((tmp_path / "runs" / "eval.json").read_text())
    for encoder in ("trained", "untrained"):
        for name, value in result.scores[encoder].items():
            assert value == pytest.approx(sum(found.scores[encoder][name] for found in single) / 2)
    assert content["spread"]["trained"].keys() == result.scores["trained"].keys()
    against = content["against"]
    assert against["file"] == str(runs[0] / "eval.json")
    row = against["differences"]["R@1"]
    assert row["points"] == pytest.approx(
        result.scores["trained"]["R@1"] - single[0].scores["trained"]["R@1"]
    )
    assert judging.compare(tmp_path / "runs", runs[0] / "eval.json").content["differences"] == {
        name: pytest.approx(value) for name, value in against["differences"].items()
    }


def test_figures_and_the_classifier_lie_where_they_were_asked_for(data: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", 0)
    tuning = FinetuneConfig(epochs=1, batch=2, workers=0)
    settings = Settings(protocols=("finetune", "retrieval"), clips=1, finetune=tuning)
    tasks.evaluate(
        run,
        data,
        settings=settings,
        figures=True,
        save=tmp_path / "c.safetensors",
        untrained=False,
        device="cpu",
    )
    assert (run / "eval-confusion-trained-finetune.png").read_bytes()[:4] == b"\x89PNG"
    assert load_classifier(tmp_path / "c.safetensors").classes == ["a", "b"]
    with pytest.raises(CheckpointError, match="is a fine-tuned classifier, not an encoder"):
        encoders.load(tmp_path / "c.safetensors")


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "evaluate", lambda *given, **more: pytest.fail("work was begun"))


@pytest.mark.usefixtures("no_work")
def test_what_cannot_be_done_is_refused_before_any_work(data: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", 0)
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in data.glob("*.mp4"):
        (flat / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="none of 4 videos has a label, so there is nothing to score"):
        tasks.evaluate(run, flat)
    assert not (run / "eval.json").exists()
    with pytest.raises(InputError, match="name the JSON file to write with --out"):
        tasks.evaluate("untrained:tiny", data)
    with pytest.raises(InputError, match=r"missing\.json: cannot be read"):
        tasks.evaluate(run, data, against=tmp_path / "missing.json")
    video = next(flat.glob("*.mp4"))
    before = video.read_bytes()
    with pytest.raises(OutputError, match=r"\.mp4 is there and is no evaluation"):
        tasks.evaluate(run, data, out=video)
    tuned = Settings(protocols=("finetune",))
    with pytest.raises(OutputError, match=r"encoder\.safetensors is there and is no fine-tuned classifier"):
        tasks.evaluate(run, data, settings=tuned, save=run / "encoder.safetensors")
    assert video.read_bytes() == before
    with pytest.raises(InputError, match="add finetune to --protocols"):
        tasks.evaluate(run, data, save=tmp_path / "c.safetensors")
    with pytest.raises(InputError, match="the same weights"):
        tasks.evaluate([run, run], data)
    with pytest.raises(InputError, match="no such run"):
        tasks.evaluate(tmp_path / "missing", data)
    with pytest.raises(
        OutputError, match=r"flat is a folder; name the JSON file to write, such as .*flat/eval\.json"
    ):
        tasks.evaluate(run, data, out=flat)
    with pytest.raises(
        DataError, match=f"Without labels: kinevec embed {re.escape(str(run))} {re.escape(str(flat))} -o"
    ):
        tasks.evaluate(run, flat, out=tmp_path / "new" / "deep" / "eval.json")
    with pytest.raises(InputError, match="nothing here"):
        tasks.audit(run, data, masks=tmp_path / "nothing here", out=tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match=r"flat: holds no eval\.json"):
        tasks.evaluate(run, data, against=flat)
    (flat / "eval.json").write_text(
        json.dumps({"outcomes": {"videos": ["z.mp4"], "labels": ["a"]}, "data": {"rejected": {}}})
    )
    with pytest.raises(InputError, match=r"the test videos differ \(2 and 1\)"):
        tasks.evaluate(run, data, against=flat)


def full(*given: object) -> None:
    raise OutputError("no space left")


def test_what_was_found_is_not_lost_to_a_full_disk(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "a", 0)
    tuning = FinetuneConfig(epochs=1, batch=2, workers=0)
    settings = Settings(protocols=("finetune", "knn"), clips=1, finetune=tuning, seeds=(0, 1))
    options: dict[str, Any] = {"settings": settings, "untrained": False, "device": "cpu"}
    whole = tasks.evaluate(run, data, out=tmp_path / "whole.json", **options)
    with monkeypatch.context() as patch:
        patch.setattr("kinevec.evaluate.finetune.save_classifier", full)
        with pytest.raises(LateError, match=r"^no space left$") as caught:
            tasks.evaluate(run, data, save=tmp_path / "c.safetensors", **options)
    assert caught.value.result.scores == whole.scores
    assert json.loads((run / "eval.json").read_text())["scores"] == whole.scores
    assert caught.value.result.filed == Filed(run / "eval.json")
    with monkeypatch.context() as patch:
        patch.setattr(Evaluation, "write", full)
        with pytest.raises(LateError, match=r"^no space left$") as caught:
            tasks.evaluate(run, data, out=tmp_path / "new.json", against=run, **options)
    assert caught.value.result.filed is None
    assert set(caught.value.result.facts["against"]["differences"]) == set(whole.scores["trained"])
    monkeypatch.setattr(judging, "_write_figures", full)
    with pytest.raises(LateError) as caught:
        tasks.evaluate(run, data, out=tmp_path / "drawn.json", figures=True, **options)
    assert caught.value.result.filed == Filed(tmp_path / "drawn.json")


def test_an_audit_is_not_lost_to_a_full_disk(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = object()
    monkeypatch.setattr("kinevec.tasks.auditing.score", lambda *given, **more: found)
    monkeypatch.setattr("kinevec.tasks.auditing.make_folder", full)
    with pytest.raises(LateError, match=r"^no space left$") as caught:
        tasks.audit(make_run(tmp_path / "a", 0), data)
    assert caught.value.result is found


@pytest.mark.usefixtures("no_work")
def test_devices_are_neither_read_nor_written(data: Path, tmp_path: Path) -> None:
    """Some of them never end."""
    run = make_run(tmp_path / "a", 0)
    with pytest.raises(OutputError, match="/dev/full is there and is no evaluation"):
        tasks.evaluate(run, data, out="/dev/full")
    with pytest.raises(InputError, match="/dev/zero: is no file"):
        tasks.evaluate(run, data, against="/dev/zero")
    tuned = Settings(protocols=("finetune",))
    with pytest.raises(OutputError, match="/dev/full: is a device or pipe"):
        tasks.evaluate(run, data, settings=tuned, save="/dev/full")


def test_a_name_is_chosen_and_taken_in_turn(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else may choose between our choice and our writing."""
    run = make_run(tmp_path / "a", 0)
    seen = []

    def choose(folder: Path, content: Mapping[str, Any]) -> Filed:
        place = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            seen.append(folder)
        finally:
            os.close(place)
        return place_for(folder, content)

    monkeypatch.setattr(judging, "place_for", choose)
    tasks.evaluate(run, data, settings=RETRIEVAL, device="cpu")
    assert seen == [run]


def test_confusions_of_few_shot_are_drawn_and_its_draws_not_kept(data: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", 0)
    settings = Settings(protocols=("knn", "few-shot"), shots=(1,), clips=1, draws=3)
    found = tasks.evaluate(run, data, settings=settings, figures=True, device="cpu")
    assert len(found.outcomes["trained"].predicted["1-shot"]) == 3
    assert {path.name for path in run.glob("*.png")} == {
        f"eval-confusion-{encoder}-{name}.png"
        for encoder in ("trained", "untrained")
        for name in ("knn", "1-shot")
    }
    written = json.loads((run / "eval.json").read_text())
    assert set(written["outcomes"]["predicted"]["trained"]) == {"knn"}
    assert set(written["outcomes"]["hits"]["trained"]) >= {"1-shot top-1", "knn top-1"}


def test_more_shots_than_videos_are_refused(data: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", 0)
    with pytest.raises(
        InputError, match="50 shots: class 'a' has 1 training videos, so that no more than 1-shot"
    ):
        tasks.evaluate(run, data, settings=Settings(protocols=("few-shot",), shots=(1, 50)), device="cpu")
    assert not list(run.glob("eval*"))
    settings = Settings(protocols=("few-shot",), shots=(1,), clips=1, draws=1)
    assert tasks.evaluate(run, data, settings=settings, device="cpu").scores
    tasks.evaluate(run, data, settings=RETRIEVAL, device="cpu")  # whose shots nothing reads


def test_stopped_by_hand_it_says_what_is_kept(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*given: object, **more: object) -> None:
        raise KeyboardInterrupt

    run = make_run(tmp_path / "a", 0)
    monkeypatch.setattr(evaluation, "evaluate", stopped)
    with pytest.raises(Interrupted, match=r"^interrupted: nothing earlier is lost") as caught:
        tasks.evaluate(run, data)
    assert caught.value.exit_code == 130
    monkeypatch.setattr("kinevec.tasks.auditing.score", stopped)
    with pytest.raises(Interrupted, match=r"^interrupted: nothing was written; an earlier audit\.json and"):
        tasks.audit(run, data)
