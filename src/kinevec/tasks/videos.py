"""Making, preparing and opening videos."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from kinevec.cluster import Cluster
from kinevec.config import Config, Flow
from kinevec.data import (
    Collection,
    Record,
    SynthConfig,
    Videos,
    find_records,
    open_videos,
    with_split,
    write_synthetic_videos,
)
from kinevec.data import prepare as preparation
from kinevec.data.manifest import Manifest, read_manifest
from kinevec.data.manifest_file import PARQUET
from kinevec.data.official import read_official
from kinevec.data.prepare import PrepareConfig, Summary
from kinevec.data.prepare.flow import FlowSummary, build_cache
from kinevec.errors import DataError
from kinevec.runtime import cores
from kinevec.tasks.watcher import Silent, Watcher, counter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Official:
    """The official lists of a data set; see `kinevec.data.official`."""

    name: str  # such as ucf101; a key of kinevec.data.official.OFFICIAL
    lists: Path | None = None  # folder of the annotation files; None: beside the videos
    fold: int = 1  # which official split
    allow_missing: bool = False  # go on without listed videos that are not there

    def records(self, videos: Path) -> tuple[Record, ...]:
        """All listed videos, also those that are allowed to be missing: they will be rejected as such.

        Raises: ConfigError, InputError, DataError as for `read_official`.
        """
        missing: Literal["error", "skip"] = "skip" if self.allow_missing else "error"
        found = read_official(self.name, videos, self.lists, fold=self.fold, missing=missing)
        log.info("%s", found.description)
        return found.records + tuple(Record(videos / name, name) for name in dict.fromkeys(found.missing))


def synth(out: str | Path, config: SynthConfig | None = None, *, watcher: Watcher | None = None) -> Path:
    """Makes procedural motion videos whose classes differ only by motion.

    Returns:
        The list of the videos, `labels.csv` in the folder.
    """
    progress = counter(watcher or Silent(), "making videos")
    return write_synthetic_videos(Path(out), config or SynthConfig(), progress=progress)


def prepare(
    videos: str | Path,
    out: str | Path,
    config: PrepareConfig | None = None,
    *,
    official: Official | None = None,
    workers: int = 0,
    cluster: Cluster | None = None,
    watcher: Watcher | None = None,
) -> Summary:
    """Checks, transcodes, measures and lists videos once, so that training reads them fast.

    Args:
        videos: folder, CSV or single file; of an official data set, the folder of its videos.
        out: folder of the prepared videos; goes on where an earlier run ended.
        official: take labels and splits from the lists of a data set, and only the videos in them.
        workers: processes; 0: one per core.
        cluster: work there instead, with its own number of workers.
    """
    progress = counter(watcher or Silent(), "preparing")
    records = official.records(Path(videos)) if official else find_records(Path(videos))
    processes = workers or cores()
    return preparation.prepare(
        records, Path(out), config, workers=processes, cluster=cluster, progress=progress
    )


def flow(
    data: str | Path, settings: Flow | None = None, *, workers: int = 0, watcher: Watcher | None = None
) -> FlowSummary:
    """Computes the optical flow of prepared videos once, and keeps it beside them.

    Args:
        data: folder that `prepare` made; goes on where an earlier run ended.
        settings: method, gap and size; training needs the same. Its `store` is not used here.
        workers: processes; 0: one per core, or this one alone for RAFT.
    """
    wanted = settings or Flow()
    processes = workers or (0 if wanted.method == "raft" else cores())
    progress = counter(watcher or Silent(), "computing flow")
    return build_cache(Path(data), wanted, workers=processes, progress=progress)


def open_training(data: str | Path, config: Config, watcher: Watcher | None = None) -> Videos:
    """The videos to pretrain on: those of the configured split, of which next to nothing is held in memory
    where they were prepared.

    Args:
        data: folder, CSV or single file, or a folder that `prepare` made.

    Raises:
        DataError: no video belongs to the split, or none can be read.
    """
    manifest = _prepared(data, config)
    if manifest is None:
        return open_collection(data, config, watcher, split=config.data.split)
    return manifest if config.data.split == "all" else manifest.select(config.data.split)


def open_collection(
    data: str | Path, config: Config, watcher: Watcher | None = None, *, split: str = "all", most: int = 0
) -> Collection:
    """Finds, splits and probes the videos of a folder or list, and holds all that is known of them.

    Args:
        data: as for `open_training`.
        split: keep only this one; "all" keeps every video.
        most: draw at most so many videos; 0: all.

    Raises:
        DataError: no video belongs to the split, or none can be read.
    """
    manifest = _prepared(data, config)
    if manifest is not None:  # its tables say what opening every file would
        part = manifest if split == "all" else manifest.select(split)
        drawn = _drawn(len(part), most, config.train.seed)
        return Collection(tuple(map(part.record, drawn)), tuple(map(part.info, drawn)), ())
    records = with_split(find_records(Path(data)), config.data.held_out)
    kept = [record for record in records if split in ("all", record.split)]
    if not kept:
        known = ", ".join(sorted({record.split or "none" for record in records}))
        raise DataError(
            f"{data}: none of {len(records)} videos belongs to the split '{split}' (found: {known})"
        )
    kept = [kept[i] for i in _drawn(len(kept), most, config.train.seed)]
    return open_videos(kept, counter(watcher, "checking") if watcher else None)


def _prepared(data: str | Path, config: Config) -> Manifest | None:
    """The manifest of a folder that `prepare` made, with splits; None of any other place."""
    if not (Path(data) / PARQUET).is_file():
        return None
    manifest = read_manifest(Path(data))
    if not manifest.complete:
        log.warning("%s: not all videos are prepared yet; run `kinevec prepare` again to finish", data)
    return manifest.with_split(config.data.held_out)


def _drawn(count: int, most: int, seed: int) -> list[int]:
    """Places of `most` of `count` things, in order; of all where there are not more, or `most` is 0."""
    if not most or count <= most:
        return list(range(count))
    return sorted(np.random.default_rng(seed).permutation(count)[:most].tolist())
