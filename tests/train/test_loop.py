"""The loop learns, stops and goes on as if nothing had been, and says what is wrong."""

import json
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

import faults
from faults import numbered_video
from kinevec import encoders
from kinevec.config import Clip, Config, Data, Method, Model, Terms, Train, Views, load, to_toml
from kinevec.data import Collection, find_records, open_videos
from kinevec.data.loader import EpochSampler
from kinevec.data.manifest import Manifest, read_manifest
from kinevec.data.prepare import PrepareConfig, prepare
from kinevec.errors import CheckpointError, DataError, Interrupted, OutputError, TrainingError
from kinevec.methods.method import Losses
from kinevec.methods.method import Method as Learner
from kinevec.models.conv import Route
from kinevec.models.guard import guard_bf16
from kinevec.models.heads import Projector
from kinevec.train.checkpoint import CHECKPOINT
from kinevec.train.finite import FAULTS
from kinevec.train.log import read_log
from kinevec.train.loop import clear_unsaved, pretrain
from kinevec.train.meter import Status

CONFIG = Config(
    clip=Clip(frames=4, stride=2, size=16),
    data=Data(workers=0),
    views=Views(area=(0.5, 1.0)),
    model=Model("tiny"),
    method=Method(dim=8, hidden=16, queue=10, momentum=0.9),
    train=Train(epochs=3, batch=4, lr=1e-3, optimizer="adamw", warmup_epochs=1, precision="fp32"),
)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for i in range(9):
        numbered_video(folder / f"{i}.mp4", 10 + 3 * i, size=(40, 40))
    return folder


@pytest.fixture
def collection(videos: Path) -> Collection:
    return open_videos(find_records(videos))


def losses(run: Path) -> list[tuple[int, float]]:
    return [(entry["step"], entry["loss"]) for entry in read_log(run)]


def computed(run: Path) -> list[dict[str, float]]:
    """All of the log but what the clock says."""
    return [{k: v for k, v in e.items() if k not in ("clips_per_second", "waiting")} for e in read_log(run)]


