"""The check of a place before any work."""

from pathlib import Path

import pytest

from kinevec.errors import OutputError
from kinevec.tasks.watcher import check_writable


def test_a_place_is_checked_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file.json").write_text("kept")
    check_writable(tmp_path / "there" / "file.json")
    check_writable(tmp_path / "there" / "new" / "deeper" / "file.json")
    assert [path.name for path in tmp_path.rglob("*")] == ["there", "file.json"]
    assert (tmp_path / "there" / "file.json").read_text() == "kept"


def test_a_place_below_a_file_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OutputError, match=r"new\.json: cannot be written"):
        check_writable(tmp_path / "file" / "folder" / "new.json")
    for folder in (tmp_path / "new" / ("x" * 300), tmp_path / ("x" * 300) / "new"):
        with pytest.raises(OutputError, match="cannot be written"):
            check_writable(folder / "new.json")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
