"""What a person says of clips, and the list of it that evaluation and training read.

A list names whole files. So a labelled part of a video is cut out into a file of its own; parts of the same video
belong to one group, so that they are never trained on and tested on at once.
"""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinevec.data.decode import VideoInfo, probe, read_clip
from kinevec.data.prepare.encode import Encoder
from kinevec.data.prepare.plan import Plan, PrepareConfig, target_size
from kinevec.data.source import Progress
from kinevec.data.whole import make_folder, write_text, write_whole, writing
from kinevec.errors import InputError, VideoError
from kinevec.search.index import Index, Video

SUFFIX = ".csv"
SHORT_SIDE = 256  # pixels of the parts that are cut out, at most
TICKS = 90_000  # in a second
AT_ONCE = 32  # frames decoded at once
ALL = 0.5  # frames: a part that leaves out less than this is the whole video


@dataclass(frozen=True)
class Part:
    """A part of a video and what was said of it; of overlapping clips with one label, all of them together."""

    video: int
    start: float
    stop: float
    label: str


@dataclass(frozen=True)
class Labelled:
    """A list that was written.

    Attributes:
        path: of the list.
        parts: lines in it.
        failed: names of videos whose parts could not be cut out → why.
    """

    path: Path
    parts: int
    failed: dict[str, str]


def set_label(index: Index, clips: Sequence[int], label: str | None) -> int:
    """Gives clips a label, or takes it away; returns how many of them the index has.

    Raises:
        InputError: the label is empty or longer than 200 letters.
    """
    if label is not None:
        label = " ".join(label.split())
        if not 0 < len(label) <= 200:
            raise InputError(f"a label has 1 to 200 letters, not {len(label)}")
    found = 0
    with index.store.transaction(clips=False) as database:
        for clip in clips:
            for row in index.store.query("SELECT video, start, stop FROM clips WHERE id = ?", (clip,)):
                found += 1
                if label is None:
                    database.execute("DELETE FROM labels WHERE (video, start, stop) = (?, ?, ?)", row)
                else:
                    database.execute("INSERT OR REPLACE INTO labels VALUES (?, ?, ?, ?)", (*row, label))
    return found


def parts(index: Index) -> Iterator[Part]:
    """The labelled parts, by the name of their video and by time."""
    rows = index.store.query(
        "SELECT l.video, l.start, l.stop, l.label FROM labels l JOIN videos v ON v.id = l.video "
        "ORDER BY v.name, v.id, l.label, l.start"
    )
    last: Part | None = None
    for row in rows:
        part = Part(*row)
        if last and (last.video, last.label) == (part.video, part.label) and part.start < last.stop:
            last = Part(last.video, last.start, max(last.stop, part.stop), last.label)
            continue
        if last:
            yield last
        last = part
    if last:
        yield last


def write_labels(index: Index, path: Path, progress: Progress | None = None) -> Labelled:
    """Writes the labels as a list `path,label,group,split,source,start,stop`, and beside it the files it names.

    Parts are cut out into the folder named like the list; those that are there already are not cut again.

    Args:
        path: of the list, a CSV.

    Raises:
        OutputError: it cannot be written.
        InputError: the list is no CSV, there are no labels, or not one part can be cut out; the list is as before.
    """
    if path.suffix.lower() != SUFFIX:  # the files lie in a folder of the name without it
        raise InputError(f"{path}: name a list that ends in {SUFFIX}, such as {path.with_suffix(SUFFIX)}")
    known = list(parts(index))
    if not known:
        raise InputError(f"{index.folder}: no clip has been given a label")
    folder = path.with_suffix("")
    make_folder(path.parent)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "group", "split", "source", "start", "stop"])
    failed: dict[str, str] = {}
    written = 0
    names = Counter(name for (name,) in index.store.query("SELECT name FROM videos"))
    for done, part in enumerate(known, 1):
        video = index.video(part.video)
        try:
            file = _file(index, video, part, folder)
        except (InputError, VideoError) as error:
            failed[video.name] = error.reason if isinstance(error, VideoError) else str(error)
        else:
            listed = os.path.relpath(file, path.parent) if file.parent == folder else str(file)
            times = f"{part.start:.3f}", f"{part.stop:.3f}"
            group = video.group or (video.name if names[video.name] == 1 else video.path)
            written += 1
            writer.writerow([listed, part.label, group, video.split, video.name, *times])
        if progress:
            progress(done, len(known))
    if not written:
        name, reason = next(iter(failed.items()))
        raise InputError(f"not one labelled part can be cut out; the first, {name}: {reason}")
    write_text(path, text.getvalue())
    return Labelled(path, written, failed)


def _file(index: Index, video: Video, part: Part, folder: Path) -> Path:
    """The file that shows a part: the video itself where that is all of it."""
    slack = ALL / video.fps if video.fps else 1.0
    if part.start <= slack and part.stop >= video.seconds - slack:
        return index.locate(video.id)
    stem = re.sub(r"[^\w-]+", "_", Path(video.name).stem)[:32]
    content = index.store.query("SELECT hash FROM videos WHERE id = ?", (video.id,))[0][0]
    target = folder / f"{stem}-{content[:8]}-{part.start:.3f}-{part.stop:.3f}.mp4"
    if not target.is_file():
        source = index.locate(video.id)
        with writing(folder):
            folder.mkdir(exist_ok=True)
        info = probe(source)
        write_whole(target, lambda aside: _cut_out(info, part, aside))
    return target


def _cut_out(info: VideoInfo, part: Part, target: Path) -> None:
    """Encodes the frames of a part at their times."""
    half = ALL / info.fps if info.fps else 0.0
    numbers = np.flatnonzero((info.times > part.start - half) & (info.times < part.stop - half))
    if not len(numbers):  # in a gap of a video with frames at uneven times: the nearest frame stands there
        numbers = np.array([np.abs(info.times - part.start).argmin()])
    times = np.rint((info.times[numbers] - info.times[numbers[0]]) * TICKS).astype(np.int64)
    plan = Plan(np.ones(len(numbers), np.int64), times, TICKS)
    size = target_size(info, SHORT_SIDE)
    with Encoder(target, size, plan, PrepareConfig()) as encoder:
        for at in range(0, len(numbers), AT_ONCE):
            for frame in read_clip(
                info.path, numbers[at : at + AT_ONCE].tolist(), info=info, size=size
            ).frames:
                encoder.add(frame)
