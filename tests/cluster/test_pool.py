"""How workers are asked for, given jobs and missed, on a Ray that is made up: everything happens at once there."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kinevec.cluster import place, pool
from kinevec.cluster.place import Cluster, reason, room
from kinevec.cluster.pool import ATTEMPTS, Lost, Pool
from kinevec.errors import ConfigError, InputError, VideoError, WorkError


class Failed(Exception):
    """The error of Ray."""


class MadeUp:
    """A Ray whose workers answer when they are waited for, the latest one first.

    Attributes:
        failing: asked with the method and its arguments; whether the worker is lost over it.
        most: how many jobs were in workers at once.
        slow: a job that is answered last.
    """

    exceptions = SimpleNamespace(RayError=Failed)

    def __init__(self, failing: Callable[..., bool] = lambda *asked: False) -> None:
        self.failing = failing
        self.asked: dict[int, tuple[Any, str, tuple[Any, ...]]] = {}
        self.count = self.started = self.killed = self.most = 0
        self.options: dict[str, Any] = {}
        self.hanging = False
        self.slow = -1

    def put(self, thing: Any) -> Any:
        return thing

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 3.0, "GPU": 1.0}

    def remote(self, kind: Any) -> Any:
        def options(**given: Any) -> Any:
            self.options = given
            return SimpleNamespace(remote=lambda make: self.start(kind, make))

        return SimpleNamespace(options=options)

    def start(self, kind: Any, make: Any) -> Any:
        self.started += 1
        real = kind.__new__(kind)  # its beginning would quieten this process
        real.make = make
        worker = SimpleNamespace()
        for name in ("begin", "do"):
            setattr(worker, name, SimpleNamespace(remote=lambda *a, n=name: self.ask(real, n, a)))
        return worker

    def ask(self, real: Any, name: str, arguments: tuple[Any, ...]) -> int:
        self.count += 1
        self.asked[self.count] = (real, name, arguments)
        self.most = max(self.most, sum(asked[1] == "do" for asked in self.asked.values()))
        return self.count

    def wait(self, answers: list[int], *, num_returns: int, timeout: float) -> tuple[list[int], list[int]]:
        assert num_returns == 1
        latest = max(answers, key=lambda answer: (self.asked[answer][2][:1] != (self.slow,), answer))
        return ([] if self.hanging else [latest]), answers

    def get(self, answer: int) -> Any:
        real, name, arguments = self.asked.pop(answer)
        if self.failing(name, *arguments):
            raise Failed("The actor died.\n\tactor_id: 1f\nWorker exit detail: it was\nkilled.")
        return getattr(real, name)(*arguments)

    def kill(self, worker: Any) -> None:
        self.killed += 1


def make() -> Callable[[int], int]:
    return lambda number: 2 * number


def results(
    ray: MadeUp, count: int, cluster: Cluster, limit: int = 1000, where: str = __file__
) -> Iterator[tuple[int, int | Lost]]:
    made: Pool[int, int] = Pool(ray, make, range(count), cluster, lambda job: Path(where), limit)
    try:
        yield from made.results(lambda: False)
    finally:
        made.end()


@pytest.mark.parametrize(("workers", "gpus", "fit"), [(0, 0.0, 3), (2, 0.0, 2), (0, 0.5, 2), (9, 0.0, 9)])
def test_each_worker_has_one_job_and_there_are_no_more_than_asked(
    workers: int, gpus: float, fit: int
) -> None:
    ray = MadeUp()
    assert sorted(results(ray, 20, Cluster(None, workers, gpus))) == [(i, 2 * i) for i in range(20)]
    assert ray.started == ray.killed == fit
    assert 1 <= ray.most <= fit
    assert ray.options == {"num_cpus": 1, "num_gpus": gpus, "max_restarts": 0}
    few = MadeUp()
    assert len(list(results(few, 1, Cluster(None, workers, gpus)))) == few.started == 1


def test_results_in_order_do_not_run_far_ahead() -> None:
    ray = MadeUp()
    ray.slow = 0
    seen = []
    made: Pool[int, int] = Pool(ray, make, range(30), Cluster(None, 2), lambda job: Path(__file__), 3)
    for number, _ in made.results(lambda: len(seen) > 100):
        seen.append(number)
        assert number < made.first + 2 * 3
        while made.first in seen:
            made.first += 1
    assert sorted(seen) == list(range(30))
    assert seen.index(0) == 2 * 3 - 1


def test_workers_that_never_start_end_it() -> None:
    ray = MadeUp(lambda name, *asked: name == "begin")
    with pytest.raises(WorkError, match=r"3 workers in a row did not start \(Failed: it was killed\.\)"):
        list(results(ray, 5, Cluster(None, 2)))
    assert ray.killed == ray.started
    failures = iter([True, True, False] * 2)  # the one that has started at last is lost with a job
    lost = iter([True, False, False])
    ray = MadeUp(lambda name, *asked: next(failures if name == "begin" else lost))
    assert len(list(results(ray, 2, Cluster(None, 1)))) == 2
    assert ray.started == 6


def test_a_job_is_tried_three_times_and_the_others_are_done() -> None:
    tries = []

    def failing(name: str, *asked: object) -> bool:
        if name == "do" and asked[0] == 1:
            tries.append(1)
        return name == "do" and asked[0] == 1

    found = dict(results(MadeUp(failing), 4, Cluster(None, 2)))
    assert len(tries) == ATTEMPTS
    assert found == {0: 0, 1: Lost(ATTEMPTS, "Failed: it was killed."), 2: 4, 3: 6}


def test_other_versions_and_other_disks_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = Cluster(None, 1)
    gone = str(tmp_path / "gone.mp4")
    assert len(list(results(MadeUp(), 2, one, where=gone))) == 2  # it is nowhere: the job says so itself
    there = iter([False, True])  # for the worker, and here
    monkeypatch.setattr(pool.os.path, "lexists", lambda path: next(there))
    with pytest.raises(WorkError, match=r"does not see .*gone\.mp4, which is there on this machine"):
        list(results(MadeUp(), 2, one, where=gone))
    versions = iter(["0.1", "0.2", "0.2"])  # the worker's, then ours
    monkeypatch.setattr(pool.metadata, "version", lambda name: next(versions))
    with pytest.raises(WorkError, match=r"has kinevec 0\.1, and here it is 0\.2"):
        list(results(MadeUp(), 2, one))


def test_what_a_worker_raises_is_raised_here() -> None:
    def making() -> Callable[[int], int]:
        raise VideoError("model", "does not fit")

    def failing() -> Callable[[int], int]:
        return lambda number: 1 // number

    for wrong, error in ((making, VideoError), (failing, ZeroDivisionError)):
        ray = MadeUp()
        made: Pool[int, int] = Pool(ray, wrong, range(3), Cluster(None, 1), lambda job: Path(__file__), 9)
        with pytest.raises(error):
            list(made.results(lambda: False))


def test_it_ends_when_asked_and_ends_the_workers() -> None:
    ray = MadeUp()
    done: list[int] = []
    made: Pool[int, int] = Pool(ray, make, range(100), Cluster(None, 2), lambda job: Path(__file__), 100)
    for number, _ in made.results(lambda: len(done) == 3):
        done.append(number)
    assert len(done) == 3
    made.end()
    assert ray.killed == ray.started == 2


def test_what_is_waited_for_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter(range(0, 10_000, 25))
    monkeypatch.setattr(pool.time, "monotonic", lambda: next(clock))
    ray = MadeUp()
    ray.hanging = True
    made: Pool[int, int] = Pool(ray, make, range(2), Cluster(None, 1, 0.5), lambda job: Path(__file__), 9)
    looks = iter([False] * 9 + [True])
    assert list(made.results(lambda: next(looks))) == []
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.endswith("60 seconds; each needs 1 CPU and 0.5 GPUs, and Ray has 3 and 1 in all")


def test_a_reason_is_one_line() -> None:
    assert reason(Failed("a\n b" + 300 * " c")).startswith("Failed: a b c c")
    assert len(reason(Failed("word " * 300))) < 260


def test_it_is_said_where_no_ray_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InputError, match=f"no Ray answers at {address}"):
            place._answering(address)
        taken.listen()
        assert place._answering(address) == address
    assert place._answering("auto") == "auto"

    def init(*, address: str, **more: object) -> None:
        raise ConnectionError("could not\nfind any")

    absent = SimpleNamespace(init=init)
    with pytest.raises(InputError, match="start one with `ray start --head`"):
        place._connect(absent, address="auto")
    with pytest.raises(InputError, match="cannot work on Ray: ConnectionError: could not find any"):
        place._connect(absent, address="bogus")


def test_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ({"workers": -1}, {"gpus": -0.5}, {"gpus": 1.5}):
        with pytest.raises(ConfigError, match="workers with"):
            Cluster(**wrong)  # type: ignore[arg-type]
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    poor = SimpleNamespace(cluster_resources=lambda: {"CPU": 2.0})
    assert room(poor, Cluster("auto", 0, 1.0)) == 1  # an autoscaler may add some
    with pytest.raises(InputError, match="no GPU"):
        room(poor, Cluster(None, 0, 1.0))
    assert Cluster().own
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert not Cluster().own
    monkeypatch.setattr(place.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'kinevec\[ray\]'"):
        Cluster()
