"""Audits and looks of finished cells: the person cut out by the set before black, collected without places."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import audits
import looks
import numpy as np
import pytest
import records
from cells import Cell, run_cell
from rows import SETTINGS, SUPERVISED, UNTRAINED
from scenes import Look
from sets import write_sets

from kinevec import encoders
from kinevec.data import find_records
from kinevec.errors import InputError, OutputError
from kinevec.show.affinity import affinity
from kinevec.show.look import look
from kinevec.train.checkpoint import save_encoder, untrained_encoder

QUICK = {"train.epochs": 1, "train.warmup_epochs": 0, "clip.stride": 2, "clip.size": 32, "train.batch": 4}


@pytest.fixture(scope="module")
def work(depth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited")
    write_sets(depth, folder, Look(size=32), kinds=("unbiased", "original"))
    return folder


def test_an_audit_is_made_once_and_collected(
    work: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    cell = Cell("moco", "unbiased", 0, "cpu", None, QUICK, "quick")
    place = work / "audits" / "cpu" / "unbiased" / "chosen" / "seed0.json"
    begun = cell.folder(work) / "run"
    begun.mkdir(parents=True)
    save_encoder(begun, untrained_encoder(cell.config), cell.config, 3)  # as of a cell that is being trained
    with pytest.raises(InputError, match="is not done"):
        audits.audited(work, [cell], place)
    run_cell(cell, work, threading.Event())
    audits.audited(work, [cell], place)
    written = place.stat().st_mtime_ns
    audits.audited(work, [cell], place)
    assert place.stat().st_mtime_ns == written
    assert "MoCo" in place.with_suffix(".html").read_text("utf-8")
    path = audits.collect_audits(work, "cpu")
    moco, untrained = json.loads(path.read_text("utf-8"))["audits"]
    assert (moco["row"], moco["setting"], moco["seed"]) == ("moco", "quick", 0)
    assert (untrained["row"], untrained["setting"]) == ("untrained", "as preset")
    assert moco["figures"]["follows"]  # the masks were found, so backgrounds could be swapped
    assert str(work) not in path.read_text("utf-8")
    content = json.loads(path.read_text("utf-8"))
    content["audits"][0]["row"] = "mscl"  # of another machine
    path.write_text(json.dumps(content), "utf-8")
    audits.collect_audits(work, "cpu")
    kept = json.loads(path.read_text("utf-8"))["audits"]
    assert [one["row"] for one in kept] == ["moco", "mscl", "untrained"]
    path.write_text(json.dumps(content | {"protocol": {"clips": 9}}), "utf-8")
    with pytest.raises(OutputError, match="protocol: clips is 2, was 9"):
        audits.collect_audits(work, "cpu")


def test_looks_are_means_over_test_videos(
    work: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    cell = Cell(UNTRAINED, "unbiased", 0, "cpu", None, QUICK, "quick")
    run_cell(cell, work, threading.Event())
    content = json.loads(looks.looked(work, "cpu", [cell]).read_text("utf-8"))
    assert content["videos"] == 2  # of eight, one in four
    (one,) = content["looks"]
    loaded = {"it": encoders.load(cell.folder(work) / "run")}
    videos = [record for record in find_records(work / "sets" / "unbiased") if record.split == "test"]
    seen = [look(loaded, videos[place].path).seen["it"] for place in (0, 4)]
    assert one["same place"] == pytest.approx(np.mean([each.affinity.same_place for each in seen]))
    assert one["same time"] == pytest.approx(np.mean([each.affinity.same_time for each in seen]))
    a, b = (each.features for each in seen)
    count = min(len(a.rgb), len(b.rgb))  # the second is shown with the differences of the first
    mixed = affinity(replace(b, rgb=b.rgb[:count], motion=a.motion[:count])).same_place
    assert one["place alone"] == pytest.approx(mixed)
    assert one["place alone"] != pytest.approx(seen[1].affinity.same_place)
    again = Cell(UNTRAINED, "unbiased", 1, "cpu", None, QUICK, "quick")
    run_cell(again, work, threading.Event())
    found = json.loads(looks.looked(work, "cpu", [again]).read_text("utf-8"))["looks"]
    assert [each["seed"] for each in found] == [0, 1]
    assert found[0] == one
    assert one["follows speed"] == pytest.approx(np.mean([each.on_motion for each in seen]))
    assert audits.cell_of(UNTRAINED, "unbiased", 0, "cpu", "any hue").called == "as preset"


def test_encoders_are_of_the_setting_that_was_chosen_or_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audits, "chosen_settings", lambda size: {"fima": "any hue"})
    assert audits.cell_of("fima-pixel", "biased", 1, "cpu", None).called == "any hue"
    assert audits.cell_of("moco", "biased", 1, "cpu", None).called == "as preset"
    assert audits.cell_of("fima", "biased", 1, "cpu", "as preset").setting == SETTINGS["as preset"]
    assert audits.cell_of(SUPERVISED, "biased", 1, "cpu", "any hue").called == "as preset"
