"""Files of a run are whole or absent, and say when they do not fit."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from kinevec.config import INCIDENTAL, Config, Model, Train
from kinevec.data.whole import write_text, write_whole
from kinevec.encoders import load
from kinevec.errors import CheckpointError, OutputError
from kinevec.train.checkpoint import (
    CHECKPOINT,
    ENCODER,
    clear_parts,
    copy_whole,
    earlier,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
    save_encoder,
    untrained_encoder,
)
from kinevec.train.resume import check_fits

CONFIG = Config(model=Model("tiny"), train=Train(seed=3))


def test_state_comes_back(tmp_path: Path) -> None:
    state = {"step": 7, "model": {"w": torch.arange(5.0)}, "failures": {"a b.mp4": 2}}
    save_checkpoint(tmp_path, state, CONFIG)
    loaded = load_checkpoint(tmp_path, CONFIG)
    assert loaded["step"] == 7
    assert loaded["failures"] == {"a b.mp4": 2}
    assert torch.equal(loaded["model"]["w"], torch.arange(5.0))
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]


def test_another_configuration_is_refused_with_the_differences(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"step": 1}, CONFIG)
    other = replace(CONFIG, train=replace(CONFIG.train, lr=0.5), model=Model("r3d18"))
    with pytest.raises(CheckpointError, match=r"model.name: tiny → r3d18; train.lr: 0.02 → 0.5"):
        load_checkpoint(tmp_path, other)


def test_missing_and_damaged_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint to resume from"):
        load_checkpoint(tmp_path, CONFIG)
    save_checkpoint(tmp_path, {"step": 1, "model": torch.zeros(1000)}, CONFIG)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt: damaged, cannot be read \(File is not a zip"):
        load_checkpoint(tmp_path, CONFIG)
    torch.save({"model": 1}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of kinevec"):
        load_checkpoint(tmp_path, CONFIG)


def flip(path: Path, place: int = -20_000) -> None:
    """Changes one bit, in the middle of the weights."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_single_changed_bit_is_noticed(tmp_path: Path) -> None:
    """PyTorch itself reads such a file without a word."""
    save_checkpoint(tmp_path, {"step": 1, "model": torch.zeros(10_000)}, CONFIG)
    flip(tmp_path / CHECKPOINT)
    assert float(torch.load(tmp_path / CHECKPOINT, weights_only=True)["model"].abs().max()) > 0
    with pytest.raises(CheckpointError, match=r"damaged, cannot be read .wrong checksum of"):
        load_checkpoint(tmp_path, CONFIG)


def save(folder: Path, step: int, previous: int | None, keep: int = 3) -> None:
    save_checkpoint(
        folder, {"step": step, "model": torch.full((10_000,), step)}, CONFIG, previous=previous, keep=keep
    )


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    steps = [8, 9, 10, 11, 100]
    for previous, step in zip([None, *steps], steps, strict=False):
        save(tmp_path, step, previous)
    assert files(tmp_path) == ["checkpoint-10.pt", "checkpoint-11.pt", "checkpoint.pt"]
    assert [step for step, _ in earlier(tmp_path)] == [11, 10]  # by number, not by name
    for step, path in earlier(tmp_path):
        assert torch.load(path, weights_only=True)["model"].unique().tolist() == [step]
    save(tmp_path, 110, 100, keep=1)
    assert files(tmp_path) == ["checkpoint.pt"]


def test_what_lies_ahead_of_a_run_that_went_back_is_not_kept(tmp_path: Path) -> None:
    for previous, step in ((None, 10), (10, 20), (20, 30)):
        save(tmp_path, step, previous)
    save(tmp_path, 20, 10)  # such as after best.pt was taken for checkpoint.pt
    assert files(tmp_path) == ["checkpoint-10.pt", "checkpoint.pt"]


