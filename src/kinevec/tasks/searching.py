"""Embed, search and group clips of videos."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from kinevec import encoders
from kinevec.cluster import Cluster
from kinevec.data import Record, find_records
from kinevec.data.manifest import read_manifest
from kinevec.data.manifest_file import PARQUET
from kinevec.data.places import check_folder
from kinevec.data.whole import make_folder
from kinevec.errors import InputError
from kinevec.search import approximate
from kinevec.search.added import Added
from kinevec.search.adding import add
from kinevec.search.catalogue import place
from kinevec.search.clustering import Clustering, PlaneName
from kinevec.search.clustering import cluster as group
from kinevec.search.executor import Executor
from kinevec.search.facts import FACTS
from kinevec.search.filters import Filter
from kinevec.search.index import Index
from kinevec.search.nothing import check_filter, why_nothing
from kinevec.search.on_ray import OnRay
from kinevec.search.query import Query, find_clip, query_clip, query_file, query_video
from kinevec.search.ranking import EXACT_UP_TO, Results
from kinevec.search.ranking import search as rank
from kinevec.search.score import Mode
from kinevec.search.settings import Settings
from kinevec.search.sheet import write_groups, write_sheet
from kinevec.tasks.watcher import Silent, Watcher, counter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Grouped:
    """What `cluster` found and wrote."""

    found: Clustering
    page: Path
    table: Path


def embed(
    encoder: str | Path,
    videos: str | Path,
    out: str | Path,
    *,
    length: float | None = None,
    hop: float | None = None,
    appearance: bool | None = None,
    prune: bool = False,
    device: str = "auto",
    executor: Executor | None = None,
    cluster: Cluster | None = None,
    watcher: Watcher | None = None,
) -> Added:
    """Cuts videos into overlapping clips, embeds them, and adds them to an index.

    Args:
        encoder: a run's folder, or what else `kinevec.encoders.load` takes.
        videos: folder, CSV or single file, or a folder that `prepare` made.
        out: folder of the index; made where there is none. Goes on where an earlier call ended.
        length: seconds of a clip; 0: the encoder's frames at its own stride. None: as the index has it, else 0.
        hop: seconds from one clip's start to the next; 0: half a clip. None: likewise.
        appearance: also keep a vector of each clip made static. None: as the index has it, else yes.
        prune: take out videos of the index whose files are gone.
        executor: who embeds; None: this process.
        cluster: embed there instead, each worker on what it takes of a GPU there.

    Raises:
        OutputError: the folder holds an index of another model or with other settings (says which), or something
            else, or cannot be written.
    """
    check_folder(Path(out))
    loaded, folder, source = encoders.load(encoder), Path(out), Path(videos)
    records = _records(source)
    changes = {"length": length, "hop": hop, "appearance": appearance}
    new = not (folder / FACTS).is_file()
    with (
        Index.create(folder, loaded, Settings.changed(Settings(), changes))
        if new
        else Index.open(folder) as index
    ):
        index.check(loaded, Settings.changed(index.settings, changes))
        log.info("%s", index.settings.in_words(index.clip))
        watcher = watcher or Silent()
        if cluster:
            executor = OnRay(cluster, index.settings, index.encoder("cpu"))
        added = add(
            index,
            records,
            source if source.is_dir() else source.parent,
            executor,
            prune=prune,
            device=device,
            on_look=counter(watcher, "looking"),
            on_clips=counter(watcher, "embedding clips"),
        )
        if len(index) > EXACT_UP_TO:
            approximate.sync(index, counter(watcher, "building graphs"))
    return added


def search(
    index: str | Path,
    query: str | Path | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    video: str | None = None,
    at: float | None = None,
    clip: int | None = None,
    mode: Mode = "both",
    only: Filter | None = None,
    offset: int = 0,
    limit: int = 10,
    group: bool = True,
    other_videos: bool = False,
    device: str = "auto",
) -> Results:
    """The clips of an index that are most like a query: a file, or a clip of the index.

    Args:
        query: a video file; it need not be in the index.
        start, stop: seconds; only this part of it.
        video, at: instead of a file, the clip of this video of the index at these seconds; without them, all of it.
        clip: instead of these, the number of a clip of the index.
        mode, only, offset, limit, group, other_videos: see `kinevec.search.ranking.search`.

    Returns:
        The rows; where there are none, `why` says the reason.

    Raises:
        InputError: there is no such index, file or clip, or not exactly one query; or a group is asked for where none
            were made.
    """
    _check_query(query, video, clip, at, (start, stop))
    with Index.open(Path(index)) as opened:
        check_filter(opened, only)
        asked: Query
        if query is not None:
            asked = query_file(opened, Path(query), start, stop, device=device)
        elif clip is not None:
            asked = query_clip(opened, clip)
        elif at is not None:
            asked = query_clip(opened, find_clip(opened, video or "", at))
        else:
            asked = query_video(opened, video or "")
            log.info(
                "searching by all of %s, %d clips to %.2f s; --at takes one moment",
                video,
                asked.clips,
                asked.stop,
            )
        found = rank(
            opened,
            asked,
            mode=mode,
            only=only,
            offset=offset,
            limit=limit,
            group=group,
            other_videos=other_videos,
        )
        return found if found.hits else replace(found, why=why_nothing(opened, only, offset))


def cluster(
    index: str | Path,
    out: str | Path | None = None,
    *,
    mode: Mode | None = None,
    count: int | None = None,
    plane: PlaneName = "pca",
    seed: int = 0,
    watcher: Watcher | None = None,
) -> Grouped:
    """Groups the clips of an index, lays them out in a plane, and shows clips of each group.

    Groups and plane are kept in the index.

    Args:
        out: folder for `groups.html` and `groups.csv`; None: the index's.
        mode, count, plane, seed: see `kinevec.search.clustering.cluster`.

    Raises:
        OutputError: the folder is a file, or cannot be written to.
    """
    watcher = watcher or Silent()
    with Index.open(Path(index)) as opened:
        folder = Path(out) if out else opened.folder
        check_folder(folder)
        found = group(
            opened,
            mode=mode,
            count=count,
            plane=plane,
            seed=seed,
            progress=counter(watcher, "choosing the number"),
        )
        place(opened, found.clips, found.groups, found.plane)
        make_folder(folder)
        page, table = folder / "groups.html", folder / "groups.csv"
        write_groups(opened, found, table)
        write_sheet(opened, found, page, counter(watcher, "drawing"))
    return Grouped(found, page, table)


def _check_query(
    query: object,
    video: str | None,
    clip: int | None,
    at: float | None,
    part: tuple[float | None, float | None],
) -> None:
    """Refuses what is not exactly one query, and what does not belong to it."""
    if at is not None and video is None:
        why = "it is a moment of --video NAME, which is not given"
        if query is not None:
            why += "; a part of a file is given by --from and --to"
        raise InputError(f"--at {at:g}: {why}")
    given = [
        name for name, value in (("a file", query), ("--video", video), ("--clip", clip)) if value is not None
    ]
    if len(given) != 1:
        raise InputError(
            f"{' and '.join(given) or 'nothing'} given; give one thing to search for: a file, or --video NAME "
            "(with --at SECONDS: the clip there), or --clip NUMBER"
        )
    if query is None and part != (None, None):
        raise InputError(
            "--from and --to mark a part of a file; of a video of the index, --at SECONDS takes a clip"
        )


def _records(source: Path) -> tuple[Record, ...]:
    """The videos of a folder, list or file; of prepared ones, what is said of them in the manifest."""
    if not (source / PARQUET).is_file():
        return find_records(source)
    manifest = read_manifest(source)
    return tuple(manifest.record(i) for i in range(len(manifest)))
