"""What was named is checked before PyTorch is imported; the version is told without it."""

import json
import subprocess
import sys
from importlib import metadata

import pytest

SCRIPT = """
import json, sys
from typer.testing import CliRunner
from kinevec.cli import app

found = []
for words in json.loads(sys.argv[1]):
    result = CliRunner().invoke(app, words)
    found.append([getattr(result.exception, "exit_code", result.exit_code), str(result.exception), result.output])
print(json.dumps([found, [name for name in ("torch", "sklearn", "ray") if name in sys.modules]]))
"""
CASES: list[tuple[list[str], int, str]] = [
    (["search", "nix", "--clip", "1"], 2, "nix: no index is there"),
    (["search", "file", "--clip", "1"], 2, "file: is a file, but an index is a folder"),
    (["search", "index", "nix.mp4"], 2, "nix.mp4: no such video"),
    (["search", "index", "folder"], 2, "folder: is a folder, but one video is wanted"),
    (["show", "untrained:tiny", "nix.mp4"], 2, "nix.mp4: no such video"),
    (["show", "untrained:tiny", "folder"], 2, "folder: is a folder, but one video is wanted"),
    (["cluster", "nix"], 2, "nix: no index is there"),
    (["cluster", "index", "-o", "file"], 2, "file: is a file, but a folder is wanted"),
    (["cluster", "index", "-o", "file/x"], 2, "file is a file, but a folder is wanted"),
    (["cluster", "index", "--map", "tsne"], 2, "--map is 'tsne'"),
    (["serve", "nix"], 2, "nix: no index is there"),
    (["serve", "index", "--labels", "folder"], 2, "folder: is a folder, but a file is wanted"),
    (["serve", "index", "--labels", "/dev/null"], 2, "/dev/null: is a device or pipe, but a file is wanted"),
    (["embed", "nix", "folder", "-o", "new"], 2, "nix: no such run, folder or file"),
    (["embed", "untrained:tiny", "nix", "-o", "new"], 2, "nix: no such folder, list or video"),
    (["embed", "untrained:tiny", "folder", "-o", "file"], 2, "file: is a file, but a folder is wanted"),
    (["export", "nix", "-o", "new"], 2, "nix: no such run, folder or file"),
    (["export", "untrained:tiny", "-o", "file"], 2, "file: is a file, but a folder is wanted"),
    (["export", "untrained:tiny", "-o", "index"], 2, "index: exists and is not an exported model"),
    (["convert", "nix.pth", "-o", "new"], 2, "nix.pth: cannot be read: No such file"),
    (["convert", "file", "-o", "new"], 1, "file: is text, beginning with 'mine'"),
    (["convert", "folder", "-o", "new"], 2, "folder: is a folder; wanted is one file of weights"),
    (["prepare", "nix", "-o", "new"], 2, "nix: no such folder, list or video"),
    (["prepare", "folder", "-o", "file"], 2, "file: is a file, but a folder is wanted"),
    (["flow", "folder"], 2, "manifest.parquet: No such file or directory"),
    (["flow", "folder", "--gap", "0"], 2, "flow.gap is 0"),
    (["synth", "-o", "file"], 2, "file: is a file, but a folder is wanted"),
    (["synth", "-o", "new", "--size", "33"], 2, "size is 33"),
    (["--version"], 0, f"kinevec {metadata.version('kinevec')}, torch {metadata.version('torch')}, Python 3"),
]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[tuple[int, str, str]], list[str]]:
    """Of each case the exit code, the error and the output; and what was imported that is slow to import."""
    place = tmp_path_factory.mktemp("early")
    (place / "file").write_text("mine")
    (place / "folder").mkdir()
    (place / "index").mkdir()
    (place / "index" / "index.json").write_text('{"format": 1}')
    words = json.dumps([words for words, _, _ in CASES])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, words],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found, imported = json.loads(done.stdout)
    assert sorted(path.name for path in place.iterdir()) == ["file", "folder", "index"]  # nothing was made
    return found, imported


@pytest.mark.parametrize("number", range(len(CASES)), ids=[" ".join(words) for words, _, _ in CASES])
def test_is_refused_in_a_line(number: int, said: tuple[list[tuple[int, str, str]], list[str]]) -> None:
    _, code, words = CASES[number]
    found, error, output = said[0][number]
    assert words in error + output
    assert found == code


def test_nothing_slow_was_imported_for_it(said: tuple[list[tuple[int, str, str]], list[str]]) -> None:
    assert said[1] == []
