"""Killed, stopped, out of memory or out of disk: what is finished stays, and the next run goes on."""

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

import faults
from faults import numbered_video
from kinevec.data.manifest import read_manifest
from kinevec.data.prepare import PrepareConfig
from kinevec.data.prepare.journal import Journal
from kinevec.data.prepare.workers import run_jobs
from kinevec.errors import Interrupted, OutputError
from kinevec.runtime import stop_requests
from preparing import SMALL, clean, make_videos, names, rejected, run, state

# ---------------------------------------------------------------- several processes, and their deaths


def test_files_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    videos = make_videos(tmp_path / "videos", *(f"{i}.mp4" for i in range(5)))
    faults.truncated_mp4(videos / "cut.mp4")
    found = []
    for workers in (0, 1, 2):
        out = tmp_path / f"out{workers}"
        summary = run(videos, out, PrepareConfig(short_side=32), workers=workers)
        assert summary.videos == 5
        files = {path: (out / path).read_bytes() for path in state(out)}
        table = read_manifest(out)
        motion = [table.motion(i) for i in range(5)]
        found.append((files, [(e.tolist(), c.tolist()) for e, c in motion], rejected(out), names(out)))
        clean(out)
    assert found[0] == found[1] == found[2]


SCRIPT = """
import sys
from pathlib import Path
from kinevec.data.files import find_records
from kinevec.data.prepare import PrepareConfig, prepare
if __name__ == "__main__":
    records = find_records(Path(sys.argv[1]))
    config = PrepareConfig(short_side=32, motion="none")
    prepare(records, Path(sys.argv[2]), config, workers=int(sys.argv[3]))
"""


