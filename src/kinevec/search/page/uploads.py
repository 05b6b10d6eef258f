"""Files that people drop into the page: of limited size, of a known kind by their content, kept for a while."""

import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from kinevec.errors import DataError, InputError

LIMIT = 512 * 2**20  # bytes of one file
KEPT = 8  # files
HEAD = 4096  # bytes that tell what a file is
_MOV = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}
_STARTS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"FLV",
    b"OggS",
    b"GIF8",
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # Windows Media
)


@dataclass(frozen=True)
class Upload:
    """A file that was uploaded, and what `kinevec.search.page.media.measure` says of it."""

    id: str
    path: Path
    about: dict[str, float]


def is_container(head: bytes) -> bool:
    """Whether a file with this beginning is a container of video.

    FFmpeg also reads play lists, which name further files; nothing but containers may come so far.
    """
    if head[4:8] in _MOV or head.startswith(_STARTS) or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        return True
    return any(
        head[at : at + 1] == head[at + size : at + size + 1] == b"G" for at, size in ((0, 188), (4, 192))
    )


class Uploads:
    """Uploaded files under random names in a folder; the one that was used longest ago makes room for a new one.

    Args:
        folder: private; it is there.
        limit: bytes of one file.
        kept: number of files.
    """

    def __init__(self, folder: Path, limit: int = LIMIT, kept: int = KEPT) -> None:
        self.folder = folder
        self.limit = limit
        self.kept = kept
        self._known: OrderedDict[str, Upload] = OrderedDict()

    async def receive(self, chunks: AsyncIterator[bytes]) -> Path:
        """Writes what comes in to a file.

        Raises:
            InputError: it is too large, empty, or no container of video.
        """
        path = self.folder / secrets.token_hex(16)
        head, size = b"", 0
        try:
            with path.open("wb") as file:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > self.limit:
                        raise InputError(
                            f"the file is larger than {self.limit // 2**20} MiB; cut out a part of it"
                        )
                    head += chunk[: HEAD - len(head)]
                    file.write(chunk)
            if not is_container(head):
                raise InputError("the file is empty" if not size else "the file is no video")
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def keep(self, path: Path, about: dict[str, float]) -> Upload:
        """Notes a file that was received and is good."""
        upload = Upload(path.name, path, about)
        self._known[upload.id] = upload
        while len(self._known) > self.kept:
            _, oldest = self._known.popitem(last=False)
            oldest.path.unlink(missing_ok=True)
        return upload

    def get(self, id: str) -> Upload:
        """A file that was uploaded.

        Raises:
            DataError: it is not kept any more, or there was none.
        """
        if id not in self._known:
            raise DataError("this upload is not kept any more; drop the file in again")
        self._known.move_to_end(id)
        return self._known[id]
