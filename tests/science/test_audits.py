"""Audits of finished cells: the person cut out by the set before black, made once, collected without places."""

import json
import threading
from pathlib import Path

import audits
import pytest
from cells import Cell, run_cell
from rows import SETTINGS, SUPERVISED
from scenes import Look
from sets import write_sets

from kinevec.errors import InputError

QUICK = {"train.epochs": 1, "train.warmup_epochs": 0, "clip.stride": 2, "clip.size": 32, "train.batch": 4}


@pytest.fixture(scope="module")
def work(depth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited")
    write_sets(depth, folder, Look(size=32), kinds=("unbiased", "original"))
    return folder


def test_an_audit_is_made_once_and_collected(
    work: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(audits, "RESULTS", tmp_path)
    cell = Cell("moco", "unbiased", 0, "cpu", None, QUICK, "quick")
    place = work / "audits" / "cpu" / "unbiased" / "chosen" / "seed0.json"
    with pytest.raises(InputError):
        audits.audited(work, [cell], place)
    run_cell(cell, work, threading.Event())
    audits.audited(work, [cell], place)
    written = place.stat().st_mtime_ns
    audits.audited(work, [cell], place)
    assert place.stat().st_mtime_ns == written
    assert "MoCo" in place.with_suffix(".html").read_text("utf-8")
    path = audits.collect_audits(work, "cpu")
    (found,) = json.loads(path.read_text("utf-8"))["audits"]
    assert found["settings"] == {"MoCo": "quick"}
    assert set(found["figures"]) == {"MoCo", "untrained"}
    assert found["figures"]["MoCo"]["follows"]  # the masks were found, so backgrounds could be swapped
    assert str(work) not in path.read_text("utf-8")


def test_encoders_are_of_the_setting_that_was_chosen_or_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audits, "chosen_settings", lambda size: {"fima": "any hue"})
    assert audits.cell_of("fima-pixel", "biased", 1, "cpu", None).called == "any hue"
    assert audits.cell_of("moco", "biased", 1, "cpu", None).called == "as preset"
    assert audits.cell_of("fima", "biased", 1, "cpu", "as preset").setting == SETTINGS["as preset"]
    assert audits.cell_of(SUPERVISED, "biased", 1, "cpu", "any hue").called == "as preset"
