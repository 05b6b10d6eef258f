"""Nothing of a run is lost: what it keeps, what it falls back to, and how it goes on without a batch that breaks it."""

import json
import logging
import multiprocessing
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from faults import numbered_video
from kinevec import encoders
from kinevec.config import Clip, Config, Data, Method, Model, Train, Views, load
from kinevec.data import Collection, find_records, open_videos
from kinevec.data.batch import Batch
from kinevec.errors import CheckpointError, OutputError, TrainingError
from kinevec.methods.method import Losses
from kinevec.train import keeper, trainer
from kinevec.train.alarms import PATIENCE
from kinevec.train.checkpoint import BEST, BEST_ENCODER, CHECKPOINT, ENCODER, earlier
from kinevec.train.finite import FAULTS, MOST_SKIPPED
from kinevec.train.log import read_log
from kinevec.train.loop import pretrain
from kinevec.train.meter import Status
from kinevec.train.trainer import Trainer

CONFIG = Config(
    clip=Clip(frames=4, stride=2, size=16),
    data=Data(workers=0),
    views=Views(area=(0.5, 1.0)),
    model=Model("tiny"),
    method=Method(dim=8, hidden=16, queue=6, momentum=0.9, centred=True),
    train=Train(epochs=4, batch=2, lr=1e-3, optimizer="adamw", warmup_epochs=1, precision="fp32", keep=3),
)
STEPS = 16  # four an epoch


def changed(**train: Any) -> Config:
    return replace(CONFIG, train=replace(CONFIG.train, **train))


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    folder = tmp_path_factory.mktemp("videos")
    for i in range(8):
        numbered_video(folder / f"{i}.mp4", 12 + i, size=(32, 32))
    return open_videos(find_records(folder))


