"""A manifest of a million videos: seconds to open it and to the first batch, and memory of every process.

    python benchmarks/scale.py results/manifest_scale.json [--rows 1000000] [--workers 2] [--repeats 5]

The rows are made up but point to some hundred real prepared files, so that batches are decoded as in training.
Memory is read from /proc (Linux). RSS counts the pages of the mapped manifest that a process has touched, PSS
divides what several processes share among them, and USS is what a process has for itself.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kinevec import config as configuration
from kinevec import tasks
from kinevec.data.loader import EpochSampler, Samples, make_loader
from kinevec.data.manifest import read_manifest
from kinevec.data.manifest_file import PARQUET, SCHEMA, map_manifest
from kinevec.data.prepare import PrepareConfig
from kinevec.data.source import FileSource, fingerprint
from kinevec.data.synthetic import SynthConfig
from kinevec.data.whole import write_text
from kinevec.runtime import provenance

CHANGES = ["clip.frames=16", "clip.stride=2", "clip.size=112", "data.store=files", "train.batch=32"]
LABELS = 400
STEPS = 40  # batches after which the memory of the workers is read
GROUP = 16_384  # rows
KEYS = ("rss_mb", "pss_mb", "uss_mb")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("result", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--videos", type=int, default=300, help="real files that the rows point to")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--measure", type=Path, help="measure a manifest and print JSON (used by itself)")
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.workers)))
        return
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "prepared"
        size = make_manifest(Path(folder) / "videos", data, arguments.rows, arguments.videos)
        command = [sys.executable, __file__, str(arguments.result), "--workers", str(arguments.workers)]
        runs = [
            json.loads(subprocess.run([*command, "--measure", str(data)], check=True, stdout=-1).stdout)
            for _ in range(arguments.repeats + 1)
        ][1:]  # the first one reads the files into the page cache
    result = {
        "kind": "manifest_scale",
        "rows": arguments.rows,
        "files": arguments.videos,
        "manifest_mb": size,
        "workers": arguments.workers,
        "seeds": [0],
        "repeats": arguments.repeats,
        "settings": CHANGES,
        "load_average": os.getloadavg(),
        "provenance": provenance("cpu", command=False),
        "median": summary(runs, statistics.median),
        "least": summary(runs, min),
        "most": summary(runs, max),
    }
    arguments.result.parent.mkdir(parents=True, exist_ok=True)
    write_text(arguments.result, json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["median"], indent=1))


def make_manifest(videos: Path, out: Path, rows: int, files: int) -> dict[str, float]:
    """Prepares some made-up videos and lists them again and again under other names; returns MB of both files.

    The list names labels but no splits: holding videos out is the slowest way to open it.
    """
    tasks.synth(videos, SynthConfig(videos_per_class=files // 10, size=128, frames=64))
    (videos / "labels.csv").unlink()  # which names splits
    tasks.prepare(videos, out, PrepareConfig())
    table = pq.read_table(out / PARQUET).cast(SCHEMA)
    rng = np.random.default_rng(0)
    with pq.ParquetWriter(out / "more.parquet", SCHEMA, compression="zstd") as writer:
        for start in range(0, rows, GROUP):
            numbers = np.arange(start, min(start + GROUP, rows))
            part = table.take(pa.array(numbers % len(table)))
            labels = rng.integers(LABELS, size=len(numbers))
            columns = {
                "name": [
                    f"class_{label:03}/video_{i:07}.mp4" for label, i in zip(labels, numbers, strict=True)
                ],
                "label": [f"class_{label:03}" for label in labels],
                "hash": [f"{i:032x}" for i in numbers],
            }
            for name, values in columns.items():
                place = SCHEMA.get_field_index(name)
                part = part.set_column(place, SCHEMA.field(name), pa.array(values))
            writer.write_table(part)
    (out / "more.parquet").replace(out / PARQUET)
    map_manifest(out)
    return {
        path.suffix.lstrip("."): round(path.stat().st_size / 1e6, 1)
        for path in sorted(out.glob("manifest.*"))
    }


def measure(data: Path, workers: int) -> dict[str, Any]:
    """Opens a manifest as training does and reads some batches; seconds and MB."""
    result: dict[str, Any] = {"memory": {"main, before": memory(os.getpid())}}
    config = configuration.load("moco", CHANGES)
    seconds: dict[str, float] = {}
    begun = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal begun
        seconds[name] = time.perf_counter() - begun
        begun = time.perf_counter()

    everything = read_manifest(data)
    lap("open")
    del everything
    begun = time.perf_counter()
    videos = tasks.open_training(data, config)
    lap("open and hold out a quarter")
    result["memory"]["main, opened"] = memory(os.getpid())
    fingerprint(videos)
    lap("compare with a checkpoint")
    samples = Samples(FileSource(videos), config, color_here=True)
    sampler = EpochSampler(len(videos), config.train.batch, config.train.seed)
    loader = make_loader(samples, sampler, workers=workers, pin=False)
    batches = iter(loader)
    next(batches)
    lap("first batch")
    for _ in range(STEPS):
        next(batches)
    result["batches per second"] = STEPS / (time.perf_counter() - begun)
    result["memory"]["main, training"] = memory(os.getpid())
    each = [memory(process.pid) for process in batches._workers]
    result["memory"]["worker"] = {key: max(found[key] for found in each) for key in KEYS}
    result["seconds"] = seconds
    result["steps an epoch"] = len(sampler)
    return result


def memory(process: int) -> dict[str, float]:
    """MB of a process: resident, its share of what is shared, and its own."""
    fields: dict[str, int] = {}
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.replace(":", " ").split()
        fields[name] = int(value)
    own = fields["Private_Clean"] + fields["Private_Dirty"]
    return dict(zip(KEYS, (round(kb / 1024, 1) for kb in (fields["Rss"], fields["Pss"], own)), strict=True))


def summary(runs: list[Any], of: Any) -> Any:
    """The same tree with one number of each."""
    if isinstance(runs[0], dict):
        return {key: summary([run[key] for run in runs], of) for key in runs[0]}
    return round(of(runs), 3)


if __name__ == "__main__":
    main()
