"""Ranks that die, and runs under torchrun that are asked to stop: real processes of the command line."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import rank_jobs
from kinevec.config import Data, to_toml
from kinevec.data.synthetic import SynthConfig, write_synthetic_videos
from kinevec.train.checkpoint import CHECKPOINT

PATIENCE = 60  # seconds


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_synthetic_videos(folder, SynthConfig(videos_per_class=1, test_share=0, frames=20, size=32))
    return folder


@pytest.fixture
def request_(videos: Path, tmp_path: Path) -> list[str]:
    """Words of a command that trains for hours, of 6 videos a step."""
    config = replace(
        rank_jobs.MOCO,
        data=Data(workers=1),
        train=replace(rank_jobs.MOCO.train, batch=6, epochs=100_000, lr=1e-4, save_every=1),
    )
    (tmp_path / "long.toml").write_text(to_toml(config))
    return ["pretrain", str(tmp_path / "long.toml"), "--data", str(videos), "-o", str(tmp_path / "run")]


@pytest.fixture
def stopping() -> Iterator[list["subprocess.Popen[str]"]]:
    """Processes that are ended after the test, whatever happens."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    rank_jobs.end(processes)


def wait_for(condition: Callable[[], bool], seconds: float = 400) -> float:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() < begun + seconds
        time.sleep(0.05)
    return time.monotonic() - begun


def saved_step(run: Path) -> int:
    return int(torch.load(run / CHECKPOINT, weights_only=True)["step"])


def test_a_killed_rank_ends_the_others_with_a_message(
    request_: list[str], tmp_path: Path, stopping: list["subprocess.Popen[str]"]
) -> None:
    """kill -9 lets a process say nothing; those that wait for it notice at once."""
    processes = rank_jobs.start(3, ["-m", "kinevec", *request_], tmp_path / "said")
    stopping += processes
    wait_for((tmp_path / "run" / CHECKPOINT).exists)
    processes[1].kill()
    took = wait_for(lambda: all(process.poll() is not None for process in processes), PATIENCE)
    assert took < PATIENCE
    assert [processes[rank].returncode for rank in (0, 2)] == [1, 1]
    for rank in (0, 2):
        said = (tmp_path / "said" / f"{rank}.txt").read_text()
        assert f"error: rank {rank} lost contact with another rank, which died or stopped" in said
        assert "the last checkpoint is whole: --resume goes on from there" in said
        assert "Traceback" not in said
    assert saved_step(tmp_path / "run") >= 1
    assert not (tmp_path / "run" / "frames.raw").exists()


def test_torchrun_that_is_asked_to_stop_leaves_a_checkpoint(
    request_: list[str], tmp_path: Path, stopping: list["subprocess.Popen[str]"]
) -> None:
    """It passes the request on to the ranks and to their loader processes, which end at once."""
    said = tmp_path / "said.txt"
    launch = ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={rank_jobs.ports(1)[0]}"]
    with said.open("w") as file:
        torchrun = subprocess.Popen(
            [sys.executable, *launch, "-m", "kinevec", *request_],
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
    stopping.append(torchrun)
    wait_for((tmp_path / "run" / CHECKPOINT).exists)
    torchrun.send_signal(signal.SIGTERM)
    assert wait_for(lambda: torchrun.poll() is not None, PATIENCE) < PATIENCE
    text = said.read_text()
    stops = re.findall(r"stopped at step (\d+) of 100000; everything is saved", text)
    assert stops, text
    assert set(stops) == {str(saved_step(tmp_path / "run"))}
    assert "kinevec pretrain" in text
    assert not list((tmp_path / "run").glob("*.raw"))
