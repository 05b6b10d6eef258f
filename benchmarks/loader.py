"""Clips a second on one core, from originals and from prepared files, beside the ways in use elsewhere.

    python benchmarks/loader.py results/loader_speed.json --work FOLDER [--utd FOLDER] [--repeats 5]

All readers take turns on the same clips in one run on one core, so that what else the machine does falls on all
of them; given are medians and the spread. Frames are compared with those of a plain decoding from the start, and
a reader that returns neighbours of the frames asked for is named. Readers of packages that are not installed
(decord, torchcodec) are left out, and the result says so. FOLDER keeps made videos for the next run.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from made_videos import make_videos
from readers import PLAIN, Frames, Reader, available
from workers import loader_rates

from kinevec import tasks
from kinevec.data.decode import VideoInfo, iter_frames, probe
from kinevec.data.manifest import read_manifest
from kinevec.data.prepare import PrepareConfig
from kinevec.data.records import Record
from kinevec.data.source import Collection, FileSource, FrameStore
from kinevec.data.whole import write_text
from kinevec.runtime import provenance

Clips = list[list[int]]
SHORT_SIDE = 128
FARTHEST = 3  # frames; a wrong frame is looked for so far away
LENGTHS = (4, 8, 16, 32)  # frames at stride 2


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("result", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--utd", type=Path, help="folder of UTD-MHAD depth videos")
    parser.add_argument("--videos", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=60, help="samples of two clips a repeat")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    load = os.getloadavg()
    readers, absent = available()
    make_videos(arguments.work / "made", arguments.videos)
    sets = {"made": prepared(arguments.work / "made", arguments.work)}
    if arguments.utd:
        sets["utd"] = prepared(arguments.utd, arguments.work, name="utd", most=arguments.videos)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    result: dict[str, Any] = {
        "kind": "loader_speed",
        "seeds": [0],
        "repeats": arguments.repeats,
        "samples": arguments.jobs,
        "short_side": SHORT_SIDE,
        "plain": PLAIN,
        "absent": absent,
        "versions": {
            name: version(name) for name in ("av", "opencv-python-headless", "decord", "torchcodec")
        },
        "load_average": {"before": load},
        "provenance": provenance("cpu", command=False),
        "data": {name: facts(infos) for name, infos in sets.items()},
        "tasks": {},
        "lengths": {},
    }
    for data, kinds in sets.items():
        for task, draw in TASKS.items():
            pairs = [
                (place, original, ours, draw(np.random.default_rng([0, job]), original.frames))
                for job in range(arguments.jobs)
                for place in [job % len(kinds["original"])]
                for original, ours in [(kinds["original"][place], kinds["prepared"][place])]
            ]
            ways = ways_to_read(readers, kinds, pairs, arguments.work / "frames.raw")
            found = race(ways, arguments.repeats, clips=2 * len(pairs))
            result["tasks"][f"{data}, {task}"] = found
            print(data, task, {name: value["median"] for name, value in found.items()}, flush=True)
    result["exact"] = {name: compare(readers, kinds) for name, kinds in sets.items()}
    infos = sets["made"]["prepared"]
    for length in LENGTHS:
        draw = partial(two_clips, frames=length, stride=2)
        jobs = [draw(np.random.default_rng([1, job]), 300) for job in range(arguments.jobs)]
        ways = {
            name: partial(read_all, reader, [(infos[i % len(infos)], clips) for i, clips in enumerate(jobs)])
            for name, reader in readers.items()
        }
        result["lengths"][str(length)] = race(ways, arguments.repeats, clips=2 * len(jobs))
    os.sched_setaffinity(0, cores)
    result["loader"] = loader_rates(arguments.work / "made_prepared", arguments.repeats)
    result["load_average"]["after"] = os.getloadavg()
    arguments.result.parent.mkdir(parents=True, exist_ok=True)
    write_text(arguments.result, json.dumps(result, indent=1) + "\n")


def prepared(videos: Path, work: Path, *, name: str = "made", most: int = 0) -> dict[str, list[VideoInfo]]:
    """Frame tables of originals and of the same videos prepared, as training has them at hand."""
    out = work / f"{name}_prepared"
    tasks.prepare(videos, out, PrepareConfig(short_side=SHORT_SIDE, motion="none"))
    manifest = read_manifest(out)
    places = range(min(most or len(manifest), len(manifest)))
    return {
        "original": [probe(manifest.source(i)) for i in places],
        "prepared": [manifest.info(i) for i in places],
    }


def two_windows(rng: np.random.Generator, count: int) -> Clips:
    """FIMA: two windows of 32 frames; a shorter video gives all it has."""
    starts = rng.integers(max(1, count - 31), size=2)
    return [list(range(start, min(start + 32, count))) for start in starts.tolist()]


def two_clips(rng: np.random.Generator, count: int, *, frames: int = 8, stride: int = 16) -> Clips:
    """MSCL: two clips whose starts are within a clip's span of each other; shorter videos are looped."""
    span = (frames - 1) * stride + 1
    first = int(rng.integers(max(1, count - span + 1)))
    second = int(np.clip(first + rng.integers(1 - span, span), 0, max(0, count - span)))
    return [sorted({(start + stride * t) % count for t in range(frames)}) for start in (first, second)]


