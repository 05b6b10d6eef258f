"""What a run writes down while it trains: JSON lines, TensorBoard, and Weights & Biases where asked for."""

import json
import logging
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from kinevec.config import Config, to_dict
from kinevec.data.whole import write_text, writing
from kinevec.errors import ConfigError, OutputError

log = logging.getLogger(__name__)

LOG = "log.jsonl"
BOARD = "tensorboard"
WANDB_RUN = "wandb.txt"  # by which name a resumed run is known there


class Sink(Protocol):
    """Takes the figures of a run."""

    def write(self, step: int, values: Mapping[str, float]) -> None: ...

    def rewind(self, step: int) -> None: ...

    def close(self) -> None: ...


class RunLog:
    """Appends one entry per call to `log.jsonl`, and its figures to TensorBoard and Weights & Biases.

    Args:
        folder: of the run.
        step: the step the run goes on from; entries of later steps, left by an interrupted run, are removed.
        config: of the run.

    Raises:
        OutputError: a file cannot be written.
    """

    def __init__(self, folder: Path, step: int, config: Config) -> None:
        self.path = folder / LOG
        self._open(step)
        self.sinks: list[Sink] = []
        try:
            self.sinks.append(Board(folder / BOARD, step))
            if config.log.wandb:
                self.sinks.append(Wandb(config, folder))
        except OutputError:
            self.close()
            raise

    def _open(self, step: int) -> None:
        entries = [entry for entry in read_log(self.path.parent) if entry["step"] <= step]
        write_text(self.path, "".join(json.dumps(entry) + "\n" for entry in entries))
        with writing(self.path):
            self.file = self.path.open("a", encoding="utf-8")

    def rewind(self, step: int) -> None:
        """The run goes on from `step` again: what was said of later steps is taken back."""
        self.file.close()
        self._open(step)
        for sink in self.sinks:
            sink.rewind(step)

    def write(self, step: int, values: Mapping[str, float], warnings: Sequence[str] = ()) -> None:
        """Notes named values of a step, and what was warned of.

        Raises:
            OutputError: a file cannot be written.
        """
        noted = {"warnings": list(warnings)} if warnings else {}
        with writing(self.path):
            self.file.write(json.dumps({"step": step, **values, **noted}) + "\n")
            self.file.flush()
        for sink in self.sinks:
            sink.write(step, values)

    def close(self) -> None:
        """Finishes everything; what cannot be written any more was reported when it was to be written."""
        with suppress(OSError):
            self.file.close()
        for sink in self.sinks:
            sink.close()


class Board:
    """Writes a file for TensorBoard, in this thread: what goes wrong with it comes out where it does.

    Args:
        folder: gets one file per start of the run.
        step: the run goes on from; TensorBoard hides what earlier files say of later steps.
    """

    def __init__(self, folder: Path, step: int) -> None:
        # Here, since a command that trains nothing need not wait for them.
        from tensorboard.compat.proto import event_pb2, summary_pb2  # type: ignore[import-untyped]
        from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

        self.event: Any = event_pb2.Event
        self.summary: Any = summary_pb2.Summary
        self.start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
        self.path = folder / f"{name}.{time.monotonic_ns()}"
        with writing(self.path):
            folder.mkdir(exist_ok=True)
            self.file: BinaryIO = self.path.open("wb")
        self.records = RecordWriter(self.file)
        self._put(file_version="brain.Event:2")
        self.rewind(step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Notes named values of a step."""
        value = [self.summary.Value(tag=name, simple_value=number) for name, number in values.items()]
        self._put(step=step, summary=self.summary(value=value))

    def rewind(self, step: int) -> None:
        """Hides what was written of later steps."""
        self._put(step=step + 1, session_log=self.start)

    def close(self) -> None:
        """Finishes the file."""
        with suppress(OSError):
            self.file.close()

    def _put(self, **content: Any) -> None:
        with writing(self.path):
            self.records.write(self.event(wall_time=time.time(), **content).SerializeToString())
            self.file.flush()


class Wandb:
    """Sends figures to a project on Weights & Biases; a resumed run goes on under its name there.

    Where that fails, now or later, it is said, and the run goes on without.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        import wandb

        known = folder / WANDB_RUN
        if not known.is_file():
            write_text(known, secrets.token_hex(4) + "\n")
        self.run: Any = None
        with self._said():
            self.run = wandb.init(
                project=config.log.wandb,
                id=known.read_text("utf-8").strip(),
                resume="allow",
                name=folder.resolve().name,
                dir=str(folder),
                config=to_dict(config),
                settings=wandb.Settings(silent=True),
            )
            self.run.define_metric(
                "*", step_metric="step"
            )  # its own count forbids to repeat steps after a resume

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Notes named values of a step."""
        if self.run is not None:
            with self._said():
                self.run.log({"step": step, **values})

    def rewind(self, step: int) -> None:
        """Nothing: what is there cannot be taken back, and the steps that follow are drawn over it."""

    def close(self) -> None:
        """Finishes the run there."""
        if self.run is not None:
            with self._said():
                self.run.finish()

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # no account, no network: they have errors of many kinds
            self.run = None
            log.warning(
                "Weights & Biases cannot be used, and the run goes on without it: %s; run `wandb login`, or set "
                "WANDB_MODE=offline",
                error,
            )


def check_wandb(config: Config) -> None:
    """Refuses `log.wandb` where the package is missing, before anything is decoded.

    Raises:
        ConfigError: so it is.
    """
    if config.log.wandb and find_spec("wandb") is None:
        raise ConfigError(
            f"log.wandb is '{config.log.wandb}', but the package is missing; install it: pip install 'kinevec[wandb]'"
        )


def read_log(folder: Path) -> list[dict[str, Any]]:
    """All entries of a run's log, oldest first; a last line cut short by a crash is left out."""
    entries = []
    path = folder / LOG
    for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return entries
