"""An export that is killed, at any of the moments at which it changes a folder, loses no model."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from kinevec import encoders
from kinevec.config import Config, Model
from kinevec.encoders import Loaded
from kinevec.encoders.layout import OLD, PART, aside, check_place, kept_aside
from kinevec.errors import InputError
from kinevec.exchange.export import export
from kinevec.models import build_encoder
from kinevec.runtime import seeded

EVENTS = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree")


def model(seed: int) -> Loaded:
    with seeded(seed):
        return Loaded(build_encoder("tiny"), Config(model=Model("tiny")), "made up", seed)


def killed_at(moment: int, loaded: Loaded, out: Path) -> bool:
    """Exports in a process that is killed before its system call of this number; whether it came so far."""
    child = os.fork()
    if child == 0:
        left = [moment]

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            if event in EVENTS and str(out.parent) in str(arguments[0]):
                if not left[0]:
                    os._exit(9)
                left[0] -= 1

        sys.addaudithook(watch)
        try:
            export(loaded, out)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_at_every_moment_a_whole_model_is_found_and_the_next_export_tidies_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # for power cuts; a kill needs none
    before, after, out = model(1), model(2), tmp_path / "model"
    moment, only_aside = 0, 0
    while True:
        export(before, out)
        assert os.listdir(tmp_path) == ["model"]  # what the one that was killed left is gone
        if not killed_at(moment, after, out):
            break
        only_aside += not out.exists()
        check_place(out)
        found = encoders.load(out).identity
        assert found in (before.identity, after.identity), moment
        if out.exists():  # and somebody removes the model: what is left aside is whole, or is no model
            shutil.rmtree(out)
            if kept_aside(out):
                assert encoders.load(out).identity == before.identity, moment
        moment += 1
    assert moment >= 6
    assert only_aside >= 1  # between both renames
    assert encoders.load(out).identity == after.identity


def test_what_was_before_is_back_where_the_next_export_fails_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    out = export(model(1), tmp_path / "model")
    out.rename(aside(out, 4_194_305, OLD))  # a process of this number cannot be
    identity = encoders.load(out).identity
    assert "an export into it was killed; read as it was before" in caplog.text
    monkeypatch.setattr("kinevec.exchange.export.card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(model(2), out)
    assert os.listdir(tmp_path) == ["model"]
    assert encoders.load(out).identity == identity == model(1).identity
    assert "the model before it is back" in caplog.text


def test_folders_of_exports_that_live_and_of_others_are_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "model"
    for kept in (
        aside(out, os.getppid(), PART),
        aside(tmp_path / "model2", 4_194_305, PART),
        tmp_path / ".model.x.old",
    ):
        kept.mkdir()
    before = sorted(os.listdir(tmp_path))
    export(model(1), out)
    assert sorted(os.listdir(tmp_path)) == sorted([*before, "model"])
    with pytest.raises(InputError, match="no such run, folder or file"):
        check_place(tmp_path / "model3")
