"""What is given in place of weights of others is named, and what is wanted."""

import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from kinevec.config import Config, Model
from kinevec.encoders import Loaded, recognise
from kinevec.encoders.foreign import bring
from kinevec.encoders.recognise import WANTED, check_weights
from kinevec.encoders.weights import CHECKPOINT as ENTRIES
from kinevec.errors import CheckpointError, InputError
from kinevec.exchange.export import export
from kinevec.models import build_encoder
from kinevec.train import resume
from kinevec.train.checkpoint import CHECKPOINT, ENCODER, save_checkpoint, save_encoder


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"import torch\nx = 1\n", f"is text, beginning with 'import torch'; {WANTED}"),
        ("läuft".encode(), "is text, beginning with 'läuft'"),
        (b"\n<!DOCTYPE html><html>", "is a web page, as where a download asks for a log-in"),
        (b"<HTML>404</HTML>", "is a web page"),
        (b"", "is empty (0 bytes)"),
        (b"\0" * 5_000, "begins with zeros only, as an unfinished download does"),
        (b"\0\0\0\x20ftypisom\0\0", "is a video; wanted"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
    ],
)
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a"])
def test_other_files_are_named_by_their_first_bytes(
    content: bytes, words: str, name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        bring(path)
    assert f"{path}: " in str(error.value)
    assert words in str(error.value)


def test_archives_of_others_are_told_from_pytorchs(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("weights.pth", b"1")
    with pytest.raises(CheckpointError, match="is a ZIP archive that PyTorch did not write; unpack it"):
        bring(tmp_path / "a.zip")
    for new in (True, False):
        torch.save({"a": torch.ones(1)}, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
        check_weights(tmp_path / "a.pth")
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors")
    check_weights(tmp_path / "a.safetensors")


def test_our_own_are_named_with_what_to_do(tmp_path: Path) -> None:
    encoder, config = build_encoder("tiny"), Config(model=Model("tiny"))
    run, out = tmp_path / "run", tmp_path / "model"
    run.mkdir()
    save_encoder(run, encoder, config, 3)
    save_checkpoint(run, {**{name: {} for name in resume.ENTRIES}, "step": 12}, config, previous=None, keep=1)
    export(Loaded(encoder, config, "made up", 0), out)
    for path in (run / ENCODER, out / "model.safetensors"):
        with pytest.raises(CheckpointError, match="is an encoder of kinevec, with nothing to convert"):
            bring(path)
    for stranger in (
        run / "other.safetensors",
        out / "other.safetensors",
    ):  # beside ours, or with a header of its own
        save_file({"a": torch.ones(1)}, stranger, {"config": "a: 1"})
        with pytest.raises(CheckpointError, match="of no kind that is known"):
            bring(stranger)
    with pytest.raises(
        CheckpointError, match=r"is a checkpoint of kinevec at step 12, .*encoder\.safetensors beside it"
    ):
        bring(run / CHECKPOINT)
    (tmp_path / "other").mkdir()
    for folder, words in (
        (run, "is a run of kinevec"),
        (out, "is a model that kinevec wrote"),
        (tmp_path / "other", "is a folder"),
    ):
        with pytest.raises(InputError) as error:
            bring(folder)
        assert f"{folder}: {words}" in str(error.value)
        assert WANTED in str(error.value)
    assert set(recognise.RUN) == {ENCODER, CHECKPOINT}
    assert set(resume.ENTRIES) | {"config"} >= ENTRIES
