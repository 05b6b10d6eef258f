"""What cached flow was computed with, and how two such settings differ."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

import cv2

from kinevec import config
from kinevec.data.whole import write_text
from kinevec.errors import InputError

_FORMAT = 1  # raise it whenever the same settings would give other files


@dataclass(frozen=True)
class Settings:
    """What cached flow was computed with."""

    method: str
    gap: int
    short_side: int
    weights: str = ""  # digest of RAFT's
    opencv: str = cv2.__version__.partition(".")[0]  # major version
    format: int = _FORMAT

    @classmethod
    def of(cls, flow: config.Flow) -> "Settings":
        """Those that a configuration asks for.

        Raises:
            InputError: the weights of the flow method cannot be read.
        """
        try:
            weights = (
                blake2b(Path(flow.weights).read_bytes(), digest_size=4).hexdigest() if flow.weights else ""
            )
        except OSError as error:
            raise InputError(f"{flow.weights}: cannot read these weights: {error.strerror}") from error
        return cls(flow.method, flow.gap, flow.short_side, weights)

    @property
    def folder(self) -> str:
        """Name of the folder of files with these settings."""
        return f"{self.method}{self.weights}-gap{self.gap}-{self.short_side}px-opencv{self.opencv}"

    def options(self) -> str:
        """What to add to `kinevec flow` for these settings."""
        usual = config.Flow()
        names = [
            name for name in ("method", "gap", "short_side") if getattr(self, name) != getattr(usual, name)
        ]
        options = [f" --{name.replace('_', '-')} {getattr(self, name)}" for name in names]
        return "".join([*options, " --weights FILE"] if self.weights else options)

    def write(self, folder: Path) -> None:
        """Writes `settings.json`.

        Raises:
            OutputError: it cannot be written.
        """
        write_text(folder / "settings.json", json.dumps(asdict(self), indent=2) + "\n")


def found_settings(folder: Path) -> list[Settings]:
    """The settings with which flow was cached in a folder of prepared videos."""
    found = []
    for path in sorted((folder / "flow").glob("*/settings.json")):
        with suppress(OSError, ValueError, TypeError):
            found.append(Settings(**json.loads(path.read_text("utf-8"))))
    return found


def mismatch(found: Sequence[Settings], wanted: Settings) -> str:
    """What was found, and what is wanted where it differs, in words."""
    differing = [
        name
        for name, value in asdict(wanted).items()
        if all(getattr(other, name) != value for other in found)
    ] or list(asdict(wanted))
    kinds = " or ".join(
        ", ".join(
            f"{name} {getattr(other, name)}"
            for name in ("method", "gap", "short_side", "weights", "opencv")
            if getattr(other, name)
        )
        for other in found
    )
    asked = ", ".join(f"{name} {getattr(wanted, name)}" for name in differing)
    return f"flow was cached with {kinds}; this run wants {asked}"
