"""Cells: resumable, never done twice, shared by processes, and judged on whom they were not trained on."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import run as runner
import torch
from cells import JUDGED, Cell, claimed, finished, run_cell, videos_of
from numpy.typing import NDArray
from rows import CANDIDATES, ROWS, SETTINGS, SUPERVISED, UNTRAINED, config_of
from scenes import Look
from sets import write_sets
from supervised import Recipe, train

from kinevec import config as configuration
from kinevec.data.decode import Clip
from kinevec.encoders import load
from kinevec.errors import DataError, Interrupted, OutputError
from kinevec.evaluate.encode import ClipEncoder

QUICK = {"train.epochs": 1, "train.warmup_epochs": 0, "clip.stride": 2, "clip.size": 32, "train.batch": 4}


@pytest.fixture(scope="module")
def work(depth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    write_sets(depth, folder, Look(size=32), kinds=("unbiased",))
    return folder


def cell(row: str, held: str | None = None, **more: object) -> Cell:
    return Cell(row, "unbiased", 0, "cpu", held, QUICK | more)


def test_rows_are_those_of_the_documentation() -> None:
    """Each row differs from the one before by the term that it is named after."""
    terms = {row: config_of(row, "cpu", {}, 0).terms.names for row in ROWS}
    assert terms["moco"] == terms["moco-symmetric"] == ["instance"]
    assert terms["mscl-flow"] == ["instance", "flow", "cross"]
    assert terms["mscl-local"] == ["instance", "flow", "cross", "local"]
    assert terms["mscl"] == terms["mscl-mds"] == ["instance", "flow", "cross", "rotated", "local"]
    assert terms["fima-vanilla"] == ["instance", "vanilla"]
    assert terms["fima-pixel"] == terms["fima-decoder"] == terms["fima-foreground"] == ["instance", "pixel"]
    assert terms["fima"] == ["instance", "pixel", "frame"]
    assert terms["union"] == ["instance", "local", "pixel", "frame"]
    fima = {row: config_of(row, "cpu", {}, 0).fima for row in ROWS}
    assert [
        (fima[f"fima-{row}"].decoder, fima[f"fima-{row}"].foreground)
        for row in ("pixel", "decoder", "foreground")
    ] == [
        (False, False),
        (True, False),
        (True, True),
    ]
    moving = [row for row in ROWS if config_of(row, "cpu", {}, 0).sampling.moving]
    assert moving == ["mscl-mds"]
    symmetric = [row for row in ROWS if config_of(row, "cpu", {}, 0).method.symmetric]
    assert symmetric == [
        "moco-symmetric",
        "fima-vanilla",
        "fima-pixel",
        "fima-decoder",
        "fima-foreground",
        "fima",
        "union",
    ]


def test_rows_share_clips_views_and_optimisation() -> None:
    for size in ("cpu", "gpu"):
        for name, setting in SETTINGS.items():
            configs = [config_of(row, size, setting, 5) for row in ROWS if row != SUPERVISED]
            for section in ("clip", "views", "model", "train", "data"):
                assert len({repr(getattr(config, section)) for config in configs}) == 1, (size, name, section)
            shared = {
                (c.method.queue, c.method.temperature, c.method.momentum, c.method.dim) for c in configs
            }
            assert len(shared) == 1
            assert configs[0].train.seed == 5


def test_held_out_people_are_judged_and_not_trained_on(work: Path) -> None:
    found = videos_of(work / "sets" / "unbiased", "b")
    who = {(record.group, record.split) for record in found.records}
    assert who == {("a", "train"), ("b", "test")}  # nobody of the true test split is there at all
    assert {(r.group, r.split) for r in videos_of(work / "sets" / "unbiased", None).records} == {
        ("a", "train"),
        ("b", "train"),
        ("c", "test"),
    }
    with pytest.raises(DataError, match="nobody called c"):
        videos_of(work / "sets" / "unbiased", "c")


def test_a_cell_is_done_once(work: Path) -> None:
    one = cell("moco")
    assert finished(one, work) is None
    found = run_cell(one, work, threading.Event())
    assert found["steps"] == 4  # 16 videos of two people, batches of 4
    assert found["data"]["test"] == 8
    assert 0 <= found["scores"]["background R@1"] <= 100
    assert finished(one, work) == json.loads(json.dumps(found))
    with pytest.raises(OutputError, match="other settings"):
        finished(cell("moco", **{"train.lr": 0.5}), work)


def test_untrained_and_supervised_cells(work: Path) -> None:
    floor = run_cell(cell(UNTRAINED), work, threading.Event())
    assert floor["steps"] == 0
    small = {"clip.stride": 2, "clip.size": 32, "train.batch": 4}
    top = Cell(SUPERVISED, "unbiased", 0, "cpu", "b", {})
    with pytest.MonkeyPatch.context() as patch:
        changed = tuple(f"{key}={value}" for key, value in (small | {"train.epochs": 3}).items())
        import rows

        patch.setitem(rows.SIZES, "cpu", rows.Size(changed, (), clips=2))
        found = run_cell(top, work, threading.Event())
        assert found["steps"] == 6
        assert found["scores"]["classifier top-1"] in [100 * n / 8 for n in range(9)]
        loaded = load(top.folder(work) / "run")
        assert ClipEncoder(loaded.encoder, loaded.config, "cpu")(
            np.zeros((1, 8, 32, 32, 3), np.uint8)
        ).shape == (1, 128)


def test_an_interrupted_cell_goes_on(work: Path) -> None:
    one = cell("moco-symmetric", **{"train.epochs": 2})
    with runner.budget(0.001) as stopped, pytest.raises(Interrupted):
        run_cell(one, work, stopped)
    assert finished(one, work) is None
    found = run_cell(one, work, threading.Event())
    assert found["steps"] == 8
    spent = json.loads((one.folder(work) / "spent.json").read_text())
    assert spent["seconds"] > found["spent"]["seconds"] * 0.5
    assert (one.folder(work) / JUDGED).is_file()


def test_only_one_process_claims_a_cell(tmp_path: Path) -> None:
    with claimed(tmp_path) as first:
        assert first
        with claimed(tmp_path) as second:
            assert not second
    with claimed(tmp_path) as again:
        assert again


class Memory:
    """Videos in memory."""

    def __init__(self, videos: list[NDArray[np.uint8]]) -> None:
        self.videos = videos

    def __len__(self) -> int:
        return len(self.videos)

    def frames(self, index: int) -> int:
        return len(self.videos[index])

    def read(self, index: int, numbers: list[int]) -> Clip:
        return Clip(self.videos[index][list(numbers)], tuple(numbers), np.asarray(numbers) / 30)


class After(threading.Event):
    """Set when it is asked for the n-th time."""

    def __init__(self, asked: int) -> None:
        super().__init__()
        self.left = asked

    def is_set(self) -> bool:
        self.left -= 1
        return self.left <= 0


def test_supervised_training_learns_and_resumes_exactly(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    dark, bright = (rng.integers(low, low + 60, (6, 20, 32, 32, 3), dtype=np.uint8) for low in (20, 160))
    source, labels = Memory([*dark, *bright]), [0] * 6 + [1] * 6
    config = configuration.load(
        "moco",
        [f"{k}={v}" for k, v in (QUICK | {"train.epochs": 6, "data.workers": 0, "views.jitter": 0}).items()],
    )
    model = train(config, Recipe(smoothing=0.0), source, labels, 2, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(config, Recipe(smoothing=0.0), source, labels, 2, tmp_path / "part", stopped=After(5))
    resumed = train(config, Recipe(smoothing=0.0), source, labels, 2, tmp_path / "part")
    for one, other in zip(model.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    named = torch.from_numpy(
        ClipEncoder(model.encoder, config, "cpu")(np.stack([video[:8] for video in source.videos]))
    )
    right = (model.head.cpu()(named).argmax(1) == torch.tensor(labels)).float().mean()
    assert right > 0.9


def test_cells_take_the_setting_of_the_row_that_was_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "chosen_settings", lambda size: {"fima": "smaller crops", "moco": "any hue"})
    line = "work --rows moco,mscl,fima-pixel,fima --sets biased --seeds 1"
    cells = list(runner.cells_of(runner.arguments_of(line.split())))
    assert [(c.row, c.called, c.kind, c.seed, c.held) for c in cells] == [
        ("moco", "any hue", "biased", 1, None),
        ("mscl", "as preset", "biased", 1, None),
        ("fima-pixel", "smaller crops", "biased", 1, None),
        ("fima", "smaller crops", "biased", 1, None),
    ]
    assert cells[3].config.views.area == cells[2].config.views.area == (0.3, 1.0)
    assert cells[0].config.views.hue == 0.5
    tried = list(runner.cells_of(runner.arguments_of(["work", "--search", "--held", "s3,s7"])))
    assert {c.row for c in tried} == {"moco", "mscl", "fima"}  # each as often as the others
    assert len(tried) == 2 * 3 * len(CANDIDATES)
    assert {(c.kind, c.seed) for c in tried} == {("unbiased", 0)}
    assert len({c.folder(Path()) for c in tried}) == len(tried)


def test_every_row_and_setting_can_be_asked_for() -> None:
    names = [",".join(SETTINGS), ",".join(ROWS)]
    asked = runner.arguments_of(["work", "--settings", names[0], "--rows", names[1]])
    assert asked.settings == list(SETTINGS)
    assert asked.rows == list(ROWS)
