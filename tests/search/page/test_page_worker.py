"""Worker processes: whatever one does, the next request is answered, and none outlives the server."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kinevec.errors import DataError
from kinevec.search.page.worker import Pool, Worker

SCRIPT = """
import os, sys, time
from pathlib import Path
from kinevec.errors import InputError, VideoError
from kinevec.search.page.worker import answer

def bad(path): raise VideoError(path, "is broken")
def refused(): raise InputError("no such thing")
def loud():
    print("not an answer"); sys.stdout.flush(); os.write(1, b"nor this\\n"); return [1, None, "é\\n"]
def say(words):
    print(words, file=sys.stderr, flush=True); os._exit(3)

answer({"nap": lambda: time.sleep(60), "short": lambda: time.sleep(0.5), "pid": os.getpid, "bad": bad, "refused": refused, "loud": loud, "say": say})
"""
COMMAND = [sys.executable, "-c", SCRIPT]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    made = Worker(COMMAND, tmp_path / "said.log")
    yield made
    made.close()


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_one_process_answers_in_turn_and_prints_nothing_into_it(worker: Worker) -> None:
    first = worker.call("pid", 5, {})
    assert worker.call("loud", 5, {}) == [1, None, "é\n"]
    assert worker.call("pid", 5, {}) == first


def test_what_hangs_is_killed_and_replaced(worker: Worker) -> None:
    first = worker.call("pid", 5, {})
    began = time.monotonic()
    with pytest.raises(DataError, match=r"took more than 0\.3 s and was stopped"):
        worker.call("nap", 0.3, {})
    assert time.monotonic() - began < 5
    assert not alive(first)
    second = worker.call("pid", 5, {})
    assert second != first


def test_what_crashes_is_replaced(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    first = worker.call("pid", 5, {})
    with pytest.raises(DataError, match="crashed"):
        worker.call("say", 5, {"words": "last words"})
    assert "last words" in caplog.text
    assert worker.call("pid", 5, {}) != first


def test_errors_come_back_in_words(worker: Worker) -> None:
    for name, given, says in [
        ("bad", {"path": "/secret/place.mp4"}, "^is broken$"),
        ("refused", {}, "^no such thing$"),
        ("unknown", {}, r"could not be done \(KeyError"),
    ]:
        with pytest.raises(DataError, match=says):
            worker.call(name, 5, given)


def test_closing_ends_a_process_at_work_and_lets_go_of_who_waits(worker: Worker) -> None:
    pid = worker.call("pid", 5, {})
    found: list[str] = []

    def wait() -> None:
        try:
            worker.call("nap", 60, {})
        except DataError as error:
            found.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.2)
    worker.close()
    thread.join(5)
    assert found == ["the server is ending"]
    assert not alive(pid)
    with pytest.raises(DataError, match="ending"):
        worker.call("pid", 5, {})


def test_a_process_ends_with_its_server_even_while_it_works(tmp_path: Path) -> None:
    process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    with process:
        assert process.stdout.readline() == '"ready"\n'
        process.stdin.write(json.dumps({"do": "nap", "with": {}}) + "\n")
        process.stdin.close()
        assert process.wait(5) == 0


def test_a_pool_works_on_as_many_as_it_has(tmp_path: Path) -> None:
    pool = Pool(COMMAND, 2, tmp_path, "two")
    try:
        for worker in pool.workers:
            worker.call("pid", 5, {})
        threads = [threading.Thread(target=pool.call, args=("short", 5)) for _ in range(2)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - began < 0.9  # one after the other: 1 s
    finally:
        pool.close()
