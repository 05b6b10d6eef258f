"""The workers on Ray, and the jobs they are at."""

import contextlib
import logging
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from kinevec.cluster.place import Cluster, reason, room
from kinevec.errors import WorkError
from kinevec.runtime import quiet_worker

log = logging.getLogger(__name__)

J = TypeVar("J")
R = TypeVar("R")
Make = Callable[[], Callable[[J], R]]  # called once in each worker; gives what does a job there

ATTEMPTS = 3  # workers that may be lost with one job, or in a row while they start
AHEAD = 16  # jobs per worker that may be done before the first that is not, where results come in order
_LISTEN_SECONDS = 0.1  # between two looks at the request to stop
_WAIT_SECONDS = 60  # for a first worker, until it is said what is waited for


@dataclass(frozen=True)
class Lost:
    """Nothing came of a job: every worker that was given it was lost."""

    attempts: int
    reason: str

    def __str__(self) -> str:
        return f"{self.attempts} workers were lost while they were at it; the last: {self.reason}"


@dataclass(frozen=True)
class _Reply:
    """What a worker says of a part, or of itself.

    Attributes:
        seen: whether the file of the part is there for it.
        about: its host, and its version of kinevec.
    """

    result: Any = None
    error: Exception | None = None
    seen: bool = True
    about: tuple[str, str] = ("", "")


class _Worker:
    """A process on Ray that does one job at a time, with one thread."""

    def __init__(self, make: Make[Any, Any]) -> None:
        quiet_worker(0)
        torch.set_num_threads(1)
        self.make = make

    def begin(self) -> _Reply:
        """Makes ready."""
        about = (socket.gethostname(), metadata.version("kinevec"))
        try:
            self.work = self.make()
        except Exception as error:
            return _Reply(error=error, about=about)
        return _Reply(about=about)

    def do(self, job: Any, path: str) -> _Reply:
        """Does a job."""
        about, seen = (socket.gethostname(), ""), os.path.lexists(path)
        try:
            return _Reply(self.work(job), seen=seen, about=about)
        except Exception as error:
            return _Reply(error=error, seen=seen, about=about)


class Pool(Generic[J, R]):
    """The workers, and the jobs they are at.

    Attributes:
        first: the first job whose result has not been taken, where results come in order; else 0.
    """

    def __init__(
        self,
        ray: Any,
        make: Make[J, R],
        jobs: Sequence[J],
        cluster: Cluster,
        path: Callable[[J], Path],
        limit: int,
    ) -> None:
        self.ray = ray
        self.jobs, self.path, self.cluster = jobs, path, cluster
        self.most = cluster.workers or room(ray, cluster)
        self.limit = limit * self.most
        self.first = 0
        self.make = ray.put(make)
        self.kind = ray.remote(_Worker).options(num_cpus=1, num_gpus=cluster.gpus, max_restarts=0)
        self.waiting = deque(range(len(jobs)))
        self.attempts: Counter[int] = Counter()
        self.starting: dict[Any, Any] = {}  # what its start will answer → worker
        self.idle: list[Any] = []
        self.busy: dict[Any, tuple[Any, int]] = {}  # what its job will answer → worker, number of the job
        self.lost_in_a_row = 0
        self.begun = time.monotonic()
        self.said = False

    def results(self, stop: Callable[[], bool]) -> Iterator[tuple[int, R | Lost]]:
        """The number of each job and its result, as they come."""
        while self.waiting or self.busy:
            if stop():
                return
            self._staff()
            while self.idle and self.waiting and self.waiting[0] < self.first + self.limit:
                self._give(self.idle.pop(), self.waiting.popleft())
            ready, _ = self.ray.wait([*self.busy, *self.starting], num_returns=1, timeout=_LISTEN_SECONDS)
            for answer in ready:
                if answer in self.starting:
                    self._welcome(answer)
                else:
                    yield from self._take(answer)

    def end(self) -> None:
        """Ends the workers, whatever they are at."""
        for worker in (*self.starting.values(), *self.idle, *(worker for worker, _ in self.busy.values())):
            self._kill(worker)

    def _staff(self) -> None:
        """Asks for workers where some are missing."""
        wanted = min(self.most, len(self.waiting) + len(self.busy))
        while len(self.starting) + len(self.idle) + len(self.busy) < wanted:
            worker = self.kind.remote(self.make)
            self.starting[worker.begin.remote()] = worker
        if len(self.starting) == wanted and not self.said and time.monotonic() > self.begun + _WAIT_SECONDS:
            self.said = True
            log.warning(
                "no worker has started in %d seconds; each needs 1 CPU and %g GPUs, and Ray has %g and %g in all",
                *(_WAIT_SECONDS, self.cluster.gpus),
                *(self.ray.cluster_resources().get(kind, 0) for kind in ("CPU", "GPU")),
            )

    def _give(self, worker: Any, number: int) -> None:
        job = self.jobs[number]
        self.busy[worker.do.remote(job, str(self.path(job)))] = (worker, number)

    def _welcome(self, answer: Any) -> None:
        """A worker has started, or has failed to."""
        worker = self.starting.pop(answer)
        try:
            reply = self.ray.get(answer)
        except self.ray.exceptions.RayError as error:
            self._kill(worker)
            self.lost_in_a_row += 1
            if self.lost_in_a_row == ATTEMPTS:
                raise WorkError(
                    f"{ATTEMPTS} workers in a row did not start ({reason(error)}). Is the same kinevec installed "
                    "on all machines of the cluster?"
                ) from error
            return
        host, version = reply.about
        if version != metadata.version("kinevec"):
            here = metadata.version("kinevec")
            raise WorkError(f"{host} has kinevec {version}, and here it is {here}: install the same on both")
        if reply.error is not None:
            raise reply.error
        self.lost_in_a_row = 0
        self.idle.append(worker)

    def _take(self, answer: Any) -> Iterator[tuple[int, R | Lost]]:
        """What came of a job; nothing where it is to be done again."""
        worker, number = self.busy.pop(answer)
        job = self.jobs[number]
        try:
            reply = self.ray.get(answer)
        except self.ray.exceptions.RayError as error:
            self._kill(worker)
            self.attempts[number] += 1
            if self.attempts[number] == ATTEMPTS:
                yield number, Lost(ATTEMPTS, reason(error))
                return
            log.warning("a worker was lost at %s, which is done again: %s", self.path(job), reason(error))
            self.waiting.appendleft(number)
            return
        if not reply.seen and os.path.lexists(self.path(job)):
            raise WorkError(
                f"{reply.about[0]} does not see {self.path(job)}, which is there on this machine: videos and output "
                "must lie at the same paths on all machines"
            )
        if reply.error is not None:
            raise reply.error
        self.idle.append(worker)
        yield number, reply.result

    def _kill(self, worker: Any) -> None:
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.ray.kill(worker)