def assert_same(one: Any, other: Any) -> None:
    """What checkpoints hold, to the bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other


def test_a_run_holds_all_that_says_how_it_was_made(collection: Collection, tmp_path: Path) -> None:
    statuses: list[Status] = []
    run = pretrain(CONFIG, collection, tmp_path / "run", on_status=statuses.append)
    assert load(run / "config.toml") == CONFIG
    facts = json.loads((run / "run.json").read_text())
    assert facts["videos"] == 9
    assert facts["looped"] == 0
    assert facts["torch"] == torch.__version__
    assert (run / "rejected.csv").read_text() == "name,reason\n"
    assert [step for step, _ in losses(run)] == [2, 4, 6]  # an entry at the end of every epoch
    assert [(s.epoch, s.step, s.total) for s in statuses] == [(1, 2, 6), (2, 4, 6), (3, 6, 6)]
    assert statuses[-1].seconds_left == 0
    assert set(statuses[-1].health) == {"spread", "rank", "alignment", "uniformity", "stale"}
    logged = read_log(run)[-1]
    assert set(logged) == {
        "step",
        "lr",
        "clips_per_second",
        "waiting",
        *statuses[-1].values,
        *statuses[-1].health,
    }
    assert logged["loss"] == logged["instance"] == statuses[-1].values["loss"]
    assert list((run / "tensorboard").iterdir())
    assert [facts[key] for key in ("precision", "batch", "store", "steps")] == ["fp32", 4, "frames", 6]
    assert json.loads((run / "videos.json").read_text()) == [str(r.path) for r in collection.records]
    assert not (run / "frames.raw").exists()
    loaded = encoders.load(run)
    assert (loaded.config, loaded.step) == (CONFIG, 6)
    model = torch.load(run / CHECKPOINT, weights_only=True)["model"]
    assert torch.equal(model["rgb.encoder.stem.0.weight"], loaded.encoder.stem[0].weight)


def test_the_same_seed_gives_the_same_run(collection: Collection, tmp_path: Path) -> None:
    runs = [pretrain(CONFIG, collection, tmp_path / name) for name in ("a", "b")]
    assert losses(runs[0]) == losses(runs[1])
    other = replace(CONFIG, train=replace(CONFIG.train, seed=1))
    assert losses(pretrain(other, collection, tmp_path / "c")) != losses(runs[0])


def test_files_and_decoded_frames_train_alike(collection: Collection, tmp_path: Path) -> None:
    big = replace(CONFIG, clip=replace(CONFIG.clip, size=32))  # 46 pixels are kept of 40: nothing is scaled
    runs = [
        pretrain(replace(big, data=Data(store=store, workers=0)), collection, tmp_path / store)
        for store in ("frames", "files")
    ]
    assert losses(runs[0]) == losses(runs[1])


@pytest.fixture(scope="module")
def manifest(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    out = tmp_path_factory.mktemp("prepared")
    prepare(find_records(videos), out, PrepareConfig(short_side=32, motion="none"), workers=0)
    return read_manifest(out)


@pytest.mark.parametrize("store", ["frames", "files"])
def test_a_manifest_trains_like_its_videos_in_memory(
    store: Literal["frames", "files"], manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, data=Data(store=store, workers=0))
    places = range(len(manifest))
    held = Collection(tuple(map(manifest.record, places)), tuple(map(manifest.info, places)), ())
    whole = pretrain(config, held, tmp_path / "held")
    made: list[str] = []
    monkeypatch.setattr(Manifest, "record", lambda self, index: made.append(f"record {index}"))
    run = pretrain(config, manifest, tmp_path / "run")
    assert losses(run) == losses(whole)
    assert not made  # nothing is made for each video
    facts = [json.loads((folder / "run.json").read_text()) for folder in (run, whole)]
    assert [(fact["videos"], fact["store"], fact["looped"]) for fact in facts] == [(9, store, 0)] * 2
    assert json.loads((run / "videos.json").read_text())["manifest"] == str(manifest.folder)
    monkeypatch.undo()
    pretrain(config, held, run, resume=True)  # the same names are the same videos
    with pytest.raises(CheckpointError, match="was made on 9 videos, now there are 8; resume"):
        pretrain(config, manifest.take(range(1, 9)), run, resume=True)
    renamed = tuple(replace(record, name=f"{record.name}.") for record in held.records)
    with pytest.raises(
        CheckpointError, match="was made on 9 videos, of which some have another name, length or size"
    ):
        pretrain(config, replace(held, records=renamed), run, resume=True)


def test_prepared_files_that_break_are_left_out_and_listed(manifest: Manifest, tmp_path: Path) -> None:
    shutil.copytree(manifest.folder, tmp_path / "data")
    faults.truncated_mp4(read_manifest(tmp_path / "data").record(2).path)
    run = pretrain(CONFIG, read_manifest(tmp_path / "data"), tmp_path / "run")
    assert json.loads((run / "run.json").read_text())["rejected"] == 1
    assert json.loads((run / "videos.json").read_text())["videos"] == 8
    assert "2.mp4,damaged" in (run / "rejected.csv").read_text()


@pytest.mark.parametrize("stop_at", [1, 2, 3, 5])
def test_resuming_gives_the_losses_of_a_run_never_stopped(
    stop_at: int, collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, data=Data(workers=1))
    whole = pretrain(config, collection, tmp_path / "whole")
    advance = Learner.advance

    def stopping(self: Learner, losses: Losses, step: int, total: int) -> None:
        advance(self, losses, step, total)
        if step + 1 == stop_at:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Learner, "advance", stopping)
    with pytest.raises(Interrupted, match=f"stopped at step {stop_at} of 6"):
        pretrain(config, collection, tmp_path / "run")
    monkeypatch.undo()
    pretrain(config, collection, tmp_path / "run", resume=True)
    states = [torch.load(tmp_path / name / CHECKPOINT, weights_only=True) for name in ("whole", "run")]
    for name, value in states[0]["model"].items():
        assert torch.equal(value, states[1]["model"][name]), name
    for one, two in zip(*(state["optimizer"]["state"].values() for state in states), strict=True):
        assert all(torch.equal(torch.as_tensor(one[key]), torch.as_tensor(two[key])) for key in one)
    assert computed(tmp_path / "run") == computed(whole)
    for state in states:
        state["watch"]["alarms"].pop("loader slow", None)  # the clock says that
    assert_same(*(state["watch"] for state in states))


def wider(channels: int, hidden: int, dim: int, *, centred: bool) -> Projector:
    return Projector(channels, hidden + 1, dim, centred=centred)


def test_a_run_goes_on_where_its_facts_are_lost(
    collection: Collection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stopped = replace(CONFIG, train=replace(CONFIG.train, epochs=2))
    run = pretrain(stopped, collection, tmp_path / "run")
    for content in (None, "{"):
        (run / "run.json").unlink() if content is None else (run / "run.json").write_text(content)
        pretrain(stopped, collection, run, resume=True)
        assert "run.json cannot be read and begins anew" in caplog.text
        caplog.clear()


def test_resume_is_refused_where_it_cannot_be_right(collection: Collection, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(CheckpointError, match="no checkpoint to resume from"):
        pretrain(CONFIG, collection, run, resume=True)
    assert not run.exists()
    pretrain(CONFIG, collection, run)
    other = replace(CONFIG, train=replace(CONFIG.train, lr=5.0))
    with pytest.raises(CheckpointError, match=r"train.lr: 0.001 → 5.0"):
        pretrain(other, collection, run, resume=True)
    with pytest.MonkeyPatch.context() as patch:  # the same name, another network
        patch.setattr("kinevec.methods.branch.Projector", wider)
        with pytest.raises(
            CheckpointError, match=r"another architecture: rgb\.projector\.\S+ has shape \(16, \d+\) in"
        ):
            pretrain(CONFIG, collection, run, resume=True)
    with pytest.raises(CheckpointError, match="made on 9 videos, now there are 8; resume with the same data"):
        pretrain(CONFIG, collection.only(lambda record: record.name != "3.mp4"), run, resume=True)
    assert load(run / "config.toml") == CONFIG  # a refused resume changes nothing
    assert json.loads((run / "run.json").read_text())["videos"] == 9


def test_a_run_is_never_overwritten(collection: Collection, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists and holds no run to resume"):
        pretrain(CONFIG, collection, tmp_path)
    with pytest.raises(OutputError, match=r"cannot be written: .*notes\.txt is a file"):
        pretrain(CONFIG, collection, tmp_path / "notes.txt" / "run")
    run = pretrain(CONFIG, collection, tmp_path / "run")
    with pytest.raises(OutputError, match="holds a run; pass --resume"):
        pretrain(CONFIG, collection, run)


def test_what_a_run_without_a_checkpoint_wrote_is_cleared_and_nothing_else(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    clear_unsaved(run)  # is not there

    def killed(*given: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("kinevec.train.trainer.Trainer.train_step", killed)
        with pytest.raises(RuntimeError, match="killed"):
            pretrain(CONFIG, collection, run)
    with pytest.raises(OutputError, match="exists and holds no run to resume"):
        pretrain(CONFIG, collection, run)
    (run / ".checkpoint.pt.77.part").write_text("half")
    (run / "notes.txt").write_text("mine")
    before = sorted(path.name for path in run.rglob("*") if not path.name.endswith(".part"))
    clear_unsaved(run)
    assert sorted(path.name for path in run.rglob("*")) == before
    (run / "notes.txt").unlink()
    (run / ".checkpoint.pt.77.part").write_text("half")
    clear_unsaved(run)
    assert not run.exists()
    pretrain(CONFIG, collection, run)
    before = sorted(path.name for path in run.rglob("*"))
    clear_unsaved(run)  # a run that can be resumed
    assert sorted(path.name for path in run.rglob("*")) == before
    for name in ("checkpoint.pt", "encoder.safetensors", "best.safetensors"):
        (run / name).unlink()
        clear_unsaved(run)  # one of which a person kept a part
        assert {"best.pt", "run.json", "config.toml"} <= {path.name for path in run.iterdir()}


def test_what_a_killed_decoding_leaves_is_no_obstacle(collection: Collection, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "frames.raw").write_bytes(b"half")
    assert losses(pretrain(CONFIG, collection, tmp_path / "run"))


def test_training_lowers_the_loss(collection: Collection, tmp_path: Path) -> None:
    config = replace(CONFIG, train=replace(CONFIG.train, epochs=40, lr=3e-3), views=Views(area=(0.9, 1.0)))
    curve = [loss for _, loss in losses(pretrain(config, collection, tmp_path / "run"))]
    assert sum(curve[-5:]) < 0.7 * max(sum(curve[i : i + 5]) for i in range(20))


def test_bf16_is_guarded(collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every convolution of the method is reached, at the shape that training uses, before the first step."""
    reached: list[set[str]] = []
    shapes: list[torch.Size] = []

    def note(
        model: torch.nn.Module, example: torch.Tensor, run: Callable[[torch.Tensor], object]
    ) -> dict[str, Route]:
        layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, torch.nn.Conv3d)}
        found: set[str] = set()
        for name, layer in layers.items():
            layer.register_forward_pre_hook(lambda *_, name=name: found.add(name))
        reached.append(found)
        shapes.append(example.shape)
        changed = guard_bf16(model, example, run)
        assert found == set(layers)
        return changed

    monkeypatch.setattr("kinevec.train.compute.guard_bf16", note)
    pretrain(CONFIG, collection, tmp_path / "fp32")
    assert not reached
    half = replace(CONFIG, train=replace(CONFIG.train, precision="bf16"))
    pretrain(half, collection, tmp_path / "bf16")
    assert shapes == [(4, 3, 4, 16, 16)]
    sides = ("rgb.encoder.", "rgb.key_encoder.")
    assert all(any(name.startswith(side) for name in reached[0]) for side in sides)


