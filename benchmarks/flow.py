"""What optical flow costs: pairs of frames a second per method, share of the loader's time, size of the cache.

    python benchmarks/flow.py FOLDER results/flow.json [--repeats 5] [--videos 24]

FOLDER holds videos; some are prepared into a temporary folder first. Methods, and loaders, take turns within
one run, on one core. Medians with quartiles.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from turns import turns

from kinevec import config as configuration
from kinevec.config import Config, Flow
from kinevec.data.decode import read_clip
from kinevec.data.files import find_records
from kinevec.data.loader import Samples
from kinevec.data.manifest import read_manifest
from kinevec.data.prepare import PrepareConfig, prepare
from kinevec.data.prepare.flow import build_cache
from kinevec.data.source import FileSource
from kinevec.data.whole import write_text
from kinevec.errors import UsageError
from kinevec.motion.cache import open_cache
from kinevec.motion.flow import END_POINT_ERROR, METHODS, pair_flow
from kinevec.motion.frames import ComputedFlow
from kinevec.runtime import provenance

SIZES = ((128, 171), (64, 86))
PAIRS = 16
SLOW = {"tvl1": 2}  # pairs of methods that take half a second each
LOADERS = {
    "MoCo, no flow": ("moco", None),
    "MSCL, flow computed": ("mscl", "none"),
    "MSCL, flow from the cache": ("mscl", "cache"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--videos", type=int, default=24)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    records = find_records(arguments.data)[:: max(1, len(find_records(arguments.data)) // arguments.videos)]
    result: dict[str, object] = {
        "kind": "flow",
        "data": arguments.data.name,
        "provenance": provenance(command=False),
    }
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "prepared"
        prepare(records, folder, PrepareConfig(short_side=128), workers=1)
        result["methods"] = method_speed(records[0].path, arguments.repeats)
        result["cache"] = {side: cache_size(folder, side) for side in (128, 64)}
        result["loader"] = loader_speed(folder, arguments.repeats)
    print(json.dumps(result, indent=1))
    write_text(arguments.result, json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def method_speed(video: Path, repeats: int) -> dict[str, dict[str, object]]:
    """Pairs a second of every method at every size, and its stated end-point error."""
    clip = read_clip(video, list(range(PAIRS + 1))).frames
    images = {
        size: np.stack([cv2.resize(frame, size[::-1]) for frame in clip]).transpose(0, 3, 1, 2)
        for size in SIZES
    }
    rows: dict[str, dict[str, object]] = {}
    for method in METHODS:
        pairs = [(t, t + 1) for t in range(SLOW.get(method, PAIRS))]

        def work(size: tuple[int, int], method: str = method, pairs: list[tuple[int, int]] = pairs) -> None:
            pair_flow(images[size], pairs, method)

        try:
            work(SIZES[-1])
        except UsageError as error:
            rows[method] = {"absent": str(error)}
            continue
        seconds = turns({str(size): lambda size=size: work(size) for size in SIZES}, repeats)
        rows[method] = {
            f"{height}x{width}": rate(seconds[str((height, width))], len(pairs)) for height, width in SIZES
        } | {"end_point_error_below": END_POINT_ERROR[method]}
    return rows


def cache_size(folder: Path, short_side: int) -> dict[str, float]:
    """Gigabytes of cached flow an hour of video, and frames a second that it was built with."""
    begun = time.perf_counter()
    summary = build_cache(folder, Flow(gap=2, short_side=short_side), workers=0)
    manifest = read_manifest(folder)
    return {
        "gigabytes_an_hour": summary.size / 1e9 / (summary.seconds / 3600),
        "of_the_prepared_files": summary.size / float(manifest.numbers("size").sum()),
        "frames_a_second": float(manifest.frames.sum()) / (time.perf_counter() - begun),
    }


def loader_speed(folder: Path, repeats: int) -> dict[str, dict[str, float]]:
    """Samples (two clips of a video) a second on one core, from prepared files."""
    loaders = {name: samples(folder, *kind) for name, kind in LOADERS.items()}
    count = len(read_manifest(folder))
    epochs = iter(range(1_000_000))

    def work(loader: Samples) -> None:
        epoch = next(epochs)
        for place in range(count):
            loader[epoch, place]

    seconds = turns({name: lambda one=one: work(one) for name, one in loaders.items()}, repeats)
    base = np.median(seconds["MoCo, no flow"])
    return {
        name: rate(values, count) | {"flow_share": float(max(0.0, 1 - base / np.median(values)))}
        for name, values in seconds.items()
    }


def samples(folder: Path, preset: str, store: str | None) -> Samples:
    """The loader's work for one preset, without its processes."""
    config: Config = configuration.load(preset)
    manifest = read_manifest(folder)
    source = FileSource(manifest)
    flows = None
    if store == "none":
        flows = ComputedFlow(source, config.flow)
    elif store == "cache":
        flows = open_cache(folder, manifest, config.flow)
    return Samples(source, config, color_here=True, flows=flows)


def rate(seconds: list[float], count: int) -> dict[str, float]:
    """Things a second: median and quartiles."""
    low, middle, high = (float(q) for q in np.quantile(count / np.array(seconds), (0.25, 0.5, 0.75)))
    return {"per_second": middle, "low": low, "high": high}


if __name__ == "__main__":
    main()
