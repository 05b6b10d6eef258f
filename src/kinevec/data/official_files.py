"""Reading the files of an official data set: finding them, and errors that name the file and the line."""

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinevec.data.files import VIDEO_SUFFIXES
from kinevec.errors import DataError, InputError


@dataclass(frozen=True, slots=True)
class Annotations:
    """Where the annotation files of one data set are looked for.

    Args:
        title: the data set's name, for messages.
        origin: where its annotation files come from, in words, for messages.
        folders: searched in this order.
    """

    title: str
    origin: str
    folders: tuple[Path, ...]

    def find(self, *names: str) -> Path:
        """The first file there is of these names; they are alternatives.

        Raises:
            InputError: none of them is in any of the folders.
        """
        found = self.find_if_there(*names)
        if found is None:
            raise self.missing(" or ".join(names))
        return found

    def find_if_there(self, *names: str) -> Path | None:
        """The first file there is of these names, or None."""
        places = (folder / name for folder in self.folders for name in names)
        return next((place for place in places if place.is_file()), None)

    def glob(self, pattern: str, subfolder: str) -> list[Path]:
        """All files of this pattern, sorted, in the first folder that has any itself or in its subfolder.

        Raises:
            InputError: no folder has any.
        """
        for folder in self.folders:
            for place in (folder, folder / subfolder):
                if found := sorted(place.glob(pattern)):
                    return found
        raise self.missing(f"{pattern} or {subfolder}/{pattern}")

    def missing(self, names: str) -> InputError:
        """The error that says which file was looked for, where, and where it comes from."""
        looked = ", ".join(str(folder) for folder in self.folders)
        return InputError(f"{self.title}: no {names} in {looked}. It comes with {self.origin}.")


class Folders:
    """The files below a root, each folder listed once, when it is first asked for.

    One listing of a folder is far cheaper than a look at each of the 300,000 files that a list may name.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listed: dict[str, tuple[frozenset[str], dict[str, str]]] = {}

    def find(self, folders: Sequence[str], file: str) -> str | None:
        """The '/'-separated path below the root of the first of `folders` that holds `file`, or None.

        Where a folder lacks the exact name, a video of the same name with another extension counts: a
        converted copy. ("" is the root itself.)
        """
        stem = os.path.splitext(file)[0]
        for folder in folders:
            if folder not in self._listed:
                self._listed[folder] = self._list(folder)
            files, videos = self._listed[folder]
            found = file if file in files else videos.get(stem)
            if found is not None:
                return f"{folder}/{found}" if folder else found
        return None

    def _list(self, folder: str) -> tuple[frozenset[str], dict[str, str]]:
        """The names of all files of a folder, and those of its videos by their name without extension."""
        place = self._root / folder
        try:
            with os.scandir(place) as entries:
                names = sorted(entry.name for entry in entries if _is_file(entry))
        except (FileNotFoundError, NotADirectoryError):
            return frozenset(), {}
        except OSError as error:
            raise DataError(f"{place}: cannot be listed ({error.strerror}).") from error
        videos: dict[str, str] = {}
        for name in names:
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in VIDEO_SUFFIXES:
                videos.setdefault(stem, name)
        return frozenset(names), videos


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a loop of symbolic links, for one
        return False


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a text file that are not blank, stripped, each after its place ("file, line 3").

    Raises:
        DataError: the file cannot be read as text.
    """
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if text := line.strip():
            yield f"{path}, line {number}", text


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DataError: it is not JSON.
    """
    try:
        return json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not JSON ({error.msg}).") from error


def read_entries(path: Path, keys: Mapping[str, type]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The entries of a JSON file that is a list of objects, each after its place ("file, entry 3").

    Args:
        path: the file.
        keys: the keys that each entry must have, and the type of each.

    Raises:
        DataError: it is something else, or an entry lacks a key.
    """
    entries = read_json(path)
    if not isinstance(entries, list):
        raise DataError(f"{path}: expected a list of entries, found {type(entries).__name__}.")
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict):
            raise DataError(f"{path}, entry {number}: expected an object, found {entry!r}.")
        for key, kind in keys.items():
            if not isinstance(entry.get(key), kind):
                raise DataError(
                    f"{path}, entry {number}: expected {key!r} as {kind.__name__}, found {entry.get(key)!r}."
                )
        yield f"{path}, entry {number}", entry


def read_csv(
    path: Path, columns: Sequence[str], optional: str
) -> Iterator[tuple[str, list[str], str | None]]:
    """The rows of a CSV file with a header: place ("file, line 3"), the wanted columns, the optional one.

    Args:
        path: the file; its columns may stand in any order and it may have more.
        columns: names of the columns that it must have.
        optional: name of a column that it may lack; None is given then.

    Raises:
        DataError: a column is missing, or a row has another number of fields than the header.
    """
    rows = csv.reader(io.StringIO(_read_text(path)))
    header = [name.strip() for name in next(rows, [])]
    lacking = [name for name in columns if name not in header]
    if lacking:
        raise DataError(
            f"{path}, line 1: no column {', '.join(lacking)}; expected a header with {','.join(columns)}, "
            f"found {','.join(header)!r}."
        )
    indices = [header.index(name) for name in columns]
    extra = header.index(optional) if optional in header else None
    try:
        for row in filter(None, rows):
            where = f"{path}, line {rows.line_num}"
            if len(row) != len(header):
                raise DataError(f"{where}: expected {len(header)} fields as in the header, found {len(row)}.")
            yield where, [row[i].strip() for i in indices], None if extra is None else row[extra].strip()
    except csv.Error as error:  # a quotation mark that is never closed, for one
        raise DataError(f"{path}, line {rows.line_num}: not CSV ({error}).") from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # some lists went through a Windows editor
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file in UTF-8 (byte {error.start:,}).") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
