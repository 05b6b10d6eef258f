"""Memory that is kept between steps: pages are given out once, not at every step."""

import subprocess
import sys

import pytest

from kinevec.train import heap

# Page faults of filling 64 MB again and again, in a process of its own: what is arranged stays arranged.
COUNT = """
import ctypes, resource, sys
from kinevec.train.heap import keep_freed_memory
assert sys.argv[1] == "no" or keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def fill():
    place = ctypes.c_void_p(libc.malloc(2**26))
    ctypes.memset(place, 1, 2**26)
    libc.free(place)
for _ in range(4): fill()
before = faults()
for _ in range(4): fill()
print(faults() - before)
"""


def count_faults(kept: str) -> int:
    run = subprocess.run([sys.executable, "-c", COUNT, kept], check=True, capture_output=True, text=True)
    return int(run.stdout)


@pytest.mark.skipif(heap.platform.libc_ver()[0] != "glibc", reason="glibc alone can be told to keep memory")
def test_freed_memory_is_kept() -> None:
    pages = 4 * 64 * 2**20 // 4096
    assert count_faults("no") > 0.4 * pages
    assert count_faults("yes") < 0.01 * pages


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _: pytest.fail("called"))
    assert not heap.keep_freed_memory()