@pytest.fixture(scope="module")
def whole(collection: Collection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happens to."""
    return pretrain(CONFIG, collection, tmp_path_factory.mktemp("runs") / "whole")


def state(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded


def assert_same_end(one: Path, other: Path) -> None:
    a, b = (state(run / CHECKPOINT) for run in (one, other))
    assert a["step"] == b["step"]
    for name, value in a["model"].items():
        assert torch.equal(value, b["model"][name]), name
    assert a["watch"]["best"] == b["watch"]["best"]
    assert losses(one) == losses(other)


def losses(run: Path) -> list[tuple[int, float]]:
    return [(entry["step"], entry["loss"]) for entry in read_log(run)]


def test_a_run_keeps_its_last_checkpoints_and_the_best(whole: Path) -> None:
    assert [step for step, _ in earlier(whole)] == [12, 8]
    # The queue of 6 holds keys of the run alone after 3 steps, so that the first epoch does not take part.
    means = {}
    entries = {entry["step"]: entry["loss"] for entry in read_log(whole)}
    means[8] = entries[8]
    means[12] = (2 * entries[10] + 2 * entries[12]) / 4  # a look every ten steps, and at the end of an epoch
    means[16] = entries[16]
    best = min(means, key=lambda step: means[step])
    found = state(whole / CHECKPOINT)["watch"]["best"]
    assert found == {"step": best, "loss": pytest.approx(means[best], rel=1e-6)}
    assert state(whole / BEST)["step"] == best
    loaded = encoders.load(whole / BEST_ENCODER)
    assert (loaded.config, loaded.step) == (CONFIG, best)
    assert torch.equal(
        state(whole / BEST)["model"]["rgb.encoder.stem.0.weight"], loaded.encoder.stem[0].weight
    )


@pytest.mark.parametrize(("every", "kept"), [(3, [15, 12]), (5, [15, 12]), (16, [12, 8])])
def test_checkpoints_come_every_so_many_steps_and_after_every_epoch(
    every: int, kept: list[int], collection: Collection, whole: Path, tmp_path: Path
) -> None:
    run = pretrain(changed(save_every=every), collection, tmp_path / "run")
    assert [step for step, _ in earlier(run)] == kept
    assert_same_end(run, whole)


def test_one_checkpoint_is_enough_for_those_who_say_so(collection: Collection, tmp_path: Path) -> None:
    run = pretrain(changed(keep=1, epochs=2), collection, tmp_path / "run")
    assert earlier(run) == []


class Killed(BaseException):
    """Stands for a kill: nothing of ours catches it."""


def kill_after(save: int) -> Callable[[Trainer], None]:
    """Ends a run at the beginning of its save number `save`."""
    count, saving = 0, Trainer.save

    def dying(self: Trainer) -> None:
        nonlocal count
        count += 1
        if count > save:
            raise Killed
        saving(self)

    return dying


@pytest.fixture
def interrupted(collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that was killed in its third epoch, with checkpoints of steps 3, 4, 6, 8 and 9, of which three are kept."""
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save", kill_after(5))
        with pytest.raises(Killed):
            pretrain(changed(save_every=3), collection, tmp_path / "run")
    assert state(tmp_path / "run" / CHECKPOINT)["step"] == 9
    assert [step for step, _ in earlier(tmp_path / "run")] == [8, 6]
    return tmp_path / "run"


def damage(path: Path) -> None:
    """Changes more bytes than lie unused between two tensors."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(byte ^ 1 for byte in content[middle : middle + 200])
    path.write_bytes(content)


@pytest.mark.parametrize(("newest", "step"), [(0, 9), (1, 8), (2, 6)])
def test_a_damaged_checkpoint_costs_some_steps_and_nothing_else(
    newest: int,
    step: int,
    interrupted: Path,
    collection: Collection,
    whole: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in (CHECKPOINT, "checkpoint-8.pt")[:newest]:
        damage(interrupted / name)
    for name in (".checkpoint.pt.1.part", ".best.pt.1.part"):
        (interrupted / name).touch()
    begun: list[int] = []
    with caplog.at_level(logging.WARNING, "kinevec"):
        pretrain(
            CONFIG, collection, interrupted, resume=True, on_status=lambda status: begun.append(status.step)
        )
    assert begun == [n for n in (4, 8, 10, 12, 16) if n > step]
    said = [message for message in caplog.messages if "damaged" in message]
    assert len(said) == newest
    if newest:
        assert "checkpoint.pt: damaged, cannot be read (wrong checksum of" in said[0]
        assert f"going on from checkpoint-{step}.pt, step {step}" in said[0]
    assert_same_end(interrupted, whole)
    assert not list(interrupted.glob(".*"))
    assert [step for step, _ in earlier(interrupted)] == ([12, 8] if newest else [12, 9])
    for _, path in earlier(interrupted):  # the damaged one took nobody's place
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None


def test_a_run_goes_on_with_settings_that_change_no_number(
    interrupted: Path, collection: Collection, whole: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = replace(changed(keep=1, save_every=7, on_nan="skip"), data=Data(workers=1, failed_share=0.5))
    with caplog.at_level(logging.WARNING, "kinevec"):
        pretrain(other, collection, interrupted, resume=True)
    assert "will not be those of a run never stopped" not in caplog.text
    assert_same_end(interrupted, whole)
    assert earlier(interrupted) == []
    facts = json.loads((interrupted / "run.json").read_text())
    assert facts["resumed"][0]["changed"] == [
        "data.workers: 0 → 1",
        "data.failed_share: 0.1 → 0.5",
        "train.save_every: 3 → 7",
        "train.keep: 3 → 1",
        "train.on_nan: stop → skip",
    ]
    assert load(interrupted / "config.toml") == changed(save_every=3)  # how it was made


def test_going_on_in_another_precision_is_warned_of(
    interrupted: Path, collection: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    """As where `auto` comes to something else on another machine."""
    saved = state(interrupted / CHECKPOINT)
    saved["facts"]["precision"] = "bf16"
    torch.save(saved, interrupted / CHECKPOINT)
    pretrain(CONFIG, collection, interrupted, resume=True)
    assert "made with device cpu, ranks 1, precision bf16, batch 2, steps 16 and goes on with" in caplog.text
    assert "its losses will not be those of a run never stopped" in caplog.text


@pytest.mark.parametrize(
    "entry", ["model", "optimizer", "step", "videos", "failures", "supply", "facts", "watch", "skipped"]
)
def test_a_checkpoint_of_a_version_that_kept_less_is_refused(
    entry: str, whole: Path, collection: Collection, tmp_path: Path
) -> None:
    saved = state(whole / CHECKPOINT)
    del saved[entry]
    torch.save(saved, tmp_path / CHECKPOINT)
    with pytest.raises(CheckpointError, match=f"another version of kinevec, whose checkpoints lack {entry}"):
        pretrain(CONFIG, collection, tmp_path, resume=True)


@pytest.mark.parametrize("after", ["save_checkpoint", "save_encoder"])
def test_a_kill_between_the_files_of_a_checkpoint_is_made_good(
    after: str, collection: Collection, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint of the best epoch is there, its encoder or its name is not."""
    best = state(whole / CHECKPOINT)["watch"]["best"]["step"]
    write = getattr(keeper, after)

    def dying(folder: Path, content: Any, *rest: Any, **more: Any) -> None:
        write(folder, content, *rest, **more)
        if state(folder / CHECKPOINT)["step"] == best:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(keeper, after, dying)
        with pytest.raises(Killed):
            pretrain(CONFIG, collection, tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run", lambda *_: None)  # taking it up is enough
        pretrain(CONFIG, collection, tmp_path / "run", resume=True)
    for name in (BEST_ENCODER, ENCODER):
        loaded = encoders.load(tmp_path / "run" / name)
        assert loaded.step == best
        weights = state(tmp_path / "run" / BEST)["model"]
        assert torch.equal(weights["rgb.encoder.stem.0.weight"], loaded.encoder.stem[0].weight)


def test_a_disk_that_fills_up_between_two_checkpoints_leaves_the_first_whole(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, count = torch.save, 0

    def filling(content: object, path: Path) -> None:
        nonlocal count
        count += 1
        save(content, path)
        if count == 2:
            path.write_bytes(path.read_bytes()[:1000])
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", filling)
        with pytest.raises(OutputError, match=r"checkpoint\.pt cannot be written: No space left on device"):
            pretrain(CONFIG, collection, tmp_path / "run")
    assert state(tmp_path / "run" / CHECKPOINT)["step"] == 4
    assert encoders.load(tmp_path / "run" / ENCODER).step == 4


def poisoned(bad: set[int], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Makes the first pixel of the batches of these steps NaN; returns the steps that are computed."""
    to_clips, computed = trainer.to_clips, []

    def poisoning(batch: Batch, config: Config, device: torch.device, step: int, *rest: Any) -> Any:
        clips = to_clips(batch, config, device, step, *rest)
        computed.append(step)
        if step in bad:
            clips.rgb[0][0, 0, 0, 0, 0] = float("nan")
        return clips

    monkeypatch.setattr(trainer, "to_clips", poisoning)
    return computed


def test_a_broken_batch_is_left_out_where_that_is_asked_for(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The run ends as one that never saw those batches."""
    config = replace(changed(on_nan="skip"), data=Data(workers=1))
    with monkeypatch.context() as patch:
        computed = poisoned({2, 9}, patch)
        run = pretrain(config, collection, tmp_path / "run")
    assert computed == [0, 1, 2, 3, 0, 1, 3, 4, 5, 6, 7, 8, 9, 8, 10, 11, 12, 13, 14, 15]
    assert state(run / CHECKPOINT)["skipped"] == [2, 9]
    said = [message for message in caplog.messages if "on without that batch" in message]
    assert "instance, loss, gradient not finite at step 3 of 16 (batch of" in said[0]
    assert "back to step 0" in said[0]
    assert "not finite at step 10 of 16" in said[1]
    assert "back to step 8" in said[1]
    assert len(json.loads((run / FAULTS).read_text())["videos"]) == 2
    with monkeypatch.context() as patch:
        made = Trainer.__init__

        def knowing(self: Trainer, *arguments: Any) -> None:
            made(self, *arguments)
            self.skipped = {2, 9}

        patch.setattr(Trainer, "__init__", knowing)
        other = pretrain(config, collection, tmp_path / "other")
    assert_same_end(run, other)
    assert [step for step, _ in losses(run)] == [4, 8, 10, 12, 16]


def test_a_first_epoch_that_is_left_out_whole_is_no_best_one(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = poisoned({0, 1, 2, 3}, monkeypatch)
    run = pretrain(changed(on_nan="skip"), collection, tmp_path / "run")
    assert computed[-12:] == list(range(4, 16))
    best = state(run / CHECKPOINT)["watch"]["best"]
    assert best is None or best["step"] > 4


def test_what_was_left_out_stays_out_after_a_resume(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = changed(on_nan="skip")
    with monkeypatch.context() as patch:
        poisoned({5}, patch)
        patch.setattr(Trainer, "save", kill_after(4))
        with pytest.raises(Killed):
            pretrain(config, collection, tmp_path / "run")
    assert state(tmp_path / "run" / CHECKPOINT)["step"] == 12
    with monkeypatch.context() as patch:
        computed = poisoned({5}, patch)
        pretrain(config, collection, tmp_path / "run", resume=True)
    assert computed == [12, 13, 14, 15]
    assert state(tmp_path / "run" / CHECKPOINT)["skipped"] == [5]


def test_when_every_batch_breaks_it_is_not_the_batches(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned(set(range(4, STEPS)), monkeypatch)
    with pytest.raises(
        TrainingError, match=r"after 10 other batches were left out .* it is not the videos; the last"
    ):
        pretrain(changed(on_nan="skip", epochs=6), collection, tmp_path / "run")
    assert MOST_SKIPPED == 10
    assert state(tmp_path / "run" / CHECKPOINT)["step"] == 12  # two epochs in which every batch was left out
    assert all(value.isfinite().all() for value in state(tmp_path / "run" / CHECKPOINT)["model"].values())


def test_weights_that_break_without_a_loss_that_does_are_never_saved(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.train_step

    def breaking(self: Trainer, batch: Batch) -> tuple[Losses, torch.Tensor]:
        found = step(self, batch)
        if self.step == 8:
            self.model.rgb.queue.keys[0, 0] = float("inf")
        return found

    monkeypatch.setattr(Trainer, "train_step", breaking)
    with pytest.raises(
        TrainingError, match=r"1 weights of the model \(rgb\.queue\.keys, …\) not finite at step 8 of 16"
    ):
        pretrain(CONFIG, collection, tmp_path / "run")
    assert state(tmp_path / "run" / CHECKPOINT)["step"] == 4


def test_how_long_something_was_wrong_is_known_after_a_resume(
    interrupted: Path, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinevec.train.alarms.SETTLED", 0)
    monkeypatch.setattr("kinevec.train.alarms.WAITING", 2.0)
    monkeypatch.setattr("kinevec.train.alarms.SPREAD", 3.0)
    saved = state(interrupted / CHECKPOINT)
    saved["watch"]["alarms"] = {"collapse": 70}
    torch.save(saved, interrupted / CHECKPOINT)
    pretrain(CONFIG, collection, interrupted, resume=True)
    assert state(interrupted / CHECKPOINT)["watch"]["alarms"] == {"collapse": 73}  # looks at 10, 12 and 16


def test_a_run_that_goes_wrong_says_so_once_in_the_log_and_in_its_status(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("kinevec.train.alarms.SETTLED", 0)
    monkeypatch.setattr("kinevec.train.alarms.WAITING", 2.0)  # the clock of a busy machine
    monkeypatch.setattr("kinevec.train.alarms.SPREAD", 3.0)  # so that every run looks collapsed
    statuses: list[Status] = []
    pretrain(changed(epochs=6), collection, tmp_path / "run", on_status=statuses.append)
    assert [status.ailing for status in statuses] == [()] * (PATIENCE - 1) + [("collapse",)] * (
        len(statuses) - PATIENCE + 1
    )
    said = [message for message in caplog.messages if "the embeddings collapse" in message]
    entries = [entry for entry in read_log(tmp_path / "run") if "warnings" in entry]
    assert len(said) == len(entries) == 1
    assert said[0] == f"step {entries[0]['step']}: {entries[0]['warnings'][0]}"
    assert not (tmp_path / "run" / BEST).exists()  # a collapsed encoder is never the best
    saved = state(tmp_path / "run" / CHECKPOINT)["watch"]["alarms"]
    assert saved == {"collapse": len(statuses)}
    assert not multiprocessing.active_children()
