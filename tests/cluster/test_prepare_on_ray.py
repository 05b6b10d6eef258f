"""Videos prepared on Ray are as they are without it, also after workers were killed, or the whole was stopped."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

import faults
from kinevec.cluster import Cluster, Lost
from kinevec.data.manifest import read_manifest
from kinevec.data.prepare import PrepareConfig
from kinevec.data.prepare.folder import Folder
from kinevec.data.prepare.on_ray import Preparing
from kinevec.data.prepare.transcode import Job
from kinevec.errors import Interrupted, OutputError
from preparing import SMALL, clean, make_videos, names, rejected, run, state
from ray_jobs import KillOnce, all_gone, of_ray

MOVING = PrepareConfig(short_side=32)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = make_videos(tmp_path / "videos", *(f"{i}.mp4" for i in range(6)))
    faults.truncated_mp4(folder / "cut.mp4")
    return folder


def content(out: Path) -> tuple[object, ...]:
    """All that is prepared, to the byte."""
    clean(out)
    files = {path: (out / path).read_bytes() for path in state(out)}
    return files, (out / "manifest.parquet").read_bytes(), (out / "rejected.csv").read_bytes()


def test_what_killed_workers_were_at_is_done_again(two: Cluster, videos: Path, tmp_path: Path) -> None:
    alone, out = tmp_path / "alone", tmp_path / "out"
    run(videos, alone, MOVING)
    killing = KillOnce()
    summary = run(videos, out, MOVING, cluster=two, progress=killing)
    assert killing.killed >= 1
    assert killing.told == [(i, 7) for i in range(8)]
    assert (summary.videos, summary.new) == (6, 6)
    assert content(out) == content(alone)


def test_what_is_stopped_goes_on(two: Cluster, videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stop = threading.Event()

    def after_two(done: int, total: int) -> None:
        if done == 2:
            stop.set()

    with pytest.raises(Interrupted, match="2 of 7 files are finished and safe"):
        run(videos, out, MOVING, cluster=two, progress=after_two, stop=stop)
    clean(out)
    assert not read_manifest(out).complete
    before = state(out)
    run(videos, out, MOVING, workers=1)  # and elsewhere than on Ray
    assert before.items() <= state(out).items()
    assert names(out) == [f"{i}.mp4" for i in range(6)]


def test_a_file_that_kills_is_left_out_and_tried_again(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spread(
        make: Preparing, jobs: list[Job], cluster: Cluster, *, path: Callable[[Job], Path], **_: object
    ) -> object:
        task = make()
        for job in jobs:
            assert path(job).is_file()
            yield job, Lost(3, "SIGSEGV") if job.name == "3.mp4" else task(job)

    monkeypatch.setattr("kinevec.data.prepare.on_ray.spread", spread)
    out = tmp_path / "out"
    run(videos, out, cluster=Cluster())
    assert rejected(out)["3.mp4"] == (
        "failed",
        "3 workers were lost while they were at it; the last: SIGSEGV",
    )
    assert names(out) == [f"{i}.mp4" for i in range(6) if i != 3]
    monkeypatch.undo()
    assert run(videos, out).new == 1
    clean(out)


def test_each_worker_writes_apart_and_only_where_the_output_is(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "out")
    with pytest.raises(OutputError, match="does not see"):
        Preparing(folder, SMALL)()
    folder.parts.mkdir(parents=True)
    (folder.root / "prepare.json").touch()
    source = make_videos(tmp_path / "videos", "a.mp4") / "a.mp4"
    parts = [Preparing(folder, SMALL)()(Job("a.mp4", source)).part for _ in range(2)]
    assert parts[0] is not None
    assert parts[1] is not None
    assert parts[0].name == parts[1].name
    assert len({parts[0].parent, parts[1].parent, folder.parts}) == 3


def test_ctrl_c_ends_ray_of_our_own_and_keeps_what_is_done(tmp_path: Path) -> None:
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    videos = make_videos(tmp_path / "videos", *(f"{i}.mp4" for i in range(3)), frames=20)
    slow = faults.numbered_video(tmp_path / "long.mp4", 2000, (320, 240))
    for i in range(4):  # names after the others; too long to end before Ctrl-C
        (videos / f"long{i}.mp4").write_bytes(slow.read_bytes())
    out = tmp_path / "out"
    command = [sys.executable, "-m", "kinevec", "prepare", videos, "-o", out, "--ray", "--workers", "1"]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment["RAY_worker_niceness"] = "0"
    process = subprocess.Popen(
        list(map(str, command)), stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment
    )
    journal = out / "journal.jsonl"
    while not journal.exists() or len(journal.read_text().splitlines()) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    begun = of_ray(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    errors = process.communicate()[1]
    assert process.returncode == 130, errors
    assert "files are finished and safe" in errors
    assert "Traceback" not in errors
    assert begun
    assert all_gone(begun)
    clean(out)
    done = [json.loads(line) for line in journal.read_text().splitlines()]
    assert len(done) >= 2
