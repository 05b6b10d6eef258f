"""What workers on Ray do in tests, and how they are brought down."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from kinevec.errors import VideoError


class Dying:
    """Makes workers that double numbers; −1 kills the first worker that gets it, −2 each one.

    Args:
        folder: gets a file for each death.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self) -> Callable[[int], int]:
        return self.work

    def work(self, number: int) -> int:
        if number < 0:
            deaths = len(list(self.folder.glob(f"{-number}-*")))
            if number == -2 or not deaths:
                (self.folder / f"{-number}-{deaths}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return 2 * number


def make_refusing() -> Callable[[int], int]:
    def refuse(number: int) -> int:
        raise VideoError(f"{number}.mp4", "is not to be had")

    return refuse


def processes() -> dict[int, tuple[int, str]]:
    """Process → the one above it, and its command line; without those that have ended."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if fields[0] != "Z":
                found[int(entry.name)] = (int(fields[1]), line.strip())
    return found


def of_ray(parent: int) -> dict[int, str]:
    """Process → command line of all of Ray that a process has begun, directly or not."""
    everything = processes()
    found: dict[int, str] = {}
    last = {parent}
    while last:
        last = {process for process, (above, _) in everything.items() if above in last}
        found |= {process: everything[process][1] for process in last}
    return {process: line for process, line in found.items() if "ray" in line}


def all_gone(begun: dict[int, str], seconds: float = 60) -> bool:
    """Whether processes end within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        now = processes()
        if not any(process in now and now[process][1] == line for process, line in begun.items()):
            return True
        time.sleep(0.05)
    return False


def kill_workers() -> int:
    """Kills all workers on the Ray of this process; says how many."""
    workers = [process for process, line in of_ray(os.getpid()).items() if line.startswith("ray::_Worker")]
    for process in workers:
        os.kill(process, signal.SIGKILL)
    return len(workers)


class KillOnce:
    """Progress that kills all workers when the first thing is done."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []
        self.killed = 0

    def __call__(self, done: int, total: int) -> None:
        self.told.append((done, total))
        if done > 0 and not self.killed:
            self.killed = kill_workers()
