"""Files of a run are whole or absent, and say when they do not fit."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kinevec.config import Config, Model, Train
from kinevec.data.whole import write_text, write_whole
from kinevec.errors import CheckpointError, InputError, OutputError
from kinevec.train.checkpoint import (
    CHECKPOINT,
    ENCODER,
    load_checkpoint,
    load_encoder,
    save_checkpoint,
    save_encoder,
    untrained_encoder,
)

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
    save_checkpoint(tmp_path, {}, CONFIG)
    other = replace(CONFIG, train=replace(CONFIG.train, lr=0.5), model=Model("r3d18"))
    with pytest.raises(CheckpointError, match=r"model.name: tiny → r3d18; train.lr: 0.02 → 0.5"):
        load_checkpoint(tmp_path, other)


def test_missing_and_damaged_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint to resume from"):
        load_checkpoint(tmp_path, CONFIG)
    save_checkpoint(tmp_path, {"model": torch.zeros(1000)}, CONFIG)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path, CONFIG)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "hacked"),)

    torch.save({"config": Evil()}, tmp_path / CHECKPOINT)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path, CONFIG)
    assert not (tmp_path / "hacked").exists()


def test_encoder_comes_back_with_its_configuration(tmp_path: Path) -> None:
    encoder = untrained_encoder(CONFIG)
    save_encoder(tmp_path, encoder, CONFIG, step=12)
    for place in (tmp_path, tmp_path / ENCODER):
        loaded, config, step = load_encoder(place)
        assert config == CONFIG
        assert step == 12
        for name, value in encoder.state_dict().items():
            assert torch.equal(value, loaded.state_dict()[name])


def test_encoders_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is it the folder of a run"):
        load_encoder(tmp_path)
    with pytest.raises(InputError, match="no such run"):
        load_encoder(tmp_path / "missing")
    save_encoder(tmp_path, untrained_encoder(CONFIG), replace(CONFIG, model=Model("r3d18")), 1)
    with pytest.raises(CheckpointError, match="do not fit the encoder 'r3d18'"):
        load_encoder(tmp_path)
    (tmp_path / ENCODER).write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="damaged"):
        load_encoder(tmp_path)


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


def test_a_full_disk_while_saving_weights(tmp_path: Path) -> None:
    """torch.save and safetensors report a full disk in ways of their own."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    save_checkpoint(tmp_path, {"step": 1}, CONFIG)
    (tmp_path / f".{CHECKPOINT}.{os.getpid()}.part").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="cannot be written"):
        save_checkpoint(tmp_path, {"step": 2, "model": torch.zeros(10_000)}, CONFIG)
    assert load_checkpoint(tmp_path, CONFIG)["step"] == 1
