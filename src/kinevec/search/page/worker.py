"""Work on files that may be damaged or hostile, in processes of its own: one that hangs or dies is replaced.

Server and worker speak JSON, a line for each request and each answer, so that whatever a decoder may be tricked
into, what comes back is data and never code.
"""

import json
import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from kinevec.errors import DataError, KinevecError, VideoError

log = logging.getLogger(__name__)

START_SECONDS = 180.0  # to be ready; loading PyTorch from a slow disk takes a while
READY = '"ready"\n'


class Worker:
    """A process that carries out one request at a time; it is started when there is work.

    Args:
        command: that runs `answer`.
        log: file for what the process says; each start begins it anew.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.command = list(command)
        self.log = log
        self.closed = False
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def call(self, name: str, limit: float, arguments: Mapping[str, Any]) -> Any:
        """What the operation `name` returns.

        Args:
            limit: seconds; a process that takes longer is killed.

        Raises:
            DataError: what the operation could not do, or that it took too long or ended its process.
        """
        with self._lock:
            process = self._running()
            question = json.dumps({"do": name, "with": arguments})
            answer = json.loads(self._exchange(process, question + "\n", limit))
        if "error" in answer:
            raise DataError(answer["error"])
        return answer["result"]

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        self.closed = True
        process = self._process
        if process is not None:
            process.kill()  # whoever waits for its answer lets go of the lock
        with self._lock:
            self._end()

    def _running(self) -> subprocess.Popen[str]:
        if self.closed:
            raise DataError("the server is ending")
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        with self.log.open("wb") as said:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                start_new_session=True,  # Ctrl-C is for the server, which ends its workers itself
            )
        self._exchange(self._process, "", START_SECONDS)
        return self._process

    def _exchange(self, process: "subprocess.Popen[str]", line: str, limit: float) -> str:
        """Sends a line and waits for the answer."""
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(limit, stop)
        timer.start()
        answer = ""
        try:
            if process.stdin and process.stdout:
                process.stdin.write(line)
                process.stdin.flush()
                answer = process.stdout.readline()
        except BrokenPipeError:
            pass  # it has died; said below
        finally:
            timer.cancel()
        if answer.endswith("\n"):
            return answer
        self._end()
        if self.closed:
            raise DataError("the server is ending")
        if late.is_set():
            raise DataError(f"took more than {limit:g} s and was stopped")
        log.warning("a worker process ended by itself; the last it said: %s", _last_line(self.log))
        raise DataError("the process that worked on it crashed; the file may be damaged")

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # what was not sent yet has no reader any more
        self._process = None


class Pool:
    """Some workers that share requests.

    Args:
        command: that runs `answer`.
        count: of workers.
        folder: for what they say.
    """

    def __init__(self, command: Sequence[str], count: int, folder: Path, name: str) -> None:
        self.workers = [Worker(command, folder / f"{name}-{i}.log") for i in range(count)]
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        for worker in self.workers:
            self._idle.put(worker)

    def call(self, name: str, limit: float, **arguments: Any) -> Any:
        """As `Worker.call`, by the next one that is free."""
        worker = self._idle.get()
        try:
            return worker.call(name, limit, arguments)
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """Ends all of them."""
        for worker in self.workers:
            worker.close()


def answer(operations: Mapping[str, Callable[..., Any]]) -> None:
    """What a worker process does: carries out requests from its standard input until that is closed."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    requests: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(sys.stdin, requests), daemon=True).start()
    out.write(READY)
    out.flush()
    while True:
        request = json.loads(requests.get())
        try:
            result: dict[str, Any] = {"result": operations[request["do"]](**request["with"])}
        except VideoError as error:
            result = {"error": error.reason}  # its path is the server's business
        except KinevecError as error:
            result = {"error": str(error)}
        except Exception as error:  # must not end the process: the next request may be a good one
            result = {"error": f"could not be done ({type(error).__name__}: {error})"}
        out.write(json.dumps(result) + "\n")
        out.flush()


def _listen(stdin: TextIO, requests: "queue.Queue[str]") -> None:
    for line in stdin:
        requests.put(line)
    os._exit(0)  # the server is gone: whatever is under way, nobody waits for it


def _last_line(path: Path) -> str:
    lines = path.read_text("utf-8", errors="replace").strip().splitlines() if path.is_file() else []
    return lines[-1] if lines else "nothing"