def test_a_damaged_newest_one_gives_way_to_the_one_before(tmp_path: Path) -> None:
    for previous, step in ((None, 10), (10, 20), (20, 30)):
        save(tmp_path, step, previous)
    whole = load_checkpoint(tmp_path, CONFIG)
    assert (whole["step"], whole["file"], whole["damaged"]) == (30, CHECKPOINT, [])
    flip(tmp_path / CHECKPOINT)
    state = load_checkpoint(tmp_path, CONFIG)
    assert (state["step"], state["file"], state["model"].unique().tolist()) == (20, "checkpoint-20.pt", [20])
    assert "checkpoint.pt: damaged" in state["damaged"][0]
    (tmp_path / "checkpoint-20.pt").write_bytes(b"")
    assert load_checkpoint(tmp_path, CONFIG)["step"] == 10
    (tmp_path / CHECKPOINT).unlink()
    assert has_checkpoint(tmp_path)
    assert load_checkpoint(tmp_path, CONFIG)["step"] == 10
    (tmp_path / "checkpoint-10.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"checkpoint-20\.pt: damaged.*; .*checkpoint-10\.pt: damaged"):
        load_checkpoint(tmp_path, CONFIG)


def test_other_settings_do_not_make_it_look_further_back(tmp_path: Path) -> None:
    save(tmp_path, 10, None)
    other = replace(CONFIG, train=replace(CONFIG.train, lr=0.5))
    save_checkpoint(tmp_path, {"step": 20}, other, previous=10, keep=3)
    with pytest.raises(CheckpointError, match=r"train.lr: 0.5 → 0.02"):
        load_checkpoint(tmp_path, CONFIG)


def test_settings_that_change_no_number_may_change(tmp_path: Path) -> None:
    """All of them, each to a value that differs."""
    changes: dict[str, dict[str, Any]] = {
        "data": {"workers": 7, "store_limit_gb": 1.5, "failed_share": 0.7},
        "train": {"device": "cuda:3", "save_every": 11, "keep": 5, "on_nan": "skip"},
        "log": {"wandb": "moves"},
    }
    assert {f"{section}.{key}" for section, keys in changes.items() for key in keys} == INCIDENTAL
    other = replace(
        CONFIG, **{name: replace(getattr(CONFIG, name), **keys) for name, keys in changes.items()}
    )
    save(tmp_path, 10, None)
    assert load_checkpoint(tmp_path, other)["step"] == 10
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path, replace(other, data=replace(other.data, held_out=0.5)))
    assert "another configuration: data.held_out: 0.25 → 0.5. Resume" in str(caught.value)


def test_a_configuration_of_another_version_is_not_called_damage(tmp_path: Path) -> None:
    save(tmp_path, 10, None)
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    state["config"]["train"]["magic"] = 3
    torch.save(state, tmp_path / CHECKPOINT)
    with pytest.raises(CheckpointError, match=r"another version of kinevec.*unknown key 'train\.magic'"):
        load_checkpoint(tmp_path, CONFIG)


def test_a_second_name_does_not_follow_the_first(tmp_path: Path) -> None:
    """Nor does a name left by a killed process of the same number lead to the file it once stood for."""
    (tmp_path / "a").write_text("old")
    copy_whole(tmp_path / "a", tmp_path / "b")
    write_text(tmp_path / "a", "new")
    assert (tmp_path / "b").read_text() == "old"
    os.link(tmp_path / "b", tmp_path / f".c.{os.getpid()}.part")
    copy_whole(tmp_path / "a", tmp_path / "c")
    assert [(tmp_path / name).read_text() for name in "abc"] == ["new", "old", "new"]
    copy_whole(tmp_path / "a", tmp_path / "c")  # already the same file
    assert files(tmp_path) == ["a", "b", "c"]


def test_where_files_cannot_have_two_names_they_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    for previous, step in ((None, 10), (10, 20)):
        save(tmp_path, step, previous)
    assert load_checkpoint(tmp_path, CONFIG)["step"] == 20
    assert torch.load(tmp_path / "checkpoint-10.pt", weights_only=True)["step"] == 10
    with pytest.raises(OutputError, match=r"missing.* cannot be written"):
        copy_whole(tmp_path / "nothing", tmp_path / "missing")


