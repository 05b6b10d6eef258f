"""Clips a second of the whole loader, decoding to handing over, with none, one and two worker processes."""

import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scale import KEYS, memory

from kinevec import config as configuration
from kinevec.config import Config
from kinevec.data.decode import Clip
from kinevec.data.loader import EpochSampler, Samples, make_loader
from kinevec.data.manifest import Manifest, read_manifest
from kinevec.data.source import FileSource

BATCH = 8
STEPS = 40  # batches of one measurement
MANY = 1_000_000  # videos of a made-up epoch that never ends
# As the presets of the papers sample; colours on the device. Terms that need optical flow, which has a benchmark
# of its own, are off: what is timed is decoding, cropping, stacking and handing over.
LOADS = {
    "FIMA": ("fima-ucf101", ["clip.size=112"]),
    "MSCL": (
        "mscl-r3d18",
        ["terms.flow=0", "terms.cross=0", "terms.rotated=0", "terms.local=0", "sampling.moving=false"],
    ),
}


class Again:
    """The videos of a manifest again and again; see `kinevec.data.source.Source`."""

    def __init__(self, videos: Manifest) -> None:
        self.source = FileSource(videos)

    def __len__(self) -> int:
        return MANY

    def frames(self, index: int) -> int:
        return self.source.frames(index % len(self.source))

    def read(self, index: int, numbers: Sequence[int]) -> Clip:
        return self.source.read(index % len(self.source), numbers)


def loader_rates(data: Path, repeats: int) -> dict[str, Any]:
    """Task → workers → clips a second and memory in MB; rounds take turns."""
    source = Again(read_manifest(data))
    result: dict[str, Any] = {}
    for task, (preset, changes) in LOADS.items():
        config = configuration.load(preset, changes)
        found: dict[int, list[dict[str, float]]] = {workers: [] for workers in (0, 1, 2)}
        for turn in range(repeats):
            for workers, runs in found.items():
                runs.append(measure(config, source, workers, seed=turn))
        result[task] = {
            str(workers): {
                "median": round(statistics.median(run["rate"] for run in runs), 1),
                "least": round(min(run["rate"] for run in runs), 1),
                "most": round(max(run["rate"] for run in runs), 1),
                "cpu_ms_a_clip": round(statistics.median(run["cpu_ms"] for run in runs), 2),
                "memory": {key: max(run[key] for run in runs) for key in KEYS},
            }
            for workers, runs in found.items()
        }
        print(task, {workers: found["median"] for workers, found in result[task].items()}, flush=True)
    return result


def measure(config: Config, source: Again, workers: int, *, seed: int) -> dict[str, float]:
    """Clips a second, and the largest memory of a worker; without workers all is done on one core."""
    cores = os.sched_getaffinity(0)
    if not workers:
        os.sched_setaffinity(0, {max(cores)})
    samples = Samples(source, config, color_here=False)
    loader = make_loader(samples, EpochSampler(MANY, BATCH, seed), workers=workers, pin=False)
    batches = iter(loader)
    for _ in range(5 * workers + 1):  # what is made in advance while the others start does not count
        next(batches)
    processes = [process.pid for process in batches._workers] if workers else []
    spent, begun = cpu_seconds(processes), time.perf_counter()
    for _ in range(STEPS):
        next(batches)
    clips, seconds = 2 * BATCH * STEPS, time.perf_counter() - begun
    spent = cpu_seconds(processes) - spent
    sizes = [memory(process) for process in processes or [os.getpid()]]
    os.sched_setaffinity(0, cores)
    return {"rate": clips / seconds, "cpu_ms": 1000 * spent / clips} | {
        key: max(size[key] for size in sizes) for key in KEYS
    }


def cpu_seconds(workers: list[int]) -> float:
    """Processor time so far of this process and of its workers: it grows little where others use the cores too."""
    total = time.process_time()
    for process in workers:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total
