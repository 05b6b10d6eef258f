"""Helpers of the tests of `prepare`: small folders of videos, and what is in an output folder."""

import csv
from pathlib import Path

import numpy as np

from faults import numbered_video, read_number
from kinevec.data.decode import VideoInfo, probe, read_clip
from kinevec.data.files import find_records
from kinevec.data.manifest import read_manifest
from kinevec.data.prepare import PrepareConfig, Summary, prepare
from kinevec.data.prepare.entries import Prepared
from kinevec.data.prepare.folder import Folder
from kinevec.data.prepare.transcode import Job, Outcome, Transcoder

PLAIN = PrepareConfig(motion="none")
SMALL = PrepareConfig(short_side=32, motion="none")


def make_videos(folder: Path, *names: str, frames: int = 6) -> Path:
    """Numbered videos of so many frames, and one more each."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        numbered_video(folder / name, frames + i, (48, 40))
    return folder


def run(videos: Path, out: Path, config: PrepareConfig = SMALL, **options: object) -> Summary:
    """Prepares a folder in this process, unless told otherwise."""
    return prepare(find_records(videos), out, config, **({"workers": 0} | options))  # type: ignore[arg-type]


def names(out: Path) -> list[str | None]:
    """Names in the manifest."""
    return read_manifest(out).texts("name")


def rejected(out: Path) -> dict[str, tuple[str, str]]:
    """Name → kind and reason of what was left out."""
    with (out / "rejected.csv").open(newline="", encoding="utf-8") as file:
        return {row["name"]: (row["kind"], row["reason"]) for row in csv.DictReader(file)}


def state(out: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of every prepared file."""
    files = [path for path in (out / "videos").rglob("*") if path.is_file()]
    return {str(path.relative_to(out)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def clean(out: Path) -> None:
    """Every prepared file is in the manifest, every row of it can be read, and nothing else lies about."""
    manifest = read_manifest(out)
    paths = {str(manifest.record(i).path.relative_to(out.absolute())) for i in range(len(manifest))}
    assert paths == set(state(out))
    for i in range(len(manifest)):
        info = manifest.info(i)
        clip = read_clip(info.path, [0, info.frames - 1], info=info)
        assert [read_number(frame) for frame in clip.frames] == [0, info.frames - 1]
    known = {"videos", "prepare.json", "journal.jsonl", "rejected.csv", "duplicates.csv"}
    assert {path.name for path in out.iterdir()} == known | {"manifest.parquet", "manifest.arrow"}


def transcode(source: Path, config: PrepareConfig = PLAIN) -> Outcome:
    """What the task of the workers makes of one file."""
    root = source.parent / "out"
    (root / "parts").mkdir(parents=True, exist_ok=True)
    return Transcoder(Folder(root), config)(Job(source.name, source), lambda: False)


def prepared(source: Path, config: PrepareConfig = PLAIN) -> VideoInfo:
    """The prepared file as it is listed, which is as it is."""
    outcome = transcode(source, config)
    assert isinstance(outcome.result, Prepared), outcome.result
    assert outcome.part is not None
    listed, there = outcome.result.table.info(outcome.part), probe(outcome.part)
    same_table(listed, there)
    assert outcome.part.stat().st_size == outcome.result.size
    return listed


def same_table(a: VideoInfo, b: VideoInfo) -> None:
    """Asserts that two frame tables are equal to the last bit."""
    assert (a.path, a.width, a.height, a.codec, a.keys) == (b.path, b.width, b.height, b.codec, b.keys)
    np.testing.assert_array_equal(a.times, b.times)
    assert (a.pts is None) == (b.pts is None)
    if a.pts is not None:
        np.testing.assert_array_equal(a.pts, b.pts)


def shown_numbers(info: VideoInfo, asked: list[int] | None = None) -> list[int]:
    """The numbers that the asked frames show; all of them by default."""
    asked = list(range(info.frames)) if asked is None else asked
    return [read_number(frame) for frame in read_clip(info.path, asked, info=info).frames]