def test_what_a_kill_left_is_cleared(tmp_path: Path) -> None:
    for name in (".checkpoint.pt.77.part", ".encoder.safetensors.77.part", "notes.part"):
        (tmp_path / name).touch()
    clear_parts(tmp_path)
    assert files(tmp_path) == ["notes.part"]


def test_weights_of_another_architecture_are_listed(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self, wide: int, more: int) -> None:
            super().__init__()
            self.first = nn.Linear(2, wide)
            self.rest = nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(more))

    saved = Net(3, 1).state_dict()
    check_fits(tmp_path, Net(3, 1), saved)
    with pytest.raises(CheckpointError) as caught:
        check_fits(tmp_path, Net(4, 0), saved)
    assert str(caught.value).startswith(
        f"{tmp_path}: holds another architecture: rest.0.weight is not in the model; first.weight has shape (3, 2) in "
        "the checkpoint, (4, 2) in the model; first.bias has shape (3,) in the checkpoint, (4,) in the model. Resume"
    )
    with pytest.raises(
        CheckpointError, match=r"rest\.5\.weight is not in the checkpoint; and 2 more\. Resume"
    ):
        check_fits(tmp_path, Net(3, 8), saved)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "hacked"),)

    torch.save({"config": Evil(), "step": 1}, tmp_path / CHECKPOINT)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path, CONFIG)
    assert not (tmp_path / "hacked").exists()


def test_encoder_comes_back_with_its_configuration(tmp_path: Path) -> None:
    encoder = untrained_encoder(CONFIG)
    save_encoder(tmp_path, encoder, CONFIG, step=12)
    for place in (tmp_path, tmp_path / ENCODER):
        loaded = load(place)
        assert loaded.config == CONFIG
        assert loaded.step == 12
        for name, value in encoder.state_dict().items():
            assert torch.equal(value, loaded.encoder.state_dict()[name])
    save_checkpoint(tmp_path, {"step": 1}, CONFIG)
    modes = {(tmp_path / name).stat().st_mode for name in (CHECKPOINT, ENCODER)}
    assert len(modes) == 1  # whoever can read one can read the other


def test_untrained_encoder_depends_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = untrained_encoder(CONFIG).stem[0].weight
    state = torch.get_rng_state()
    again = untrained_encoder(CONFIG).stem[0].weight
    assert torch.equal(first, again)
    assert torch.equal(state, torch.get_rng_state())
    other = untrained_encoder(replace(CONFIG, train=Train(seed=4))).stem[0].weight
    assert not torch.equal(first, other)


def test_a_failed_write_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    write_text(path, "old")

    def fail(aside: Path) -> None:
        aside.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"notes.txt cannot be written: No space left on device"):
        write_whole(path, fail)
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["notes.txt"]


@contextmanager
def little_room(room: int) -> Iterator[None]:
    """No file can grow beyond so many bytes: writing fails midway, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_while_saving_weights(tmp_path: Path) -> None:
    """torch.save reports a full disk in a way of its own."""
    save_encoder(tmp_path, untrained_encoder(CONFIG), CONFIG, 1)
    save(tmp_path, 1, None)
    with little_room(20_000):
        with pytest.raises(OutputError, match=r"checkpoint\.pt cannot be written"):
            save(tmp_path, 2, 1)
        with pytest.raises(OutputError, match=r"encoder\.safetensors cannot be written"):
            save_encoder(tmp_path, untrained_encoder(CONFIG), CONFIG, 2)
    assert load_checkpoint(tmp_path, CONFIG)["step"] == 1
    assert load(tmp_path).step == 1
    assert files(tmp_path) == ["checkpoint-1.pt", CHECKPOINT, ENCODER]
