"""Kills training runs at random moments, and looks at what they leave.

`python tests/kills.py --kills 60` is the long form of what `tests/train/test_killed.py` does: prints one line for
each kill, and fails where a checkpoint is not whole, or where the run ends otherwise than one that was never killed.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import torch

from faults import numbered_video
from kinevec.config import Clip, Config, Data, Method, Model, Train, Views, to_toml
from kinevec.encoders import load
from kinevec.train.checkpoint import BEST, CHECKPOINT, ENCODER, earlier, load_checkpoint
from kinevec.train.log import read_log

CONFIG = Config(
    clip=Clip(frames=4, stride=2, size=16),
    data=Data(workers=0, split="all"),
    views=Views(area=(0.5, 1.0)),
    model=Model("tiny"),
    method=Method(dim=8, hidden=16, queue=6, momentum=0.9, centred=True),
    train=Train(
        epochs=15, batch=2, lr=1e-3, optimizer="adamw", warmup_epochs=1, precision="fp32", save_every=2
    ),
)


class Starter:
    """Starts `kinevec` in forks of one process that has imported everything: a start costs no seconds.

    Args:
        errors: file that gets the standard error of all of them.
    """

    def __init__(self, errors: Path) -> None:
        self.errors = errors.open("w")
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), "--fork"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def start(self, arguments: Sequence[str | Path]) -> int:
        """Begins a command; returns its process number."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([str(argument) for argument in arguments]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def end(self) -> int:
        """Waits for the command, and returns its exit code; −9 where it was killed."""
        return self._answer()

    def close(self) -> None:
        self.process.communicate()
        self.errors.close()

    def _answer(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@contextmanager
def starter(errors: Path) -> Iterator[Starter]:
    begun = Starter(errors)
    try:
        yield begun
    finally:
        begun.close()


def fork_for_ever() -> None:
    """Reads lines of arguments; answers each with the number of the process that has them, then its exit code."""
    import tensorboard.compat.proto.event_pb2
    import tensorboard.summary.writer.record_writer  # noqa: F401

    import kinevec.tasks  # noqa: F401
    from kinevec.cli import main

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the results of the commands are of no interest
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            sys.argv = ["kinevec", *json.loads(line)]
            code = 1
            try:
                main()
                code = 0
            except SystemExit as stop:
                code = int(stop.code or 0)
            finally:
                os._exit(code)
        print(child, file=answers, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)


def kill_again_and_again(
    folder: Path, config: Config, kills: int, rng: random.Random, begun: Starter
) -> Iterator[int]:
    """Trains in `folder / "run"` and kills it, most times some moments after it has saved anew; at last it may end.

    Args:
        folder: holds `videos`.

    Yields:
        The step of the newest checkpoint after each kill, when everything was found to be whole.
    """
    run = folder / "run"
    (folder / "run.toml").write_text(to_toml(config), "utf-8")
    arguments = ["pretrain", folder / "run.toml", "--data", folder / "videos", "-o", run]
    step = 0
    for _ in range(kills):
        process = begun.start([*arguments, *(["--resume"] if step else [])])
        if not step or rng.random() < 0.75:
            wait_for_save(run, process)
            time.sleep(0.3 * rng.random() ** 2)
        else:  # while it starts, or wherever it is by then
            time.sleep(1.5 * rng.random())
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        if begun.end() == 0:  # it was faster
            return
        found = check_whole(run, config)
        assert found >= step, (found, step)
        step = found
        yield step
    begun.start([*arguments, "--resume"])
    assert begun.end() == 0, Path(begun.errors.name).read_text()


def wait_for_save(run: Path, process: int) -> None:
    """Until the run's checkpoint is another file than now, or the process has ended."""
    old = number(run / CHECKPOINT)
    deadline = time.monotonic() + 120
    while number(run / CHECKPOINT) == old and running(process):
        assert time.monotonic() < deadline
        time.sleep(0.002)


def number(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def running(process: int) -> bool:
    """Whether a process computes; one that waits to be noticed as ended does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def check_whole(run: Path, config: Config) -> int:
    """Reads everything that a killed run has left; returns the step of its newest checkpoint."""
    state = load_checkpoint(run, config)
    assert state["damaged"] == []
    for step, path in earlier(run):
        assert torch.load(path, weights_only=True)["step"] == step
        assert step <= state["step"]
    if (run / BEST).exists():
        torch.load(run / BEST, weights_only=True)
    if (run / ENCODER).exists():  # it is written after the checkpoint
        assert load(run).step <= state["step"]
    entries = [entry["step"] for entry in read_log(run)]
    assert entries == sorted(set(entries))
    return int(state["step"])


def assert_same_end(run: Path, whole: Path) -> None:
    """Both runs came to the same, to the bit, and nothing lies about."""
    states = [torch.load(folder / CHECKPOINT, weights_only=True) for folder in (run, whole)]
    for name, value in states[0]["model"].items():
        assert torch.equal(value, states[1]["model"][name]), name
    assert states[0]["watch"]["best"] == states[1]["watch"]["best"]
    assert torch.load(run / BEST, weights_only=True)["step"] == states[0]["watch"]["best"]["step"]
    logs = [
        [(entry["step"], entry["loss"], entry["rank"]) for entry in read_log(folder)]
        for folder in (run, whole)
    ]
    assert logs[0] == logs[1]
    assert sorted(path.name for path in run.iterdir()) == sorted(path.name for path in whole.iterdir())


def write_videos(folder: Path) -> None:
    folder.mkdir()
    for i in range(8):
        numbered_video(folder / f"{i}.mp4", 12 + i, size=(32, 32))


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fork", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.fork:
        fork_for_ever()
        return
    config = replace(CONFIG, train=replace(CONFIG.train, epochs=5 * options.kills))
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as place, starter(Path(place) / "errors.txt") as begun:
        folder = Path(place)
        write_videos(folder / "videos")
        killed = 0
        for step in kill_again_and_again(folder, config, options.kills, rng, begun):
            killed += 1
            print(f"kill {killed}: whole at step {step}", flush=True)  # noqa: T201
        toml = folder / "run.toml"
        begun.start(["pretrain", toml, "--data", folder / "videos", "-o", folder / "whole"])
        assert begun.end() == 0
        assert_same_end(folder / "run", folder / "whole")
        print(f"{killed} kills; the run ended as one that was never killed")  # noqa: T201


if __name__ == "__main__":
    main()
