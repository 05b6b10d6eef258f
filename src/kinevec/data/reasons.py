"""Why a file cannot be used, in words a person can act on: the same ones wherever it is noticed."""

import errno
import os
import stat
from pathlib import Path
from typing import Any, Literal

from kinevec.errors import VideoError

Kind = Literal[
    "missing", "unreadable", "bad-name", "empty", "not-a-video", "no-video-stream", "damaged", "failed"
]

# Kind of reason for which a file is left out → what it means.
KINDS: dict[Kind, str] = {
    "missing": "listed, but not there",
    "unreadable": "the system does not let us read it",
    "bad-name": "its name is not valid text",
    "empty": "zero bytes: copy or download them again",
    "not-a-video": "something else, or a format that FFmpeg does not know",
    "no-video-stream": "sound only",
    "damaged": "does not decode to its end",
    "failed": "a failure of kinevec or of FFmpeg, not known to be the file's fault",
}

# What MP4 and QuickTime files consist of.
BOXES = {b"ftyp", b"moov", b"mdat", b"moof", b"free", b"skip", b"wide", b"styp", b"sidx", b"uuid", b"meta"}


class Unusable(VideoError):
    """A file that is left out; `kind` is one of `KINDS`."""

    def __init__(self, path: Path, kind: Kind, reason: str) -> None:
        super().__init__(path, reason)
        self.kind = kind

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.kind, self.reason)


def look(path: Path) -> os.stat_result:
    """What the system knows of a file.

    Raises:
        Unusable: it is not there, no file, or empty.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise denied(path, error) from error
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a device or pipe"
        raise Unusable(path, "unreadable", f"is {what}, not a file")
    if found.st_size == 0:
        raise Unusable(path, "empty", "empty file (0 bytes)")
    return found


def denied(path: Path, error: OSError) -> Unusable:
    """Why the system does not let us read a file."""
    if isinstance(error, FileNotFoundError):
        link = (
            f"is a link to {os.readlink(path)}, which is not there" if path.is_symlink() else "is not there"
        )
        return Unusable(path, "missing", link)
    if isinstance(error, PermissionError):
        return Unusable(path, "unreadable", "we have no permission to read it: chmod +r, or ask its owner")
    if error.errno == errno.ELOOP:
        return Unusable(path, "unreadable", "is a link that leads back to itself")
    return Unusable(path, "unreadable", f"cannot be read: {error.strerror or error}")


def unknown(path: Path) -> Unusable:
    """Why FFmpeg cannot open a file, as far as its first bytes tell."""
    with path.open("rb") as file:
        head = file.read(64)
    if is_mp4(path):
        return Unusable(
            path,
            "damaged",
            "its index (moov atom) is missing or broken, as where a recording or a copy was cut off: "
            "copy it again, or mend it with a tool such as untrunc",
        )
    if not head.strip(b"\0"):
        return Unusable(path, "not-a-video", "begins with zeros only, as an unfinished download does")
    text = head.decode("utf-8", "ignore")
    first = text.strip().split("\n")[0].strip()
    if first.isprintable() and len(text.encode()) > len(head) - 4:  # the last letter may be cut in two
        return Unusable(path, "not-a-video", f"is text, beginning with {first[:40]!r}")
    return Unusable(path, "not-a-video", "is no video, or in a format that FFmpeg does not know")


def is_mp4(path: Path) -> bool:
    """Whether a file begins as MP4 and QuickTime files do."""
    with path.open("rb") as file:
        return file.read(8)[4:8] in BOXES