@contextmanager
def preparing(tmp_path: Path, videos: Path, out: Path, workers: int) -> Iterator[subprocess.Popen[str]]:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), str(videos), str(out), str(workers)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for(condition: object, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "took too long"
        time.sleep(0.002)


def members(group: int) -> list[int]:
    """Processes of a session that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == group and fields[0] != "Z":
                found.append(int(entry.name))
    return found


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@needs_proc
def test_killed_again_and_again_nothing_is_done_twice_or_left_half(tmp_path: Path) -> None:
    videos = make_videos(tmp_path / "videos", *(f"{i:02}.mp4" for i in range(16)), frames=40)
    out = tmp_path / "out"
    rng = random.Random(0)
    known: dict[str, tuple[int, int]] = {}
    for more in (0, 1, 4, 5):  # files that are done before it is killed
        with preparing(tmp_path, videos, out, workers=more % 2) as process:
            wait_for(lambda: process.poll() is not None or len(state(out)) >= len(known) + more)  # noqa: B023
            time.sleep(rng.uniform(0, 0.05))
            process.kill()
            process.wait()
            wait_for(lambda: not members(process.pid))
        after = state(out)
        assert known.items() <= after.items()
        known = after
    assert len(known) >= 10
    summary = run(videos, out)
    assert summary.videos == 16
    assert summary.new == 16 - len(known)
    assert known.items() <= state(out).items()
    clean(out)


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_from_the_terminal_it_saves_and_says_so(number: signal.Signals, tmp_path: Path) -> None:
    videos = make_videos(tmp_path / "videos", *(f"{i:02}.mp4" for i in range(12)), frames=100)
    out = tmp_path / "out"
    with preparing(tmp_path, videos, out, workers=2) as process:
        wait_for(lambda: len(state(out)) >= 2)
        os.killpg(process.pid, number)  # as the terminal does: parent and workers
        _, said = process.communicate(timeout=600)
        assert "Interrupted: stopped: " in said
        assert "of 12 files are finished and safe; run the same again" in said
        assert said.count("Traceback") == 1
        wait_for(lambda: not members(process.pid))
    manifest = read_manifest(out)
    assert not manifest.complete
    assert 2 <= len(manifest) < 12
    clean(out)
    known = state(out)
    assert run(videos, out).videos == 12
    assert known.items() <= state(out).items()
    assert read_manifest(out).complete


def test_stopped_by_the_caller(tmp_path: Path) -> None:
    videos, out = make_videos(tmp_path / "videos", "a.mp4", "b.mp4", "c.mp4"), tmp_path / "out"
    stop = threading.Event()
    with pytest.raises(Interrupted, match="stopped: 1 of 3 files are finished and safe"):
        run(videos, out, stop=stop, progress=lambda done, total: stop.set() if done == 1 else None)
    assert names(out) == ["a.mp4"]
    assert run(videos, out).new == 2


class Trouble:
    """A task whose jobs end as they say."""

    def __call__(self, job: str, stopped: object) -> str:
        if job.startswith("SIG"):
            os.kill(os.getpid(), getattr(signal, job))
            time.sleep(30)
        if job == "raise":
            raise OutputError("disk full")
        return job.upper()


def test_a_worker_that_dies_takes_only_its_own_job_with_it() -> None:
    results = dict(run_jobs(Trouble(), ["a", "SIGSEGV", "b", "SIGKILL", "c"], 2, threading.Event()))
    assert {results[job] for job in "abc"} == {"A", "B", "C"}
    crash, kill = results["SIGSEGV"], results["SIGKILL"]
    assert (str(crash), crash.crashed) == ("SIGSEGV", True)  # type: ignore[union-attr]
    assert (str(kill), kill.crashed) == ("SIGKILL, out of memory?", False)  # type: ignore[union-attr]
    with pytest.raises(OutputError, match="disk full"):
        list(run_jobs(Trouble(), ["raise"], 1, threading.Event()))


@needs_proc
def test_a_worker_killed_for_memory_is_an_error_that_names_its_file(tmp_path: Path) -> None:
    videos = make_videos(tmp_path / "videos", "a.mp4", "b.mp4")
    os.mkfifo(tmp_path / "pipe")
    numbered_video(videos / "long.mp4", 3000, (48, 40))
    out = tmp_path / "out"
    with preparing(tmp_path, videos, out, workers=1) as process:
        wait_for(lambda: len(state(out)) == 2)
        part = out / "parts"
        wait_for(lambda: any(part.iterdir()))
        worker = [
            pid for pid in members(process.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        os.kill(worker[0], signal.SIGKILL)
        _, said = process.communicate(timeout=600)
    assert "WorkError: a worker died (SIGKILL, out of memory?) while it prepared" in said
    assert "long.mp4; 2 of 3 files are finished and safe" in said
    assert names(out) == ["a.mp4", "b.mp4"]
    clean(out)
    assert run(videos, out).videos == 3


def test_a_file_that_crashes_the_decoder_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kinevec.data.prepare import run as module
    from kinevec.data.prepare.workers import Died

    videos, out = make_videos(tmp_path / "videos", "a.mp4", "b.mp4"), tmp_path / "out"

    def crashing(task: object, jobs: list[object], workers: int, stop: object) -> Iterator[object]:
        yield jobs[0], Died(-signal.SIGSEGV)
        yield from run_jobs(task, jobs[1:], workers, stop)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(module, "run_jobs", crashing)
        run(videos, out)
    assert rejected(out) == {"a.mp4": ("failed", "brought the decoder down (SIGSEGV)")}
    assert run(videos, out).videos == 2  # it is tried again


def test_our_own_failures_are_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos, out = make_videos(tmp_path / "videos", "a.mp4", "b.mp4"), tmp_path / "out"
    from kinevec.data.prepare import transcode

    real = transcode.check
    with monkeypatch.context() as patch:
        patch.setattr(transcode, "check", lambda path: 1 / 0 if path.name == "a.mp4" else real(path))
        run(videos, out)
    assert rejected(out) == {"a.mp4": ("failed", "ZeroDivisionError: division by zero")}
    assert (run(videos, out).videos, rejected(out)) == (2, {})


# ---------------------------------------------------------------- a disk that is full


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The system refuses to write files beyond this size, in the middle of writing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_disk_that_is_full_while_a_video_is_written(workers: int, tmp_path: Path) -> None:
    videos, out = make_videos(tmp_path / "videos", "a.mp4", "b.mp4"), tmp_path / "out"
    numbered_video(videos / "c.mp4", 600, (160, 128))
    run(videos / "a.mp4", out, replace(SMALL, short_side=128, quality=0))
    with (
        largest_file(50_000),
        pytest.raises(OutputError, match=r"parts cannot be written: File too large; 2 of 3"),
    ):
        run(videos, out, replace(SMALL, short_side=128, quality=0), workers=workers)
    assert len(state(out)) == 2
    assert not (out / "parts").exists()
    summary = run(videos, out, replace(SMALL, short_side=128, quality=0))
    assert (summary.videos, summary.new) == (3, 1)
    clean(out)


def test_a_disk_that_is_full_while_the_journal_or_the_manifest_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    videos, out = make_videos(tmp_path / "videos", "a.mp4", "b.mp4"), tmp_path / "out"
    run(videos / "a.mp4", out)
    opened = Journal.__init__

    def onto_a_full_disk(journal: Journal, folder: Path) -> None:
        opened(journal, folder)
        journal._file.close()
        journal._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115 (the journal closes it)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "__init__", onto_a_full_disk)
        with pytest.raises(OutputError, match=r"journal\.jsonl cannot be written: No space left on device"):
            run(videos, out)
    assert len(state(out)) == 1
    before = (out / "manifest.parquet").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("pyarrow.parquet.ParquetWriter.write_batch", refuse)
        with pytest.raises(
            OutputError, match=r"manifest\.parquet cannot be written: No space left on device"
        ):
            run(videos, out)
    assert (out / "manifest.parquet").read_bytes() == before
    assert run(videos, out).new == 0  # b.mp4 was finished
    clean(out)


def refuse(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_second_request_to_stop_stops_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_requests() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == before
