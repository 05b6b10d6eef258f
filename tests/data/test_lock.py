"""One process at a time in a folder, however the one before it ended."""

import errno
import fcntl
import os
import platform
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from kinevec.data.lock import LOCK, alone, refuse_busy
from kinevec.errors import OutputError

HOLDING = """
import sys, time
from pathlib import Path
from kinevec.data.lock import alone
with alone(Path(sys.argv[1]), "painting here"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_second_one_is_refused_and_told_who_is_at_it(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    with alone(folder, "painting here"):
        (folder / "work").touch()
        words = f"{folder}: another process is singing here (process {os.getpid()} on {platform.node()}); wait until"
        with pytest.raises(OutputError) as caught, alone(folder, "singing here"):
            pass
        with pytest.raises(OutputError) as early:
            refuse_busy(folder, "singing here")
        assert str(caught.value) == str(early.value)
        assert str(caught.value).startswith(words)
        assert (folder / LOCK).exists()
    assert [path.name for path in folder.iterdir()] == ["work"]
    refuse_busy(folder, "singing here")
    with alone(folder, "singing here"):
        pass


def test_a_folder_in_which_nothing_was_done_goes_again(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing"), alone(tmp_path / "new", "painting here"):
        raise ValueError("nothing")
    assert not (tmp_path / "new").exists()
    refuse_busy(tmp_path / "new", "painting here")
    assert not (tmp_path / "new").exists()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", HOLDING, tmp_path], stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with (
            pytest.raises(OutputError, match=rf"\(process {child.pid} on "),
            alone(tmp_path, "painting here"),
        ):
            pass
        child.send_signal(signal.SIGKILL)
    assert (tmp_path / LOCK).exists()
    refuse_busy(tmp_path, "painting here")
    with alone(tmp_path, "painting here"):
        assert (tmp_path / LOCK).read_text().startswith(f"{os.getpid()} on ")
        (tmp_path / "work").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


def test_a_lock_that_goes_while_it_is_taken_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process before us ends between our opening of the file and our locking: it takes the file along."""
    take, taken = fcntl.flock, []

    def late(file: IO[str], kind: int) -> None:
        if not taken:
            (tmp_path / LOCK).unlink()
        taken.append(kind)
        take(file, kind)

    monkeypatch.setattr(fcntl, "flock", late)
    with alone(tmp_path, "painting here"):
        assert len(taken) == 2
        with pytest.raises(OutputError, match="another process is painting here"):
            refuse_busy(tmp_path, "painting here")


def test_where_the_file_system_knows_no_locks_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unknown(file: IO[str], kind: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", unknown)
    with alone(tmp_path / "run", "painting here"):
        assert (
            "cannot be locked (Function not implemented): see that nothing else writes to it" in caplog.text
        )


def test_those_who_only_look_do_not_refuse_each_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The ranks of a run look all at once, also at what a killed one left."""
    with (tmp_path / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        refuse_busy(tmp_path, "painting here")
        assert not caplog.text  # it did look
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another process is painting here"):
            refuse_busy(tmp_path, "painting here")
    assert (tmp_path / LOCK).exists()


def test_a_full_disk_takes_the_name_alone(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))  # no file may grow
    try:
        with alone(tmp_path, "painting here"):
            assert (tmp_path / LOCK).read_bytes() == b""
            (tmp_path / "work").touch()
            with pytest.raises(OutputError, match=r"another process is painting here; wait until"):
                refuse_busy(tmp_path, "painting here")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match=r"file cannot be written: "),
        alone(tmp_path / "file", "painting here"),
    ):
        pass
