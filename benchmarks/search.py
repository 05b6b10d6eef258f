"""Search over many clips: time, memory, and what approximation loses; and what the modes find.

    python benchmarks/search.py speed results/search.json [--clips 100000] [--channels 512] [--queries 200]
    python benchmarks/search.py modes results/search_modes.json [--seeds 0 1 2] [--epochs 40] [--work FOLDER]

`speed` fills an index with made-up vectors: clips of 40 to a video, about 2,000 centres of 64 dimensions, with noise
and a mean far from 0, as features have. `modes` trains the preset `moco` on procedural videos whose background tells
the class in train and misleads in test, and asks for every test clip which train clips are most like it.
"""

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from turns import turns
from usearch.index import search as usearch_search

from kinevec import tasks
from kinevec.config import Config
from kinevec.data import SynthConfig
from kinevec.data.prepare.check import Stamp
from kinevec.data.records import Record
from kinevec.data.trajectories import CLASSES
from kinevec.data.whole import write_text
from kinevec.encoders import Loaded
from kinevec.models import build_encoder
from kinevec.runtime import provenance
from kinevec.search import approximate
from kinevec.search.catalogue import clips as listed
from kinevec.search.embed import VideoVectors
from kinevec.search.filters import Filter
from kinevec.search.index import Index
from kinevec.search.query import Query, query_clip
from kinevec.search.ranking import search
from kinevec.search.score import MODES, Mode
from kinevec.search.settings import Settings

