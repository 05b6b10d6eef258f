"""The output folder of `prepare`: what lies where in it, and whose it is."""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from kinevec.data.lock import alone
from kinevec.data.prepare.plan import PrepareConfig
from kinevec.data.whole import write_text, writing
from kinevec.errors import OutputError

_FORMAT = 1  # raise it whenever the same settings would give other files
_STEM_LETTERS = 32  # of the source's name in the prepared file's


@dataclass(frozen=True)
class Folder:
    """Where things are in an output folder."""

    root: Path
    worker: str = ""  # whose parts lie apart; "": nobody's

    @property
    def parts(self) -> Path:
        """Folder of the files that are being written; empty between runs."""
        return self.root / "parts" / self.worker

    def place_for(self, name: str, digest: str) -> str:
        """Where a prepared file goes, relative to the root: the same for the same name and content only.

        Any name works: what is odd in it, or too long, is left to the hash.
        """
        key = hashlib.blake2b(f"{digest}/{name}".encode(), digest_size=10).hexdigest()
        stem = re.sub(r"[^\w-]+", "_", Path(name).stem)[:_STEM_LETTERS]
        return f"videos/{key[:2]}/{stem}-{key}.mp4"

    def accept(self, part: Path, file: str) -> None:
        """Moves a finished file to its place.

        Raises:
            OutputError: it cannot be moved.
        """
        target = self.root / file
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            part.replace(target)

    @contextmanager
    def claimed(self, config: PrepareConfig) -> Iterator[None]:
        """Makes the folder ours alone while open; it must be new, empty, or prepared with the same settings.

        Raises:
            OutputError: it is not, another process is at work in it, or it cannot be written.
        """
        with writing(self.root):
            if self.root.exists() and not (self.root / "prepare.json").is_file() and self._is_used():
                raise OutputError(
                    f"{self.root} is not empty, and what it holds was not prepared here. Choose a new folder."
                )
        with alone(self.root, "preparing videos here"):
            self._agree(config)
            self._sweep()
            with writing(self.parts):
                self.parts.mkdir()
            try:
                yield
            finally:
                self._sweep()

    def _is_used(self) -> bool:
        """Whether anything is there but hidden files, such as those of a run that was killed at its start."""
        return any(not entry.name.startswith(".") for entry in self.root.iterdir())

    def _sweep(self) -> None:
        """Removes what was being written when a run was killed."""
        shutil.rmtree(self.parts, ignore_errors=True)
        for aside in self.root.glob(".*.part"):
            aside.unlink(missing_ok=True)

    def _agree(self, config: PrepareConfig) -> None:
        """Writes `prepare.json`, or compares the settings with those in it."""
        path = self.root / "prepare.json"
        settings = {"format": _FORMAT, **asdict(config)}
        if not path.exists():
            from kinevec.runtime import provenance  # loads torch

            text = json.dumps({"settings": settings, **provenance()}, indent=2) + "\n"
            write_text(path, text)
            return
        try:
            before = json.loads(path.read_text("utf-8"))["settings"]
        except (OSError, ValueError, KeyError) as error:
            raise OutputError(f"{path}: cannot be read; choose a new folder") from error
        changes = [
            f"{key}: {before.get(key)} → {settings.get(key)}"
            for key in sorted(settings | before)
            if before.get(key) != settings.get(key)
        ]
        if changes:
            raise OutputError(
                f"{self.root}: was prepared with other settings ({'; '.join(changes)}). "
                "Use the same, or choose a new folder."
            )
