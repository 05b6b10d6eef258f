"""Nothing in a file of weights runs, and what is wrong with one is said."""

import argparse
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from kinevec import encoders
from kinevec.encoders.weights import fitted, read_safetensors, read_weights, shape_only
from kinevec.errors import CheckpointError, ConfigError, InputError
from kinevec.models import ENCODERS, build_encoder


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.pth.tar", "a.bin", "a.safetensors"])
@pytest.mark.parametrize("writer", ["torch", "torch, old format", "pickle"])
def test_a_pickle_that_would_act_does_not(name: str, writer: str, tmp_path: Path) -> None:
    path, hacked = tmp_path / name, tmp_path / "hacked"
    content = {"state_dict": {"stem.0.weight": torch.ones(2)}, "epoch": Evil(hacked)}
    if writer == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=writer == "torch")
    for read in (read_weights, encoders.load):
        with pytest.raises(CheckpointError, match=name):
            read(path)
    assert not hacked.exists()


def test_what_would_have_been_run_is_named_with_a_way_out(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(1)}, "when": Evil(tmp_path / "x")}, tmp_path / "a.pth")
    with pytest.raises(
        CheckpointError, match=r"holds Python objects \(posix.mkdir\), .* was not read.*torch.save"
    ):
        read_weights(tmp_path / "a.pth")


@pytest.mark.parametrize("nested", [None, "state_dict", "model_state", "model"])
def test_weights_are_found_where_checkpoints_keep_them(nested: str | None, tmp_path: Path) -> None:
    state = OrderedDict(a=torch.ones(2), b=torch.zeros(3, dtype=torch.float16))
    others = {"epoch": 3, "args": argparse.Namespace(lr=0.1), "optimizer": {"state": {0: torch.ones(9)}}}
    torch.save({**others, nested: state} if nested else state, tmp_path / "a.pth")
    found = read_weights(tmp_path / "a.pth")
    assert set(found) == {"a", "b"}
    assert torch.equal(found["a"], torch.ones(2))


@pytest.mark.parametrize("content", [{"epoch": 3}, [torch.ones(1)], torch.ones(1), {"state_dict": {}}])
def test_a_file_without_weights(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="holds no weights"):
        read_weights(tmp_path / "a.pth")


def test_files_that_are_not_there_or_damaged(tmp_path: Path) -> None:
    for name in ("a.pth", "a.safetensors"):
        with pytest.raises(InputError, match=rf"{name}: cannot be read: No such file"):
            read_weights(tmp_path / name)
    (tmp_path / "bytes.pth").write_bytes(bytes(range(1, 256)))
    with pytest.raises(CheckpointError, match=r"bytes.pth: damaged, or no file of weights"):
        read_weights(tmp_path / "bytes.pth")
    torch.save({"a": torch.ones(10_000)}, tmp_path / "cut.pth")
    save_file({"a": torch.ones(10_000)}, tmp_path / "cut.safetensors")
    for name in ("cut.pth", "cut.safetensors"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:20_000])
        with pytest.raises(CheckpointError, match=rf"{name}: damaged"):
            read_weights(path)


def test_a_pointer_of_git_lfs_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3628336\n")
    with pytest.raises(CheckpointError, match="git lfs pull"):
        read_safetensors(path)


def test_an_encoder_of_another_shape_is_refused_with_the_shapes() -> None:
    state = build_encoder("tiny").state_dict()
    state["stem.0.weight"] = torch.zeros(16, 1, 3, 7, 7)
    del state["layer1.0.conv2.0.weight"]
    with pytest.raises(CheckpointError) as error:
        fitted("tiny", state, Path("x.safetensors"))
    for part in ("x.safetensors", "'tiny'", "theirs (16, 1, 3, 7, 7)", "(16, 3, 3, 7, 7)", "conv2.0.weight"):
        assert part in str(error.value)
    with pytest.raises(ConfigError, match=r"x.safetensors: unknown encoder 'tinny'; did you mean 'tiny'"):
        fitted("tinny", state, Path("x.safetensors"))


def test_half_precision_becomes_single_and_lost_counters_zero_and_all_can_be_trained() -> None:
    state = build_encoder("tiny").state_dict()
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items() if "num_batches" not in k}
    encoder = fitted("tiny", half, Path("x"))
    got = encoder.state_dict()
    assert set(got) == set(state)
    for name, value in got.items():
        assert (value.dtype, value.device.type) == (state[name].dtype, "cpu")
        assert torch.equal(value, half[name].float() if name in half else torch.tensor(0))
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    encoder(torch.rand(2, 3, 4, 16, 16)).sum().backward()


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_can_be_filled_without_being_initialised(name: str) -> None:
    bare = shape_only(name)
    assert all(value.device.type == "meta" for value in (*bare.parameters(), *bare.buffers()))
    names = {key for key, _ in (*bare.named_parameters(), *bare.named_buffers())}
    assert names == set(bare.state_dict())  # nothing stays without memory
