"""Runs that are killed, and what is left of them; `tests/kills.py` kills more often."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kills import (
    CONFIG,
    assert_same_end,
    check_whole,
    kill_again_and_again,
    starter,
    wait_for_save,
    write_videos,
)
from kinevec.config import Data, to_toml
from kinevec.data import find_records, open_videos
from kinevec.train.loop import pretrain

KILLS = 8


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed") / "videos"
    write_videos(folder)
    return folder


@pytest.fixture(scope="module")
def whole(videos: Path) -> Path:
    """A run that nobody kills."""
    return pretrain(CONFIG, open_videos(find_records(videos)), videos.parent / "whole")


def test_killed_at_random_moments_a_run_ends_as_if_it_had_not_been(videos: Path, whole: Path) -> None:
    with starter(videos.parent / "errors.txt") as begun:
        steps = list(kill_again_and_again(videos.parent, CONFIG, KILLS, random.Random(0), begun))
    assert len(steps) >= KILLS - 2  # a very fast machine may be done before
    assert len(set(steps)) > 1
    assert_same_end(videos.parent / "run", whole)


def test_a_killed_run_leaves_no_loader_process_and_can_be_resumed(
    videos: Path, whole: Path, tmp_path: Path
) -> None:
    config = replace(CONFIG, data=Data(workers=2, split="all"))
    (tmp_path / "run.toml").write_text(to_toml(config))
    run = tmp_path / "run"
    command = ["pretrain", tmp_path / "run.toml", "--data", videos, "-o", run]
    process = subprocess.Popen(
        [sys.executable, "-m", "kinevec", *map(str, command)],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_for_save(run, process.pid)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    check_whole(run, config)
    deadline = time.monotonic() + 60
    while left := of_session(process.pid):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    pretrain(config, open_videos(find_records(videos)), run, resume=True)
    assert_same_end(run, whole)


def of_session(leader: int) -> list[int]:
    """Processes that were started with the one that was killed."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                if os.getsid(int(path.name)) == leader:
                    found.append(int(path.name))
            except ProcessLookupError:
                continue
    return found
