"""What a run writes down: nothing of it is lost or said twice, and a full disk is said in one line."""

import errno
import json
import struct
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

from kinevec.config import Config, Log
from kinevec.errors import ConfigError, OutputError
from kinevec.train.log import BOARD, LOG, WANDB_RUN, RunLog, check_wandb, read_log

CONFIG = Config()
ON_WANDB = replace(CONFIG, log=Log(wandb="moves"))


def events(folder: Path) -> list[Event]:
    """All records of TensorBoard files: length, its checksum, content, its checksum."""
    found = []
    for path in sorted((folder / BOARD).iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            found.append(Event.FromString(content[12 : 12 + length]))
            content = content[16 + length :]
    return found


def test_entries_go_to_both_files(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 0, CONFIG)
    log.write(10, {"loss": 1.5, "rank": 3.0})
    assert read_log(tmp_path) == [{"step": 10, "loss": 1.5, "rank": 3.0}]  # at once, not at the end
    log.write(20, {"loss": 1.25}, ["mind the gap"])
    log.close()
    assert read_log(tmp_path)[1] == {"step": 20, "loss": 1.25, "warnings": ["mind the gap"]}
    version, start, *rest = events(tmp_path)
    assert version.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (1, SessionLog.START)
    values = [(event.step, {v.tag: v.simple_value for v in event.summary.value}) for event in rest]
    assert values == [(10, {"loss": 1.5, "rank": 3.0}), (20, {"loss": 1.25})]


def test_tensorboard_reads_what_is_written(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first, steps in ((0, (10, 20, 30)), (20, (30, 40))):  # killed after 30, resumed from 20
        log = RunLog(tmp_path, first, CONFIG)
        for step in steps:
            log.write(step, {"loss": first + step / 10})
        log.close()
    board = EventAccumulator(str(tmp_path / BOARD))
    board.Reload()
    assert [(point.step, point.value) for point in board.Scalars("loss")] == [
        (10, 1),
        (20, 2),
        (30, 23),
        (40, 24),
    ]


def test_entries_after_the_checkpoint_are_taken_back(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 0, CONFIG)
    for step in (10, 20, 30):
        log.write(step, {"loss": 1.0})
    log.rewind(20)
    log.write(30, {"loss": 2.0})
    log.close()
    assert [(entry["step"], entry["loss"]) for entry in read_log(tmp_path)] == [(10, 1), (20, 1), (30, 2)]
    with (tmp_path / LOG).open("a") as file:
        file.write('{"step": 40, "lo')  # killed while it wrote
    RunLog(tmp_path, 30, CONFIG).close()
    assert [entry["step"] for entry in read_log(tmp_path)] == [10, 20, 30]


def test_a_full_disk_when_a_run_begins_leaves_the_old_log_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / LOG).write_text('{"step": 10, "loss": 1.0}\n{"step": 20, "loss": 2.0}\n')
    before = (tmp_path / LOG).read_bytes()

    def full(self: Path, *_: object, **__: object) -> None:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match=r"log\.jsonl cannot be written: No space left on device"):
        RunLog(tmp_path, 10, CONFIG)
    assert (tmp_path / LOG).read_bytes() == before


@pytest.mark.parametrize("which", [LOG, BOARD])
def test_a_disk_that_fills_up_is_said_in_one_line(which: str, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    log = RunLog(tmp_path, 0, CONFIG)
    log.write(10, {"loss": 1.0})
    full = Path("/dev/full")
    if which == LOG:
        log.file.close()
        log.file = full.open("a")
    else:
        board: Any = log.sinks[0]
        board.file.close()
        board.file = board.records._writer = full.open("wb")
    with pytest.raises(OutputError, match=rf"{which}.* cannot be written: No space left on device"):
        log.write(20, {"loss": 1.0})
    log.close()  # says nothing more
    assert read_log(tmp_path)[0] == {"step": 10, "loss": 1.0}


class StandIn(SimpleNamespace):
    """Takes the place of the package wandb."""

    def __init__(self) -> None:
        super().__init__(__spec__=SimpleNamespace(), begun=[], said=[], ended=0, metrics=[])
        self.Settings = lambda **settings: settings

    def init(self, **arguments: Any) -> "StandIn":
        self.begun.append(arguments)
        return self

    def define_metric(self, name: str, step_metric: str) -> None:
        self.metrics.append((name, step_metric))

    def log(self, values: dict[str, float]) -> None:
        self.said.append(values)

    def finish(self) -> None:
        self.ended += 1


def test_weights_and_biases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    folder = tmp_path / "run 1"
    folder.mkdir()
    for first in (0, 10):  # begun and resumed
        log = RunLog(folder, first, ON_WANDB)
        log.write(first + 10, {"loss": 1.5})
        log.rewind(first)
        log.close()
    assert wandb.said == [{"step": 10, "loss": 1.5}, {"step": 20, "loss": 1.5}]
    assert wandb.ended == 2
    assert wandb.metrics == [("*", "step")] * 2
    one, two = wandb.begun
    assert (one["project"], one["name"], one["dir"], one["resume"]) == (
        "moves",
        "run 1",
        str(folder),
        "allow",
    )
    assert one["config"]["train"]["lr"] == CONFIG.train.lr
    assert one["settings"] == {"silent": True}
    assert one["id"] == two["id"] == (folder / WANDB_RUN).read_text().strip()
    assert len(one["id"]) == 8


def test_without_a_project_nothing_is_asked_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    RunLog(tmp_path, 0, CONFIG).close()
    assert not wandb.begun
    assert not (tmp_path / WANDB_RUN).exists()


def test_a_missing_package_is_one_line_that_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinevec.train.log.find_spec", lambda name: None)
    check_wandb(CONFIG)
    with pytest.raises(ConfigError) as caught:
        check_wandb(ON_WANDB)
    assert str(caught.value) == (
        "log.wandb is 'moves', but the package is missing; install it: pip install 'kinevec[wandb]'"
    )


@pytest.mark.parametrize("when", ["init", "log", "finish"])
def test_a_service_that_lets_nobody_in_does_not_stop_the_run(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wandb = StandIn()

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no API key")

    setattr(wandb, when, refuse)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    log = RunLog(tmp_path, 0, ON_WANDB)
    log.write(10, {"loss": 1.0})
    log.write(20, {"loss": 1.0})
    log.close()
    assert (
        caplog.text.count("the run goes on without it: no API key; run `wandb login`, or set WANDB_MODE") == 1
    )
    assert len(read_log(tmp_path)) == 2


def test_a_board_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / BOARD).write_text("a file")
    with pytest.raises(OutputError, match=r"tensorboard.* cannot be written"):
        RunLog(tmp_path, 0, CONFIG)


def test_logs_are_plain_json(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 0, CONFIG)
    log.write(1, {"loss": 0.1})
    log.close()
    assert json.loads((tmp_path / LOG).read_text()) == {"step": 1, "loss": 0.1}
