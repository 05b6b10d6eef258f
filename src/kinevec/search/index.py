"""An index of clips: a folder with vectors, a database of what they belong to, and the encoder they come from.

```
index.json            what made it: model, settings, versions
encoder.safetensors   the encoder itself, so that queries can be embedded wherever the folder goes
index.sqlite          roots, videos, clips, labels; decides which vectors count
full-0.f32            the encoder's vectors, float32, a row for each clip
static-0.f32          those of the clips made static
rejected.csv          files that could not be used, and why
```
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from kinevec import encoders
from kinevec.config import Clip
from kinevec.data.lock import LOCK, alone
from kinevec.data.whole import writing
from kinevec.encoders import Loaded
from kinevec.errors import CheckpointError, DataError, InputError, OutputError
from kinevec.evaluate.encode import ClipEncoder
from kinevec.search.facts import FACTS, describe, read_facts, write_facts
from kinevec.search.score import Scorer
from kinevec.search.settings import Settings
from kinevec.search.state import FULL, STATIC, State
from kinevec.search.store import Store
from kinevec.search.writer import Writer
from kinevec.train.checkpoint import ENCODER, save_encoder

T = TypeVar("T")
DATABASE = "index.sqlite"
CHANGING = "changing this index"  # says the lock of its folder


@dataclass(frozen=True)
class Video:
    """A video of an index."""

    id: int
    name: str
    label: str | None
    group: str | None
    split: str | None
    seconds: float
    fps: float
    frames: int
    width: int
    height: int
    path: str


class Index:
    """An index that is open. Threads may share it; changes by other processes are seen by the next call.

    Attributes:
        folder: where it is.
        settings: how it cuts videos.
        model: what is recorded of its encoder: identity, source, encoder, terms, step, clip, channels.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any], store: Store) -> None:
        self.folder = folder
        self.facts = facts
        self.model: dict[str, Any] = dict(facts["model"])
        self.settings = Settings(**facts["settings"])
        self.store = store
        self._scorer: Scorer | None = None
        self._cache: dict[str, tuple[object, Any]] = {}
        self._lock = threading.RLock()

    @property
    def clip(self) -> Clip:
        """What the encoder sees at once."""
        return Clip(**self.model["clip"])

    @classmethod
    def create(cls, folder: Path, loaded: Loaded, settings: Settings) -> "Index":
        """Makes an empty index for an encoder; opens the one that another process has made there just before.

        Raises:
            OutputError: the folder holds something else, another process is at it, or it cannot be written.
        """
        ours = {FACTS, ENCODER, DATABASE, f"{DATABASE}-journal", LOCK}
        with alone(folder, CHANGING):
            if (folder / FACTS).is_file():
                return cls.open(folder)
            if {entry.name for entry in folder.iterdir()} - ours:
                raise OutputError(f"{folder}: exists and is no index; choose a new folder")
            with writing(folder):
                for name in (DATABASE, f"{DATABASE}-journal"):
                    (folder / name).unlink(missing_ok=True)  # of a creation that was interrupted
            save_encoder(folder, loaded.encoder, loaded.config, loaded.step, loaded.facts)
            store = Store(folder / DATABASE, create=True)
            with store.transaction():
                for key in ("generation", "rows"):
                    store.set_meta(key, 0)
                for kind in (FULL, STATIC):
                    store.set_meta(f"sum {kind}", np.zeros(loaded.encoder.channels).tobytes())
            store.close()
            write_facts(folder, loaded, settings)
            return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> "Index":
        """Opens the index of a folder.

        Raises:
            InputError: there is none.
            DataError: it is damaged, or made by a newer kinevec.
        """
        facts = read_facts(folder)
        if not (folder / DATABASE).is_file():
            raise DataError(f"{folder}: {DATABASE} is missing; embed the videos again into a new folder")
        return cls(folder, facts, Store(folder / DATABASE))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes its files."""
        self.store.close()

    def __repr__(self) -> str:
        return f"Index({self.folder}: {self.count('videos'):,} videos, {self.count('clips'):,} clips)"

    def __len__(self) -> int:
        """Number of clips."""
        return self.count("clips")

    def __bool__(self) -> bool:
        return True

    def count(self, table: str) -> int:
        """Rows of one of its tables: videos, clips, copies, rejected, labels."""
        if table not in ("videos", "clips", "copies", "rejected", "labels"):
            raise ValueError(f"no table {table!r}")
        return int(self.store.query(f"SELECT count(*) FROM {table}")[0][0])

    def check(self, loaded: Loaded, settings: Settings) -> None:
        """Refuses another model or other settings than those of the index.

        Raises:
            OutputError: says in what they differ.
        """
        theirs = describe(loaded)
        differences = self.settings.differences(settings)
        if theirs["identity"] != self.model["identity"]:
            keys = [key for key in theirs if theirs[key] != self.model.get(key)]
            differences += [f"model.{key}: {self.model.get(key)} → {theirs[key]}" for key in keys]
        if differences:
            raise OutputError(
                f"{self.folder}: is an index of another model or with other settings: {'; '.join(differences)}. "
                "Vectors of both cannot be compared: use the same, or choose a new folder"
            )

    def state(self) -> State:
        """What it holds now; read again only where it has changed."""
        return self.scored()[0]

    def scored(self) -> tuple[State, Scorer]:
        """What it holds now, and what scores it."""
        with self._lock:
            if self._scorer is None or self._scorer.state.version != self.store.version:
                channels = self.model["channels"]
                self._scorer = Scorer(
                    State.read(self.folder, self.store, channels, appearance=self.settings.appearance)
                )
            return self._scorer.state, self._scorer

    def cached(self, name: str, version: object, make: Callable[[], T]) -> T:
        """What `make` returns, kept until it is asked for in another version."""
        with self._lock:
            if name not in self._cache or self._cache[name][0] != version:
                self._cache[name] = (version, make())
            found: T = self._cache[name][1]
            return found

    @contextmanager
    def writer(self) -> Iterator[Writer]:
        """Lets one process at a time change it.

        Raises:
            OutputError: another process is at it.
        """
        with alone(self.folder, CHANGING):
            writer = Writer(
                self.folder, self.store, self.model["channels"], appearance=self.settings.appearance
            )
            writer.sweep()
            yield writer

    def encoder(self, device: str = "auto") -> ClipEncoder:
        """The encoder that made the vectors.

        Raises:
            CheckpointError: the file beside the vectors is not the one that made them.
        """

        def load() -> ClipEncoder:
            loaded = encoders.load(self.folder)
            if loaded.identity != self.model["identity"]:
                raise CheckpointError(f"{self.folder / ENCODER}: is not the encoder that made this index")
            return ClipEncoder(loaded.encoder, loaded.config, device)

        return self.cached(f"encoder on {device}", None, load)

    def video(self, id: int) -> Video:
        """What is known of a video.

        Raises:
            InputError: the index has none of this number.
        """
        found = self.store.query(
            'SELECT id, name, label, "group", split, seconds, fps, frames, width, height, path FROM videos '
            "WHERE id = ?",
            (id,),
        )
        if not found:
            raise InputError(f"{self.folder}: has no video {id}")
        return Video(*found[0])

    def locate(self, video: int) -> Path:
        """The file of a video, if it really lies below a folder that was embedded; links are followed.

        Raises:
            InputError: there is no such video, its file is gone, or lies elsewhere.
        """
        known = self.video(video)
        real = os.path.realpath(known.path)
        roots = [os.path.realpath(root) for (root,) in self.store.query("SELECT path FROM roots")]
        if not any(os.path.commonpath([root, real]) == root for root in roots):
            raise InputError(f"{known.name}: lies outside the folders that were embedded")
        if not os.path.isfile(real):
            raise InputError(f"{known.name}: is not there any more")
        return Path(real)
