"""The folder of a run belongs to one process at a time, from before anything is written until the end."""

import gc
import logging
import multiprocessing
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from faults import numbered_video
from kinevec import tasks
from kinevec.config import Clip, Config, Data, Flow, Method, Model, Sampling, Train, Views
from kinevec.data import Collection, find_records, open_videos
from kinevec.data.lock import alone
from kinevec.demo import demo
from kinevec.errors import ConfigError, DataError, OutputError, TrainingError
from kinevec.methods.method import Method as Learner
from kinevec.train import compute, supply, trainer
from kinevec.train.checkpoint import CHECKPOINT, has_checkpoint
from kinevec.train.loop import check_request, pretrain
from kinevec.train.meter import Status

CONFIG = Config(
    clip=Clip(frames=4, stride=2, size=16),
    data=Data(workers=0, split="all"),
    views=Views(area=(0.5, 1.0)),
    model=Model("tiny"),
    method=Method(dim=8, hidden=16, queue=4, momentum=0.9),
    train=Train(epochs=2, batch=3, lr=1e-3, optimizer="adamw", warmup_epochs=1, precision="fp32"),
)
BUSY = rf"another process is training a run here \(process {os.getpid()} on .*\); wait until it has ended, or choose"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for i in range(6):
        numbered_video(folder / f"{i}.mp4", 12 + i, size=(32, 32))
    return folder


@pytest.fixture(scope="module")
def collection(videos: Path) -> Collection:
    return open_videos(find_records(videos))


