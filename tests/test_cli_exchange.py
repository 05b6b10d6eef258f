"""`kinevec export` and `convert` as a person types them."""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from kinevec import encoders
from kinevec.cli import app
from kinevec.config import Config
from kinevec.errors import CheckpointError, InputError
from kinevec.models import build_encoder
from kinevec.train.checkpoint import save_encoder
from reference import released


def said(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_export_says_where_and_how_to_load(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    save_encoder(run, build_encoder("tiny"), Config(), 3)
    text = said("export", run, "-o", tmp_path / "model")
    assert f"Written to {tmp_path / 'model'}." in text
    assert f"kinevec.load('{tmp_path / 'model'}')" in text
    assert encoders.load(tmp_path / "model").identity == encoders.load(run).identity


def test_convert_says_what_became_of_every_entry(tmp_path: Path) -> None:
    state = {f"module.encoder_q.{k}": torch.zeros(()).expand(v) for k, v in released.state_shapes().items()}
    others = {f"module.{k}": torch.ones(2) for k in ("encoder_k.x.y", "queue", "encoder_q.projector.0.bias")}
    torch.save({"state_dict": state | others}, tmp_path / "c.pth.tar")
    text = said("convert", tmp_path / "c.pth.tar", "-o", tmp_path / "m", "--from", "fima", "--frames", "8")
    assert "fima: i3d: 8 frames of 224×224 at stride 2 → 1024 numbers" in text
    assert (
        f"{len(state)} weights converted; 1 not in the name map (module.encoder_q.projector.0.bias)" in text
    )
    assert "left out on purpose: 2 (module.encoder_k, module.queue)" in text
    assert f"kinevec eval {tmp_path / 'm'}" in text
    assert encoders.load(tmp_path / "m").config.clip.frames == 8


def test_what_cannot_be_done_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pth")
    run = CliRunner().invoke
    assert isinstance(
        run(app, ["convert", str(tmp_path / "a.pth"), "-o", str(tmp_path / "m")]).exception, CheckpointError
    )
    assert isinstance(
        run(app, ["export", str(tmp_path / "no"), "-o", str(tmp_path / "m")]).exception, InputError
    )
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("command", ["export", "convert"])
def test_help_says_what_it_reads_writes_and_costs(command: str) -> None:
    text = said(command, "--help")
    for word in ("Reads", "Writes", "Cost"):
        assert word in text
