"""Helpers to make small trees in the formats of official data sets."""

from pathlib import Path

from kinevec.data.official import OfficialSet


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())  # bytes, so that line ends stay as they are


def rows(found: OfficialSet) -> list[tuple[str, str | None, str | None, str | None]]:
    return [(r.name, r.label, r.group, r.split) for r in found.records]


def edit(path: Path, old: str, new: str) -> None:
    content = path.read_bytes().decode()
    assert old in content
    path.write_bytes(content.replace(old, new, 1).encode())