@pytest.fixture(scope="module")
def whole(collection: Collection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbs."""
    return pretrain(CONFIG, collection, tmp_path_factory.mktemp("runs") / "whole")


def assert_same(one: Path, other: Path) -> None:
    states = [torch.load(run / CHECKPOINT, weights_only=True)["model"] for run in (one, other)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert {path.name for path in one.iterdir()} == {path.name for path in other.iterdir()}


def test_no_second_process_touches_the_folder_of_a_run(
    collection: Collection, videos: Path, whole: Path, tmp_path: Path
) -> None:
    run, refused = tmp_path / "run", []

    def second(*_: object) -> None:
        before = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
        for resume in (False, True):
            if resume and not has_checkpoint(run):
                continue
            with pytest.raises(OutputError, match=BUSY):
                tasks.pretrain(CONFIG, videos, run, resume=resume)  # said before a video is opened
            with pytest.raises(OutputError) as caught:
                pretrain(CONFIG, collection, run, resume=resume)
            refused.append(re.search(BUSY, str(caught.value)) is not None)
        assert {path.name: path.stat().st_mtime_ns for path in run.iterdir()} == before

    pretrain(CONFIG, collection, run, on_decode=second, on_status=second)
    assert refused == [True] * 9  # six videos are decoded; two looks at the log, the second with a checkpoint
    assert_same(run, whole)


def test_what_another_process_left_meanwhile_is_seen(
    collection: Collection, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends between our look at the folder and our lock."""
    run = tmp_path / "run"

    def late(folder: Path, doing: str) -> object:
        folder.mkdir()
        (folder / CHECKPOINT).write_bytes(b"of another run")
        return alone(folder, doing)

    monkeypatch.setattr("kinevec.train.loop.alone", late)
    with pytest.raises(OutputError, match="holds a run; pass --resume"):
        pretrain(CONFIG, collection, run)
    assert [(path.name, path.read_bytes()) for path in run.iterdir()] == [(CHECKPOINT, b"of another run")]


def test_a_refused_request_leaves_no_folder(collection: Collection, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown"):
        pretrain(replace(CONFIG, model=Model("unknown")), collection, tmp_path / "a" / "run")
    with pytest.raises(DataError, match="needs at least 2; found 1"):
        pretrain(CONFIG, collection.only(lambda record: record.name == "1.mp4"), tmp_path / "a" / "run")
    assert not (tmp_path / "a").exists()


def test_a_lock_that_a_killed_run_left_holds_nobody_up(collection: Collection, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").write_text("1 on elsewhere")
    (tmp_path / "run" / "frames.raw").write_bytes(b"half")
    check_request(CONFIG, tmp_path / "run", resume=False)
    pretrain(CONFIG, collection, tmp_path / "run")
    assert not (tmp_path / "run" / ".lock").exists()


def test_resuming_what_is_finished_says_so(
    collection: Collection, whole: Path, caplog: pytest.LogCaptureFixture
) -> None:
    statuses: list[Status] = []
    before = (whole / CHECKPOINT).read_bytes()
    pretrain(CONFIG, collection, whole, resume=True, on_status=statuses.append)
    assert [message for message in caplog.messages if "finished" in message] == [
        f"{whole}: this run was finished, step 4 of 4, so nothing is trained. Its learning rate has fallen to 0: to "
        "train longer, begin anew in another folder with a larger train.epochs"
    ]
    assert not statuses
    assert (whole / CHECKPOINT).read_bytes() == before


def test_a_queue_longer_than_the_videos_names_a_length_that_is_not(
    collection: Collection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for queue in (5, 6):
        caplog.clear()
        config = replace(
            CONFIG,
            method=replace(CONFIG.method, queue=queue),
            train=replace(CONFIG.train, epochs=1, warmup_epochs=0),
        )
        pretrain(config, collection, tmp_path / str(queue))
        said = [message for message in caplog.messages if "queue" in message]
        assert said == (["a queue of 6 keys for 6 videos: a video's own past keys are among its negatives; "
                         "set method.queue=3"] if queue == 6 else [])  # fmt: skip


def test_no_loader_process_outlives_its_run(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the garbage collector has not come by yet, and an error still knows of the batches."""
    made = trainer.to_clips

    def poisoned(*asked: Any) -> Any:
        clips = made(*asked)
        clips.rgb[0].fill_(float("nan"))
        return clips

    monkeypatch.setattr(trainer, "to_clips", poisoned)
    gc.disable()
    try:
        with pytest.raises(TrainingError, match="not finite at step 1 of 4") as caught:
            pretrain(replace(CONFIG, data=Data(workers=1)), collection, tmp_path / "run")
        assert not multiprocessing.active_children(), caught
    finally:
        gc.enable()


def test_a_second_demo_does_not_remove_the_runs_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "runs" / "moco").mkdir(parents=True)
    with (
        alone(tmp_path, "making a demo here"),
        pytest.raises(OutputError, match="process is making a demo here"),
    ):
        demo(tmp_path)
    assert (tmp_path / "runs" / "moco").is_dir()


def test_convolutions_that_take_another_way_are_said_in_one_calm_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = Learner(CONFIG)
    changed = {"rgb.encoder.a": "padded", "rgb.encoder.b": "flat"}
    monkeypatch.setattr(compute, "guard_bf16", lambda *_: changed)
    with caplog.at_level(logging.DEBUG, "kinevec"):
        compute.guard(CONFIG, model, 3, torch.device("cpu"))
    convolutions = sum(isinstance(module, torch.nn.Conv3d) for module in model.modules())
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "INFO",
            f"precision bf16; 2 of {convolutions} convolutions take another way, found to be right here",
        ),
        ("DEBUG", "rgb.encoder.a: computed padded"),
        ("DEBUG", "rgb.encoder.b: computed flat"),
    ]


@pytest.mark.parametrize(
    ("workers", "place", "expected"), [(0, None, 4), (0, "a.py, line 1", 1), (1, "a.py, line 1", 4)]
)
def test_a_script_without_a_guard_computes_flow_alone_where_it_wants_no_workers(
    workers: int,
    place: str | None,
    expected: int,
    collection: Collection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def build(*_: object, workers: int, **options: object) -> None:
        asked.append(workers)
        raise DataError("enough")

    monkeypatch.setattr(supply, "cores", lambda: 4)
    monkeypatch.setattr(supply, "unguarded", lambda: place)
    monkeypatch.setattr(supply.FlowStore, "build", build)
    config = replace(CONFIG, data=Data(workers=workers), sampling=Sampling(moving=True), flow=Flow(gap=1))
    with pytest.raises(DataError, match="enough"):
        supply.open_supply(config, collection, tmp_path, None, None)
    assert asked == [expected]
