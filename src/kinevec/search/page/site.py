"""What the page can ask for, as plain calls: an index, its worker processes, and what they have made."""

import logging
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from kinevec.errors import DataError, InputError
from kinevec.runtime import cores
from kinevec.search import catalogue
from kinevec.search.index import Index
from kinevec.search.labels import set_label
from kinevec.search.page import asked
from kinevec.search.page.cache import Cache
from kinevec.search.page.media import PREVIEW
from kinevec.search.page.queries import QUERY_SECONDS, Queries, version
from kinevec.search.page.uploads import Upload, Uploads
from kinevec.search.page.worker import Pool
from kinevec.search.query import Query, query_clip
from kinevec.search.ranking import search
from kinevec.search.score import MODES, Mode

log = logging.getLogger(__name__)

FILM_SECONDS = 20.0  # to make a film of a clip
PREVIEW_SECONDS = 60.0
SAVE_SECONDS = 3600.0  # to cut out labelled parts
CHOICES = 500  # of a filter, the most frequent ones
POINT_TYPES = {"clip": "<i4", "x": "<f4", "y": "<f4", "cluster": "<i4"}


class Site:
    """Everything behind the page; its methods may be called by many threads.

    Args:
        index: open.
        folder: private and temporary, for uploads and films.
        labels: the CSV that labels are saved to.
        device: where the worker computes.
    """

    def __init__(self, index: Index, folder: Path, labels: Path, device: str = "auto") -> None:
        self.index = index
        self.labels = labels
        for name in ("uploads", "films", "said"):
            (folder / name).mkdir()
        self.uploads = Uploads(folder / "uploads")
        self.films = Cache(folder / "films")
        # -P: what lies in the folder that one happens to be in is not imported
        start = [sys.executable, "-P", "-m", "kinevec.search.page.work"]
        seeing = [*start, "seeing", str(index.folder.resolve()), device]
        said = folder / "said"
        self.media = Pool([*start, "media"], max(1, min(cores(), 4)), said, "media")
        self.seeing = Pool(seeing, 1, said, "seeing")
        self.saving = Pool(seeing, 1, said, "saving")  # beside it, since it may take long
        self._queries = Queries(self.seeing)

    def close(self) -> None:
        """Ends the workers."""
        for pool in (self.media, self.seeing, self.saving):
            pool.close()

    def warm(self) -> None:
        """Starts the worker with the encoder, which takes seconds; whoever searches meanwhile waits for it."""
        try:
            self.seeing.call("load", QUERY_SECONDS)
        except DataError as error:
            if not self.seeing.workers[0].closed:
                log.warning("the encoder cannot be loaded: %s", error)

    def about(self) -> dict[str, Any]:
        """What the page says of the index, and its limits."""
        index = self.index
        return {
            "name": index.folder.resolve().name,
            "videos": index.count("videos"),
            "clips": len(index),
            "how": index.settings.in_words(index.clip),
            "model": f"{index.model['encoder']}, {index.model['source']}",
            "modes": list(MODES) if index.settings.appearance else ["both"],
            "mapped": bool(index.store.query("SELECT 1 FROM clips WHERE x IS NOT NULL LIMIT 1")),
            "window": PREVIEW.seconds,
            "upload_bytes": self.uploads.limit,
            "labels_file": str(self.labels),
        }

    def facets(self) -> dict[str, Any]:
        """What can be filtered by, how often each occurs, and how many clips were given a label."""
        store = self.index.store
        version = store.query("PRAGMA data_version")[0][0], store.connection.total_changes
        found = self.index.cached("facets", version, lambda: catalogue.facets(self.index))
        return {
            **{name: _frequent(counts) for name, counts in found.items()},
            "given": self.index.count("labels"),
        }

    def clips(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A page of the clips, by name and time."""
        only, (offset, limit) = asked.only(given), asked.page(given)
        found = catalogue.clips(self.index, only, offset=offset, limit=limit)
        return {"clips": [asdict(entry) for entry in found], "total": catalogue.count(self.index, only)}

    def entries(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Clips by their numbers; those that are gone are left out."""
        wanted = asked.numbers(given, "clips", asked.MOST_AT_ONCE)
        found = [catalogue.entry(self.index, clip) for clip in wanted]
        return {"clips": [asdict(entry) for entry in found if entry]}

    def search(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A page of the clips most like a query: {clip}, {video, start, stop} or {upload, start, stop}."""
        offset, limit = asked.page(given)
        query = self._query(given.get("query"))
        found = search(
            self.index,
            query,
            mode=_mode(asked.text(given, "mode") or "both"),
            only=asked.only(given),
            offset=offset,
            limit=limit,
            group=given.get("group", True) is not False,
            other_videos=given.get("other_videos") is True,
        )
        return {"clips": [asdict(hit) for hit in found.hits], "more": found.more, "averaged": query.clips}

    def points(self, given: Mapping[str, Any]) -> bytes:
        """The map: N as uint32; then clip int32, x and y float32, cluster int32, N of each; little-endian."""
        points = catalogue.points(self.index, asked.only(given))
        columns = [np.ascontiguousarray(points[name], kind).tobytes() for name, kind in POINT_TYPES.items()]
        return b"".join([np.uint32(len(points)).astype("<u4").tobytes(), *columns])

    def video(self, id: int) -> dict[str, Any]:
        """What is known of a video; whether it is there shows when it is looked at."""
        found = self.index.video(id)
        return {
            "id": found.id,
            "name": found.name,
            "label": found.label,
            "seconds": found.seconds,
            "fps": found.fps,
        }

    def label(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Gives clips a label; null takes it away."""
        clips = asked.numbers(given, "clips", asked.MOST_LABELLED)
        label = None if given.get("label") is None else asked.text(given, "label")
        return {"clips": set_label(self.index, clips, label), "given": self.index.count("labels")}

    def save(self) -> dict[str, Any]:
        """Writes all labels to the list."""
        if not self.index.count("labels"):
            raise InputError("no clip has been given a label yet")
        found: dict[str, Any] = self.saving.call("save", SAVE_SECONDS, path=str(self.labels.resolve()))
        return found

    def clip_film(self, clip: int) -> Path:
        """The film of a clip; its picture lies beside it as .jpg."""
        return self._film(clip, "clip", self.media)

    def activation_film(self, clip: int) -> Path:
        """The same with the encoder's activation painted over it."""
        return self._film(clip, "activation", self.seeing)

    def video_preview(self, video: int, start: float) -> Path:
        """A film of some seconds of a video of the index."""
        path = self.index.locate(video)
        return self._preview(path, start)

    def upload_preview(self, id: str, start: float) -> Path:
        """The same of an uploaded file."""
        return self._preview(self.uploads.get(id).path, start)

    def accept(self, received: Path) -> Upload:
        """Keeps an uploaded file, if it is a video that can be read.

        Raises:
            DataError: it cannot; the file is removed.
        """
        try:
            return self.uploads.keep(received, self.media.call("measure", FILM_SECONDS, path=str(received)))
        except BaseException:
            received.unlink(missing_ok=True)
            raise

    def _film(self, clip: int, kind: str, pool: Pool) -> Path:
        entry = catalogue.entry(self.index, clip)
        if entry is None:
            raise InputError(f"the index has no clip {clip} any more")
        path = self.index.locate(entry.video)
        times = {"start": entry.start, "stop": entry.stop}
        return self.films.get(
            f"{kind} {entry.start} {entry.stop} {version(path)}",
            lambda target: pool.call(kind, FILM_SECONDS, path=str(path), target=str(target), **times),
        )

    def _preview(self, path: Path, start: float) -> Path:
        def make(target: Path) -> None:
            self.media.call("preview", PREVIEW_SECONDS, path=str(path), target=str(target), start=start)

        return self.films.get(f"preview {start} {version(path)}", make)

    def _query(self, given: Any) -> Query:
        if not isinstance(given, dict):
            raise InputError("query is to be an object with clip, video or upload")
        if "clip" in given:
            return query_clip(self.index, asked.whole(given, "clip"))
        start, stop = asked.part(given)
        if "upload" in given:
            video, path = None, self.uploads.get(asked.text(given, "upload")).path
        else:
            video = asked.whole(given, "video")
            path = self.index.locate(video)
        return self._queries.get(path, video, start, stop)


def _mode(given: str) -> Mode:
    for mode in MODES:
        if mode == given:
            return mode
    raise InputError(f"mode is to be one of {', '.join(MODES)}")


def _frequent(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The most frequent values, in their own order."""
    chosen = sorted(counts, key=lambda value: -counts[value])[:CHOICES]
    return [(value, counts[value]) for value in sorted(chosen, key=_natural)]


def _natural(value: str) -> tuple[int, int | str]:
    return (0, int(value)) if value.isdecimal() else (1, value)