PER_VIDEO = 40  # clips
CENTRES = 2_000
DIMENSIONS = 64
TOP = 10
PROPOSALS = (16, 64, 256, 1024)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="what", required=True)
    speed = commands.add_parser("speed")
    speed.add_argument("result", type=Path)
    speed.add_argument("--clips", type=int, default=100_000)
    speed.add_argument(
        "--channels", type=int, default=512, choices=(128, 512), help="512: R3D-18's; 128: tiny's"
    )
    speed.add_argument("--queries", type=int, default=200)
    modes = commands.add_parser("modes")
    modes.add_argument("result", type=Path)
    modes.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    modes.add_argument("--epochs", type=int, default=40)
    modes.add_argument("--work", type=Path, help="folder to keep runs and videos in")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.what == "speed":
            result = measure(Path(folder), arguments.clips, arguments.channels, arguments.queries)
        else:
            result = found_by_mode(arguments.work or Path(folder), arguments.seeds, arguments.epochs)
    result["load_average"] = os.getloadavg()
    result["provenance"] = provenance("cpu", command=False)
    arguments.result.parent.mkdir(parents=True, exist_ok=True)
    write_text(arguments.result, json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def measure(folder: Path, count: int, channels: int, queries: int) -> dict[str, Any]:
    encoder = build_encoder("tiny" if channels == 128 else "r3d18")
    index = Index.create(folder / "index", Loaded(encoder, Config(), "made up", 0), Settings())
    seconds = {"fill": timed(lambda: fill(index, count))}
    before = resident()
    begun = time.perf_counter()
    state, scorer = index.scored()
    seconds["open"] = time.perf_counter() - begun
    rng = np.random.default_rng(1)
    chosen = [int(clip) for clip in rng.choice(state.clips, queries, replace=False)]
    asked = [query_clip(index, clip) for clip in chosen]
    for mode in MODES:
        seconds[f"lengths, {mode}"] = timed(lambda mode=mode: search(index, asked[0], mode=mode))
    memory = {"before": before, "after searching all modes": resident()}
    some = Filter(folder="folder 7")
    work: dict[str, Callable[[Query], object]] = {
        f"exact, {mode}": lambda query, mode=mode: search(index, query, mode=mode, exact=True)
        for mode in MODES
    }
    work["exact, both, in a folder"] = lambda query: search(index, query, only=some, exact=True)
    work["list a page"] = lambda query: listed(index, offset=count // 2, limit=50)
    work["list a page of a folder"] = lambda query: listed(index, some, limit=50)
    units = scorer.units("both", np.arange(len(state)))
    vectors = {clip: scorer.query("both", query.raw) for clip, query in zip(chosen, asked, strict=True)}
    exact = {clip: np.argsort(-(units @ vector), kind="stable")[:TOP] for clip, vector in vectors.items()}
    again = timed_each(
        {"product": lambda q: units @ vectors[q], "usearch": lambda q: plain(units, vectors[q])}, chosen
    )
    seconds["build graphs of 3 modes"] = timed(lambda: approximate.sync(index))
    memory["after building graphs"] = resident()
    work |= {
        f"graph, {mode}": lambda query, mode=mode: search(index, query, mode=mode, exact=False)
        for mode in MODES
    }
    graph = approximate._open(index.folder, "both", view=True)
    assert graph is not None
    recall = {}
    for proposals in PROPOSALS:
        hits = 0
        for clip, vector in vectors.items():
            keys = graph.graph.search(vector, proposals).keys.astype(np.int64)
            hits += len(set(state.places(np.sort(keys)).tolist()) & set(exact[clip].tolist()))
        recall[str(proposals)] = hits / TOP / queries
    files = {path.name.split("-")[0]: path.stat().st_size / count for path in index.folder.glob("*-*.*")}
    return {
        "kind": "search",
        "clips": count,
        "channels": channels,
        "queries": queries,
        "seconds": seconds,
        "milliseconds": timed_each(work, asked)
        | {f"whole matrix by {name}": value for name, value in again.items()},
        f"recall@{TOP} of the proposals, both": recall,
        "memory_mb": memory,
        "bytes_per_clip": files | {"database": (index.folder / "index.sqlite").stat().st_size / count},
    }


def fill(index: Index, count: int) -> None:
    """Puts made-up videos into an index."""
    channels = index.model["channels"]
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(2, DIMENSIONS, channels)).astype(np.float32) / np.sqrt(DIMENSIONS)
    centres = rng.normal(size=(2, CENTRES, DIMENSIONS)).astype(np.float32)

    def part(kind: int, clips: int, group: int) -> np.ndarray[Any, Any]:
        inner = centres[kind, group] + 0.7 * rng.normal(size=(clips, DIMENSIONS)).astype(np.float32)
        return inner @ basis[kind] + 0.1 * rng.normal(size=(clips, channels)).astype(np.float32)

    with index.writer() as writer:
        root = writer.root("/made up")
        for video in range(0, count, PER_VIDEO):
            clips = min(PER_VIDEO, count - video)
            static = part(0, clips, int(rng.integers(CENTRES))) + 2
            full = static + part(1, clips, int(rng.integers(CENTRES))) + 1
            starts = np.arange(clips) * 0.5
            name = f"folder {video // PER_VIDEO % 100}/{video:08}.mp4"
            vectors = VideoVectors(
                starts, starts + 1, full, static, clips / 2 + 0.5, 25, clips * 13, 320, 240
            )
            writer.put(Record(Path("/made up") / name, name), root, Stamp(1, 1), name, vectors)


def plain(units: np.ndarray[Any, Any], vector: np.ndarray[Any, Any]) -> object:
    return usearch_search(units, vector, TOP, "ip", exact=True, threads=1)


def found_by_mode(work: Path, seeds: list[int], epochs: int) -> dict[str, Any]:
    """For each background and seed: what the modes find, in percent."""
    found: dict[str, Any] = {}
    for seed in seeds:
        videos = {name: work / f"{name}-{seed}" for name in ("biased", "unbiased")}
        for name, folder in videos.items():
            tasks.synth(folder, SynthConfig(videos_per_class=40, background=name, seed=seed))  # type: ignore[arg-type]
        run = work / f"run-{seed}"
        if not (run / "encoder.safetensors").is_file():
            changes = [f"train.epochs={epochs}", f"train.seed={seed}"]
            tasks.pretrain("moco", videos["biased"], run, changes=changes)
        for name, folder in videos.items():
            place = work / f"index-{name}-{seed}"
            tasks.embed(run, folder, place)
            with Index.open(place) as index:
                for mode in MODES:
                    found.setdefault(name, {}).setdefault(mode, []).append(of_train(index, mode))
    summary = {
        name: {
            mode: {
                score: [statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0]
                for score in rows[0]
                for values in [[row[score] for row in rows]]
            }
            for mode, rows in modes.items()
        }
        for name, modes in found.items()
    }
    return {
        "kind": "search_modes",
        "seeds": seeds,
        "epochs": epochs,
        "chance": 10.0,
        "percent": summary,
        "each": found,
    }


def of_train(index: Index, mode: Mode) -> dict[str, float]:
    """For every test clip: does the best train clip have its motion, and how many of the best ten have its motion,
    or a background of its kind (biased videos)?"""
    first = ten = same = 0.0
    queries = listed(index, Filter(splits=("test",)), limit=10**6)
    for one in queries:
        hits = search(
            index,
            query_clip(index, one.clip),
            mode=mode,
            only=Filter(splits=("train",)),
            limit=TOP,
            group=False,
        )
        labels = [hit.label for hit in hits.hits]
        misled = CLASSES[(CLASSES.index(str(one.label)) + len(CLASSES) // 2) % len(CLASSES)]
        first += labels[0] == one.label
        ten += labels.count(one.label) / TOP
        same += labels.count(misled) / TOP
    count = len(queries) / 100
    return {"R@1": first / count, "P@10": ten / count, "misleading background P@10": same / count}


def timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def timed_each(work: dict[str, Callable[[Any], object]], queries: list[Any]) -> dict[str, dict[str, float]]:
    """Milliseconds of each piece of work, which take turns at each query: median, and the slowest 5 %."""
    each: dict[str, list[float]] = {name: [] for name in work}
    for query in queries:
        rounds = turns({name: (lambda call=call, query=query: call(query)) for name, call in work.items()}, 1)
        for name, seconds in rounds.items():
            each[name] += [1000 * value for value in seconds]
    return {
        name: {"median": statistics.median(values), "95 %": float(np.percentile(values, 95))}
        for name, values in each.items()
    }


def resident() -> dict[str, float]:
    """MB of this process now, and at most so far."""
    now = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return {"now": round(now), "most": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)}


if __name__ == "__main__":
    main()
