"""What a file is that holds no weights of others, for the message that refuses it."""

import zipfile
from pathlib import Path

from kinevec.encoders.layout import is_exported
from kinevec.errors import CheckpointError, InputError

WANTED = "wanted is one file of weights (.safetensors, .pth, .pt, .pth.tar)"
POINTER = b"version https://git-lfs"
HEAD = 4_096  # bytes that are looked at
RUN = ("encoder.safetensors", "checkpoint.pt")  # one of them lies in the folder of a run


def check_weights(path: Path) -> None:
    """Refuses what is no file of weights by its first bytes, in plainer words than those who read it would.

    Raises:
        InputError: it is a folder, or cannot be read.
        CheckpointError: it is something else; says what.
    """
    if path.is_dir():
        raise InputError(f"{path}: {_folder_words(path)}")
    try:
        words = _words(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if words:
        raise CheckpointError(f"{path}: {words}")


def _folder_words(path: Path) -> str:
    """What a folder is that was given in place of a file."""
    if is_exported(path):
        what = "is a model that kinevec wrote, with nothing to convert: use it as it is, as in `kinevec eval`"
    elif any((path / name).is_file() for name in RUN):
        what = "is a run of kinevec, with nothing to convert: use it as it is, or `kinevec export` it"
    else:
        what = "is a folder"
    return f"{what}; {WANTED}"


def _words(path: Path) -> str | None:
    """What a file is by its first bytes; None where it may be one of weights.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        return "is empty (0 bytes); download or copy it again"
    if head.startswith(POINTER):
        return "only a pointer of git-lfs, not the weights; fetch them with `git lfs pull`"
    if not head.strip(b"\0"):
        return "begins with zeros only, as an unfinished download does; download it again"
    if text := _text(head):
        if text.lower().startswith(("<!doctype", "<html")):
            return f"is a web page, as where a download asks for a log-in or a click; {WANTED}"
        return f"is text, beginning with {text.splitlines()[0][:40]!r}; {WANTED}"
    if head[4:8] == b"ftyp":
        return f"is a video; {WANTED}"
    if zipfile.is_zipfile(path) and not _torch_zip(path):
        return f"is a ZIP archive that PyTorch did not write; unpack it: {WANTED}"
    return None


def _text(head: bytes) -> str:
    """The text that a file begins with; "" where it is none."""
    text = head.decode("utf-8", "ignore")
    whole = len(text.encode()) > len(head) - 4  # the last letter may be cut in two
    plain = all(letter.isprintable() or letter in "\t\r\n\f\ufeff" for letter in text)
    return text.strip() if whole and plain else ""


def _torch_zip(path: Path) -> bool:
    """Whether an archive is laid out as `torch.save` does."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return True  # damaged: PyTorch says how