TASKS: dict[str, Callable[[np.random.Generator, int], Clips]] = {"FIMA": two_windows, "MSCL": two_clips}


def ways_to_read(
    readers: dict[str, Reader],
    kinds: dict[str, list[VideoInfo]],
    pairs: Sequence[tuple[int, VideoInfo, VideoInfo, Clips]],
    raw: Path,
) -> dict[str, Callable[[], None]]:
    """Name → reads all samples once: each reader on originals and prepared files, and our two sources."""
    ways: dict[str, Callable[[], None]] = {}
    for name, reader in readers.items():
        ways[f"original: {name}"] = partial(read_all, reader, [(info, clips) for _, info, _, clips in pairs])
        ways[f"prepared: {name}"] = partial(read_all, reader, [(info, clips) for *_, info, clips in pairs])
    infos = kinds["prepared"]
    listed = Collection(tuple(Record(info.path, str(i)) for i, info in enumerate(infos)), tuple(infos), ())
    store, _ = FrameStore.build(listed, raw, SHORT_SIDE)
    for name, source in (("prepared: FileSource", FileSource(listed)), ("decoded once: FrameStore", store)):

        def through(source: FileSource | FrameStore = source) -> None:
            for place, _, _, clips in pairs:
                source.read(place, [number for clip in clips for number in clip])

        ways[name] = through
    return ways


def read_all(reader: Reader, jobs: Sequence[tuple[VideoInfo, Clips]]) -> None:
    for info, clips in jobs:
        reader(info, clips)


def race(ways: dict[str, Callable[[], None]], repeats: int, *, clips: int) -> dict[str, dict[str, float]]:
    """Clips a second of each way: median, least and most over rounds in which each has its turn."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            if turn:  # the first round fills caches
                rates[name].append(clips / (time.perf_counter() - begun))
    return {
        name: {"median": round(statistics.median(r), 1), "least": round(min(r), 1), "most": round(max(r), 1)}
        for name, r in rates.items()
    }


def compare(readers: dict[str, Reader], kinds: dict[str, list[VideoInfo]]) -> dict[str, dict[str, Any]]:
    """Reader → how far off its frames are: largest distance in frames, and how many of those asked for."""
    found: dict[str, dict[str, Any]] = {}
    for kind, infos in kinds.items():
        for name in readers:
            found[f"{kind}: {name}"] = {"asked": 0, "wrong": 0, "off_by": 0, "failed": ""}
        for job, info in enumerate(infos[:6]):
            truth = np.stack(list(iter_frames(info.path, size=(info.height, info.width))))
            for draw in TASKS.values():
                clips = draw(np.random.default_rng([2, job]), info.frames)
                numbers = [number for clip in clips for number in clip]
                for name, reader in readers.items():
                    note = found[f"{kind}: {name}"]
                    try:
                        off = offsets(reader(info, clips), truth, numbers)
                    except Exception as error:
                        note["failed"] = f"{type(error).__name__}: {error}"[:200]
                        continue
                    note["asked"] += len(off)
                    note["wrong"] += sum(value != 0 for value in off)
                    note["off_by"] = max(note["off_by"], *map(abs, off))
    return found


def offsets(frames: Frames, truth: Frames, numbers: Sequence[int]) -> list[int]:
    """How many frames later than asked each frame is: the distance to the nearest of those that look most alike."""
    result = []
    for frame, number in zip(frames, numbers, strict=True):
        near = [n for n in range(number - FARTHEST, number + FARTHEST + 1) if 0 <= n < len(truth)]
        errors = {n: float(np.abs(frame.astype(np.int16) - truth[n]).mean()) for n in near}
        least = min(errors.values())
        best = [n - number for n, error in errors.items() if error <= least + 1e-3]
        result.append(min(best, key=abs))
    return result


def facts(kinds: dict[str, list[VideoInfo]]) -> dict[str, Any]:
    """What the videos are like."""
    result: dict[str, Any] = {"videos": len(kinds["original"])}
    for kind, infos in kinds.items():
        frames = [info.frames for info in infos]
        size = sum(info.path.stat().st_size for info in infos)
        result[kind] = {
            "size": f"{infos[0].width}×{infos[0].height}",
            "codec": infos[0].codec,
            "frames": statistics.median(frames),
            "frames_between_keys": round(sum(frames) / sum(max(1, len(info.keys)) for info in infos), 1),
            "kb_a_frame": round(size / sum(frames) / 1e3, 2),
        }
    return result


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return metadata.version("eva-decord") if package == "decord" and "eva-decord" in installed() else None


def installed() -> set[str]:
    return {distribution.metadata["Name"] for distribution in metadata.distributions()}


if __name__ == "__main__":
    main()