def test_a_loss_that_is_not_finite_stops_the_run(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = Learner.advance

    def poison(self: Learner, losses: Losses, step: int, total: int) -> None:
        advance(self, losses, step, total)
        if step == 2:
            self.rgb.queue.keys.fill_(float("nan"))

    monkeypatch.setattr(Learner, "advance", poison)
    with pytest.raises(
        TrainingError,
        match=r"^instance, loss, gradient not finite at step 4 of 6 \(batch of (\d\.mp4(, )?){4}\); the last checkpoint "
        r"is whole\. Lower train\.lr",
    ):
        pretrain(CONFIG, collection, tmp_path / "run")
    named = json.loads((tmp_path / "run" / FAULTS).read_text())
    sampler = EpochSampler(9, 4, CONFIG.train.seed)
    sampler.epoch = 1
    places = [place for _, place in list(sampler)[1]]  # of the second batch of the second epoch
    assert named == {
        "step": 4,
        "figures": ["instance", "loss", "gradient"],
        "videos": [collection.records[place].name for place in places],
    }
    state = torch.load(tmp_path / "run" / CHECKPOINT, weights_only=True)
    assert state["step"] == 2
    assert all(torch.isfinite(value).all() for value in state["model"].values())


def test_a_gradient_that_is_not_finite_is_never_saved(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss is finite, the update that follows it is not; it is the last of its epoch."""
    norm = torch.nn.utils.clip_grad_norm_

    def broken(parameters: object, most: float) -> torch.Tensor:
        return norm(parameters, most) * float("inf")  # type: ignore[arg-type]

    monkeypatch.setattr("torch.nn.utils.clip_grad_norm_", broken)
    with pytest.raises(TrainingError, match=r"^gradient not finite at step 1 of 6 .*; nothing was saved yet"):
        pretrain(CONFIG, collection, tmp_path / "run")
    assert not (tmp_path / "run" / CHECKPOINT).exists()


def test_a_loader_process_that_dies_is_named_and_the_work_saved(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = Learner.advance

    def killing(self: Learner, losses: Losses, step: int, total: int) -> None:
        advance(self, losses, step, total)
        if step == 0:
            for child in multiprocessing.active_children():
                child.kill()

    monkeypatch.setattr(Learner, "advance", killing)
    config = replace(CONFIG, data=Data(workers=1), train=replace(CONFIG.train, epochs=20))
    with pytest.raises(TrainingError, match=r"a loader process died at step \d+ of 40") as caught:
        pretrain(config, collection, tmp_path / "run")
    monkeypatch.undo()
    step = int(str(caught.value).split(" of 40")[0].split()[-1])
    assert torch.load(tmp_path / "run" / CHECKPOINT, weights_only=True)["step"] == step
    pretrain(config, collection, tmp_path / "run", resume=True)


def test_an_error_in_a_loader_process_comes_in_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    config = replace(CONFIG, clip=Clip(frames=8, stride=5, size=16), data=Data(store="files", workers=1))
    with pytest.raises(DataError) as caught:
        pretrain(config, damaged(tmp_path / "v", 8), tmp_path / "run")
    assert str(caught.value).startswith("20 videos in a row cannot be read; the last one: damaged")
    assert "Traceback" not in str(caught.value)


def test_few_videos_lower_the_batch(
    collection: Collection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    three = collection.only(lambda record: record.name in {"1.mp4", "4.mp4", "5.mp4"})
    with caplog.at_level(logging.WARNING, "kinevec"):
        pretrain(CONFIG, three, tmp_path / "run")
    assert "3 videos: the batch is lowered from 4 to that" in caplog.text
    with pytest.raises(DataError, match="at least 2; found 1"):
        pretrain(CONFIG, collection.only(lambda record: record.name == "1.mp4"), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_short_videos_are_looped_and_counted(
    collection: Collection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = replace(CONFIG, clip=Clip(frames=4, stride=5, size=16))
    with caplog.at_level(logging.WARNING, "kinevec"):
        run = pretrain(config, collection, tmp_path / "run")
    assert "2 of 9 videos are shorter than a clip (16 frames: 4 at stride 5) and are looped" in caplog.text
    assert json.loads((run / "run.json").read_text())["looped"] == 2


def test_fima_needs_a_whole_window(
    collection: Collection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its local clips cut all of it into parts: 24 frames, of which the clip itself spans 22."""
    method = replace(CONFIG.method, symmetric=True)
    config = replace(
        CONFIG, clip=Clip(frames=8, stride=3, size=16), terms=Terms(instance=0, vanilla=1), method=method
    )
    with caplog.at_level(logging.WARNING, "kinevec"):
        run = pretrain(config, collection, tmp_path / "run")
    short = sum(frames < 24 for frames in collection.frames)
    assert short > sum(frames < 22 for frames in collection.frames)
    assert f"{short} of 9 videos are shorter than a clip (24 frames: 8 at stride 3)" in caplog.text
    assert json.loads((run / "run.json").read_text())["looped"] == short


def damaged(folder: Path, count: int) -> Collection:
    """Videos of which the last `count` are cut short after they were probed."""
    for i in range(8):
        numbered_video(folder / f"{i}.mp4", 40, size=(40, 40))
    collection = open_videos(find_records(folder))
    for i in range(8 - count, 8):
        faults.truncated_mp4(folder / f"{i}.mp4")
    return collection


def test_failing_files_are_replaced_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "v").mkdir()
    config = replace(CONFIG, clip=Clip(frames=8, stride=5, size=16), data=Data(store="files", workers=0))
    with caplog.at_level(logging.WARNING, "kinevec"):
        pretrain(config, damaged(tmp_path / "v", 1), tmp_path / "run")
    assert "7.mp4: damaged: " in caplog.text
    assert "another video takes its place" in caplog.text
    assert "clips of 1 files were replaced because they could not be read" in caplog.text


def test_too_many_failing_files_stop_the_run(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    config = replace(
        CONFIG,
        clip=Clip(frames=8, stride=5, size=16),
        data=Data(store="files", workers=0, failed_share=0.2),
        train=replace(CONFIG.train, epochs=60),
    )
    with pytest.raises(
        DataError, match=r"of 200 videos asked for could not be read \(4 files: .*failed_share = 0.2"
    ):
        pretrain(config, damaged(tmp_path / "v", 4), tmp_path / "run")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_real_process_saves_and_leaves_when_asked(
    number: signal.Signals, videos: Path, tmp_path: Path
) -> None:
    """The whole command, with loader workers, signalled as a terminal does: all processes of the group."""
    config = replace(CONFIG, train=replace(CONFIG.train, epochs=10_000), data=Data(workers=2, split="all"))
    (tmp_path / "long.toml").write_text(to_toml(config))
    run = tmp_path / "run"
    command = [
        "-m",
        "kinevec",
        "pretrain",
        str(tmp_path / "long.toml"),
        "--data",
        str(videos),
        "-o",
        str(run),
    ]
    process = subprocess.Popen(
        [sys.executable, *command], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not (run / CHECKPOINT).exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "everything is saved in" in errors
    assert "Traceback" not in errors
    assert torch.load(run / CHECKPOINT, weights_only=True)["step"] >= 2
    assert not list(run.glob("*.part"))
