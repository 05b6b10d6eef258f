"""Official data sets: their own annotation files, as distributed, to records.

>>> ucf = read_official("ucf101", Path("UCF101/UCF-101"), Path("UCF101/ucfTrainTestlist"), fold=1)
>>> ucf.description
'UCF101, split 1: 13,320 videos (9,537 train, 3,783 test)'

Which files each data set needs is said in `kinevec.data.official_readers`, one function per data set.
"""

import difflib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kinevec.data import official_readers as readers
from kinevec.data.official_files import Annotations, Folders
from kinevec.data.records import Record, some
from kinevec.errors import ConfigError, DataError, InputError


@dataclass(frozen=True, slots=True)
class Reader:
    """One official data set."""

    title: str  # its name as people write it
    layout: str  # where a video lies below the folder of the videos, for messages
    origin: str | None  # where the annotation files come from, in words; None: it has none
    listed: Callable[[Annotations, int], Iterator[readers.Listed]]
    folds: int = 1  # how many official splits it has


@dataclass(frozen=True, slots=True)
class OfficialSet:
    """The videos of an official data set that are there.

    Args:
        records: in the order of the official lists: train, val, test.
        missing: names of the listed videos that are not there, where each would usually be.
        description: one line for a person: data set, split and counts.
    """

    records: tuple[Record, ...]
    missing: tuple[str, ...]
    description: str


OFFICIAL: dict[str, Reader] = {
    "ucf101": Reader(
        "UCF101",
        "<class>/v_<class>_g01_c01.avi",
        "the archive of train/test splits for action recognition on UCF101's page, usually unpacked to "
        "ucfTrainTestlist/",
        readers.list_ucf101,
        folds=3,
    ),
    "hmdb51": Reader(
        "HMDB51",
        "<class>/<name>.avi",
        "the archive of three splits on HMDB51's page, usually unpacked to testTrainMulti_7030_splits/",
        readers.list_hmdb51,
        folds=3,
    ),
    "something-something-v2": Reader(
        "Something-Something v2",
        "<id>.webm",
        "the archive of labels on Something-Something's page, usually unpacked to labels/",
        readers.list_something_something_v2,
    ),
    "diving48": Reader(
        "Diving48 v2",
        "<vid_name>.mp4",
        "the annotations (V2) and the vocabulary on Diving48's page",
        readers.list_diving48,
    ),
    "kinetics-400": Reader(
        "Kinetics-400",
        "<label>/<youtube_id>_<start>_<end>.mp4, for example abseiling/0347ZoDXyP0_000095_000105.mp4",
        "the archive of CSV lists of Kinetics-400",
        readers.list_kinetics400,
    ),
    "utd-mhad": Reader("UTD-MHAD", "a1_s1_t1_color.avi", None, readers.list_utd_mhad),
}


def read_official(
    name: str,
    videos: Path,
    annotations: Path | None = None,
    *,
    fold: int = 1,
    missing: Literal["error", "skip"] = "error",
) -> OfficialSet:
    """Read an official data set from its own annotation files.

    Args:
        name: a key of `OFFICIAL`; capitals do not matter.
        videos: folder of the videos, in the data set's own layout. It is the root of the records' names.
        annotations: folder of the annotation files; None looks in `videos` and the folder above it.
        fold: which official split, counted from 1.
        missing: what a listed video that is not there does: "error" stops, "skip" goes on and counts it.

    Raises:
        ConfigError: there is no such data set, split or choice for `missing`.
        InputError: `videos` is not a folder, or an annotation file is not there.
        DataError: an annotation file is malformed, a video is listed twice, a listed video is missing (with
            "error"), or all of them are.
    """
    reader = _reader(name)
    if not 1 <= fold <= reader.folds:
        counts = "one official split" if reader.folds == 1 else f"{reader.folds} official splits"
        raise ConfigError(f"{reader.title} has {counts}, counted from 1: there is no fold {fold}.")
    if missing not in ("error", "skip"):
        raise ConfigError(f"missing is 'error' or 'skip', not {missing!r}.")
    if not videos.is_dir():
        raise InputError(f"{videos}: not a folder; expected the videos of {reader.title} there.")
    records, absent = _look_up(reader.listed(_annotations(reader, videos, annotations), fold), videos)
    total = len(records) + len(absent)
    if total == 0:
        raise DataError(f"{reader.title}: its annotation files list no video.")
    if not records:
        raise DataError(
            f"{reader.title}: none of the {total:,} listed videos is in {videos}, expected as {reader.layout}. "
            f"The first would be {absent[0]}."
        )
    if absent and missing == "error":
        raise DataError(
            f"{reader.title}: {len(absent):,} of {total:,} listed videos are missing in {videos}: "
            f"{some(absent)}. To go on without them: --allow-missing, in Python missing='skip'."
        )
    return OfficialSet(records, absent, _describe(reader, fold, records, absent))


def _reader(name: str) -> Reader:
    reader = OFFICIAL.get(name.lower())
    if reader is None:
        near = difflib.get_close_matches(name.lower(), OFFICIAL, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"Unknown data set {name!r}.{hint} Known: {', '.join(OFFICIAL)}.")
    return reader


def _annotations(reader: Reader, videos: Path, folder: Path | None) -> Annotations:
    if reader.origin is None:
        if folder is not None:
            raise ConfigError(f"{reader.title} has no annotation files; leave annotations={folder} out.")
        return Annotations(reader.title, "", ())
    folders = (videos, videos.absolute().parent) if folder is None else (folder,)
    return Annotations(reader.title, reader.origin, folders)


def _look_up(listed: Iterator[readers.Listed], videos: Path) -> tuple[tuple[Record, ...], tuple[str, ...]]:
    """Records of the listed videos that are there, and the usual names of those that are not."""
    tree = Folders(videos)
    records: dict[str, Record] = {}
    absent = []
    for video in listed:
        name = tree.find(video.folders, video.file)
        if name is None:
            absent.append(f"{video.folders[0]}/{video.file}".lstrip("/"))
        elif name in records:
            raise DataError(f"{name}: listed twice, under {records[name].split} and {video.split}.")
        else:
            records[name] = Record(videos / name, name, video.label, video.group, video.split)
    return tuple(records.values()), tuple(absent)


def _describe(reader: Reader, fold: int, records: tuple[Record, ...], absent: tuple[str, ...]) -> str:
    counts = Counter(record.split for record in records)
    parts = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    title = f"{reader.title}, split {fold}" if reader.folds > 1 else reader.title
    without = f"; {len(absent):,} listed videos are missing" if absent else ""
    return f"{title}: {len(records):,} videos ({parts}){without}"
