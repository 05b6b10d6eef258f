"""What the command line does, as Python calls."""

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import numpy as np

from kinevec import config as configuration
from kinevec.config import Config
from kinevec.data import (
    Collection,
    SynthConfig,
    find_records,
    open_videos,
    with_split,
    write_synthetic_videos,
)
from kinevec.data import prepare as preparation
from kinevec.data.manifest import read_manifest
from kinevec.data.manifest_file import PARQUET
from kinevec.data.prepare import PrepareConfig, Summary
from kinevec.errors import DataError, OutputError
from kinevec.evaluate import evaluation
from kinevec.evaluate.evaluation import Evaluation
from kinevec.runtime import cores
from kinevec.train import loop
from kinevec.train.checkpoint import load_encoder
from kinevec.train.meter import Status


class Watcher(Protocol):
    """Is told how long work goes; the command line draws bars with it."""

    def counted(self, what: str, done: int, total: int) -> None:
        """`done` of `total` things are through the stage `what`."""

    def trained(self, status: Status) -> None:
        """Training has come so far."""


class Silent:
    """A watcher that does nothing."""

    def counted(self, what: str, done: int, total: int) -> None: ...

    def trained(self, status: Status) -> None: ...


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
    workers: int = 0,
    watcher: Watcher | None = None,
) -> Summary:
    """Checks, transcodes, measures and lists videos once, so that training reads them fast.

    Args:
        videos: folder, CSV or single file.
        out: folder of the prepared videos; goes on where an earlier run ended.
        workers: processes; 0: one per core.
    """
    progress = counter(watcher or Silent(), "preparing")
    return preparation.prepare(
        find_records(Path(videos)), Path(out), config, workers=workers or cores(), progress=progress
    )


def pretrain(
    source: str | Path | Config,
    data: str | Path,
    out: str | Path,
    *,
    changes: Iterable[str] = (),
    resume: bool = False,
    watcher: Watcher | None = None,
) -> Path:
    """Trains an encoder on unlabelled videos.

    Args:
        source: a preset's name ("moco"), a TOML file, or a configuration.
        data: folder of videos, CSV, or single file; see `kinevec.data.find_records`.
        out: folder of the run.
        changes: such as "train.epochs=3"; not with a finished configuration.
        resume: go on from the checkpoint in `out`.

    Returns:
        The run's folder.
    """
    watcher = watcher or Silent()
    config = source if isinstance(source, Config) else configuration.load(source, changes)
    loop.check_request(config, Path(out), resume)
    collection = open_collection(data, config, watcher, split=config.data.split)
    return loop.pretrain(
        config,
        collection,
        Path(out),
        resume=resume,
        on_status=watcher.trained,
        on_decode=counter(watcher, "decoding"),
    )


def evaluate(
    run: str | Path,
    data: str | Path,
    *,
    out: str | Path | None = None,
    clips: int = evaluation.CLIPS,
    device: str = "auto",
    watcher: Watcher | None = None,
) -> Evaluation:
    """Scores a run's encoder on labelled videos, beside the untrained encoder and chance.

    Args:
        run: the run's folder.
        data: as for `pretrain`; where the data name no split, the same videos are held out as there.
        out: JSON file to write; None: `eval.json` in the run's folder.
        clips: clips a video.
        device: where to compute.
    """
    watcher = watcher or Silent()
    _, config, _ = load_encoder(Path(run))
    target = Path(out) if out else Path(run) / "eval.json"
    _check_writable(target)
    collection = open_collection(data, config, watcher)
    result = evaluation.evaluate(
        Path(run), collection, clips=clips, device=device, progress=counter(watcher, "encoding")
    )
    result.write(target)
    return result


def open_collection(
    data: str | Path, config: Config, watcher: Watcher | None = None, *, split: str = "all", most: int = 0
) -> Collection:
    """Finds, splits and probes the videos of a folder or list.

    Args:
        data: folder, CSV or single file, or a folder that `prepare` made.
        split: keep only this one; "all" keeps every video.
        most: draw at most so many videos; 0: all.

    Raises:
        DataError: no video belongs to the split, or none can be read.
    """
    manifest = read_manifest(Path(data)) if (Path(data) / PARQUET).is_file() else None
    listed = (
        find_records(Path(data)) if manifest is None else [manifest.record(i) for i in range(len(manifest))]
    )
    records = with_split(listed, config.data.held_out)
    kept = [record for record in records if split in ("all", record.split)]
    if not kept:
        known = ", ".join(sorted({record.split or "none" for record in records}))
        raise DataError(
            f"{data}: none of {len(records)} videos belongs to the split '{split}' (found: {known})"
        )
    if most and len(kept) > most:
        places = sorted(np.random.default_rng(config.train.seed).permutation(len(kept))[:most])
        kept = [kept[i] for i in places]
    if manifest is not None:  # its tables say what opening every file would
        infos = {record.name: manifest.info(i) for i, record in enumerate(listed)}
        return Collection(tuple(kept), tuple(infos[record.name] for record in kept), ())
    return open_videos(kept, counter(watcher, "checking") if watcher else None)


def _check_writable(target: Path) -> None:
    """Refuses a place that cannot be written before the work is done, and leaves nothing there."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror}") from error


def counter(watcher: Watcher, what: str) -> Callable[[int, int], None]:
    """A progress callback that tells the watcher about one stage."""
    return lambda done, total: watcher.counted(what, done, total)
