"""Jobs done in workers on Ray.

Ray's own retries are not used: they count neither how often one job has brought its worker down, nor say why.
"""

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TypeVar

from kinevec.cluster.place import Cluster, joined, reason
from kinevec.cluster.pool import AHEAD, Lost, Make, Pool
from kinevec.errors import WorkError

J = TypeVar("J")
R = TypeVar("R")


def spread(
    make: Make[J, R],
    jobs: Sequence[J],
    cluster: Cluster,
    *,
    path: Callable[[J], Path],
    stop: Callable[[], bool] = lambda: False,
    ordered: bool = False,
) -> Generator[tuple[J, R | Lost], None, None]:
    """Does jobs in workers on Ray, one at a time in each, and yields each with its result.

    A job whose worker is lost is given to another one, three times in all. Closing the iterator ends the workers,
    and Ray itself where it was started for this; Ray that the program has joined before is used and left running.

    Args:
        make: sent to each machine once and called once in each worker, where it may load what all jobs need; jobs
            and results must be picklable too.
        path: the file that a job reads.
        stop: asked several times a second; when it says yes the iterator ends early. May raise.
        ordered: yield in the order of the jobs, rather than as results come.

    Raises:
        InputError: there is no Ray at the address.
        WorkError: workers do not start, run another version of kinevec, or do not see a file that is seen here; or
            Ray itself failed.
        Exception: what a job, or `make`, raised.
    """
    if not jobs:
        return
    with joined(cluster) as ray:
        limit = AHEAD if ordered else len(jobs)
        pool = Pool(ray, make, jobs, cluster, path, limit)
        held: dict[int, R | Lost] = {}
        try:
            for number, result in pool.results(stop):
                held[number] = result
                if not ordered:
                    yield jobs[number], held.pop(number)
                while ordered and pool.first in held:
                    yield jobs[pool.first], held.pop(pool.first)
                    pool.first += 1
        except ray.exceptions.RayError as error:
            raise WorkError(f"Ray failed ({reason(error)}); run the same again to go on") from error
        finally:
            pool.end()
