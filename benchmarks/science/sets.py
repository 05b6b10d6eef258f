"""Write the benchmark's three sets of videos, once.

    python benchmarks/science/sets.py SOURCE WORK [--seed 0]

SOURCE is a folder of depth videos of people before black, with labels.csv (path, label, group, split). Each set is
a folder WORK/sets/KIND of small H.264 files with a labels.csv of its own, set.json, which says how it was made, and
families.json, which says what family of textures each video has behind.
"""

import argparse
import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from people import cut_out
from scenes import KINDS, Kind, Look, family_behind, scene

from kinevec.data import Record, find_records
from kinevec.data.decode import iter_frames, probe
from kinevec.data.whole import write_text, write_whole
from kinevec.errors import DataError, OutputError

MADE = 1  # raise it whenever the same source, look and seed would give other videos
FAMILIES = "families.json"
KEYFRAME_EVERY = 16
QUALITY = "16"  # x264's crf: textures keep their grain


def write_sets(
    source: Path,
    work: Path,
    look: Look | None = None,
    *,
    kinds: Sequence[Kind] = KINDS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Writes `work/sets/KIND` for every kind; of what is there already only what is missing.

    Raises:
        OutputError: a set is there that was made otherwise.
        DataError: the source lacks labels or splits.
    """
    look = look or Look()
    records = find_records(source)
    if not all(record.label and record.group and record.split for record in records):
        raise DataError(f"{source}: every video needs a label, a group (who is to be seen) and a split")
    labels = sorted({record.label for record in records if record.label})
    facts = {"made": MADE, "videos": len(records), "classes": len(labels), "seed": seed, "look": asdict(look)}
    for kind in kinds:
        _claim(work / "sets" / kind, facts | {"kind": kind})
    for index, record in enumerate(records):
        paths = {kind: work / "sets" / kind / record.name for kind in kinds}
        if missing := [kind for kind in kinds if not paths[kind].is_file()]:
            grey = np.stack([frame[..., 0] for frame in iter_frames(record.path)])
            person = cut_out(grey, look.size, look.margin)
            fps = round(probe(record.path).fps)
            for kind in missing:
                rng = np.random.default_rng([seed, index])
                label = labels.index(record.label or "")
                frames = scene(person, look, kind, label, len(labels), record.split or "", rng)
                paths[kind].parent.mkdir(parents=True, exist_ok=True)
                write_whole(
                    paths[kind],
                    lambda aside, frames=frames, fps=fps: aside.write_bytes(_encoded(frames, fps)),
                )
        if progress:
            progress(index + 1, len(records))
    for kind in kinds:
        write_text(work / "sets" / kind / "labels.csv", _table(records))
        if kind == "original":
            continue
        behind = {
            record.name: family_behind(
                kind,
                labels.index(record.label or ""),
                len(labels),
                record.split or "",
                np.random.default_rng([seed, index]),
            )
            for index, record in enumerate(records)
        }
        write_text(work / "sets" / kind / FAMILIES, json.dumps(behind, indent=0) + "\n")


def _claim(folder: Path, facts: dict[str, object]) -> None:
    """Makes the folder of a set, or finds that it is there already and was made from the same."""
    said = folder / "set.json"
    text = json.dumps(facts, indent=2) + "\n"
    if said.is_file() and said.read_text("utf-8") != text:
        raise OutputError(
            f"{folder}: was made otherwise (see set.json in it); remove it or name another folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_text(said, text)


def _table(records: Sequence[Record]) -> str:
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("path", "label", "group", "split"))
    rows.writerows((record.name, record.label, record.group, record.split) for record in records)
    return table.getvalue()


def _encoded(frames: NDArray[np.uint8], fps: int) -> bytes:
    """H.264 in MP4, the same bytes for the same frames."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        options = {"crf": QUALITY, "preset": "veryfast", "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = KEYFRAME_EVERY
        stream.codec_context.max_b_frames = 0
        stream.codec_context.thread_count = 1  # x264's choices depend on the number of threads
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    def told(done: int, total: int) -> None:
        if done % 50 == 0 or done == total:
            print(f"{done} of {total} videos", flush=True)

    write_sets(arguments.source, arguments.work, seed=arguments.seed, progress=told)


if __name__ == "__main__":
    main()
