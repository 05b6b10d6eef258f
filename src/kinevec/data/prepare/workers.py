"""Jobs in worker processes that can die without taking the work, or each other, with them.

Each worker has a pipe of its own to the parent, so it is known which job a dead worker was at. An executor of
the standard library knows neither that nor why it died, cannot end workers that ignore SIGTERM, and leaves
them behind when the parent is killed; here a closed pipe tells a worker to stop, whoever closed it.
"""

import multiprocessing
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

import cv2

from kinevec.data.script import check_script

J = TypeVar("J")
R = TypeVar("R")
Task = Callable[[J, Callable[[], bool]], R]  # (job, whether to stop) → result; raises Stopped

_LISTEN_SECONDS = 0.1  # between two looks at the request to stop
_PATIENCE_SECONDS = 10  # for a worker to notice that it shall stop


class Stopped(Exception):
    """A task ended early because it was asked to."""


@dataclass(frozen=True)
class Died:
    """A worker process ended in the middle of a job.

    Attributes:
        code: exit code; minus the number of the signal that killed it.
    """

    code: int

    @property
    def crashed(self) -> bool:
        """Whether the job itself brought it down, as a decoder does that reads where it must not."""
        return -self.code in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)

    def __str__(self) -> str:
        if self.code < 0:
            name = signal.Signals(-self.code).name
            return f"{name}, out of memory?" if name == "SIGKILL" else name
        return f"exit code {self.code}"


def run_jobs(
    task: Task[J, R], jobs: Iterable[J], workers: int, stop: threading.Event
) -> Generator[tuple[J, R | Died], None, None]:
    """Does the jobs and yields each with its result, as they get ready; ends early when `stop` is set.

    An exception of a task is raised here; closing the iterator ends the workers.

    Args:
        task: must be picklable, as jobs and results must.
        workers: processes; they are spawned, so a script needs the usual `if __name__ == "__main__"`.
            0 does the jobs in this process, one after the other.
    """
    if workers:
        check_script()
        yield from _Pool(task, workers).run(iter(jobs), stop)
        return
    for job in jobs:
        if stop.is_set():
            return
        try:
            yield job, task(job, stop.is_set)
        except Stopped:
            return


class _Worker(Generic[J, R]):
    """A process, and the job it is at."""

    def __init__(self, task: Task[J, R]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(task, theirs), daemon=True)
        with _signals_held():
            self.process.start()
        theirs.close()  # so that the pipe ends with the worker
        self.job: J

    def give(self, job: J) -> None:
        self.job = job
        try:
            self.pipe.send(job)
        except BrokenPipeError:
            return  # it died while idle: noticed on reading

    def result(self) -> R | Died:
        """What came of the job; raises what the task raised."""
        try:
            good, result = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            return Died(self.process.exitcode or 0)
        if not good:
            raise result
        answer: R = result
        return answer


class _Pool(Generic[J, R]):
    def __init__(self, task: Task[J, R], workers: int) -> None:
        self.task = task
        self.count = workers
        self.busy: list[_Worker[J, R]] = []
        self.idle: list[_Worker[J, R]] = []

    def run(self, jobs: Iterator[J], stop: threading.Event) -> Iterator[tuple[J, R | Died]]:
        try:
            more = True
            while not stop.is_set():
                while more and len(self.busy) < self.count:
                    more = self._begin(jobs)
                if not self.busy:
                    return
                ready = wait([worker.pipe for worker in self.busy], _LISTEN_SECONDS)
                for worker in [worker for worker in self.busy if worker.pipe in ready]:
                    result = worker.result()
                    self.busy.remove(worker)
                    if not isinstance(result, Died):
                        self.idle.append(worker)
                    yield worker.job, result
        finally:
            self._end()

    def _begin(self, jobs: Iterator[J]) -> bool:
        """Gives the next job to a worker; False: there is none."""
        for job in jobs:
            worker = self.idle.pop() if self.idle else _Worker(self.task)
            self.busy.append(worker)
            worker.give(job)
            return True
        return False

    def _end(self) -> None:
        workers = [*self.busy, *self.idle]
        for worker in workers:
            worker.pipe.close()
        for worker in workers:
            worker.process.join(_PATIENCE_SECONDS)
            if worker.process.is_alive():  # stuck in a read from a share that went away
                worker.process.kill()


@contextmanager
def _signals_held() -> Iterator[None]:
    """Keeps SIGINT and SIGTERM from a process while it starts; a terminal sends them to all."""
    resource_tracker.ensure_running()  # starting it later would let the signals through again
    kept = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, kept)


def _work(task: Task[Any, Any], pipe: "Connection[Any, Any]") -> None:
    """The life of a worker. Only its parent ends it, by closing the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    cv2.setNumThreads(1)  # more processes win over more threads
    while True:
        try:
            job = pipe.recv()
            try:
                pipe.send((True, task(job, pipe.poll)))
            except Stopped:
                return
            except Exception as error:
                pipe.send((False, error))
        except (EOFError, OSError):  # the parent ended, or wants us to
            return
