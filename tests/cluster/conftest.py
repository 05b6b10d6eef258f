"""One Ray with two workers for all tests that need one."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from kinevec.cluster import Cluster, joined
from ray_jobs import all_gone, of_ray


@pytest.fixture(scope="session")
def two() -> Iterator[Cluster]:
    """A Ray of two workers on this machine; what it has begun is gone at the end."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    cluster = Cluster(workers=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))  # where workers find what tests give them
        patch.setenv("RAY_worker_niceness", "0")  # at 15, as Ray has it, they starve where the cores are busy
        with joined(cluster):
            yield cluster
            begun = of_ray(os.getpid())
    assert begun
    assert all_gone(begun)
