"""A run's folder says what it was trained on, in little space, and can be asked about any video."""

import json
import logging
import shutil
from pathlib import Path

import pytest

from faults import numbered_video
from kinevec.data import find_records, open_videos
from kinevec.data.manifest import Manifest, read_manifest
from kinevec.data.manifest_file import write_manifest
from kinevec.data.prepare import PrepareConfig, prepare
from kinevec.data.records import Record
from kinevec.train.seen import VIDEOS, count_seen, write_seen


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for i in range(10):
        numbered_video(folder / f"{i}.mp4", 4, size=(32, 32))
    return folder


@pytest.fixture
def manifest(videos: Path, tmp_path: Path) -> Manifest:
    prepare(find_records(videos), tmp_path / "data", PrepareConfig(short_side=32, motion="none"), workers=0)
    return read_manifest(tmp_path / "data")


def records(manifest: Manifest) -> list[Record]:
    return [manifest.record(i) for i in range(len(manifest))]


def test_files_are_known_by_their_paths(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = find_records(videos)
    write_seen(tmp_path, open_videos(listed[:4]))
    assert json.loads((tmp_path / VIDEOS).read_text()) == [str(record.path) for record in listed[:4]]
    assert count_seen(tmp_path, listed) == 4
    assert count_seen(tmp_path, listed[3:]) == 1
    monkeypatch.chdir(videos)
    assert count_seen(tmp_path, find_records(Path())) == 4
    assert count_seen(tmp_path / "elsewhere", listed) is None
    (tmp_path / "best.safetensors").touch()  # an encoder of the run, by its file
    assert count_seen(tmp_path / "best.safetensors", listed[3:]) == 1


def test_prepared_videos_are_known_and_so_are_their_originals(
    manifest: Manifest, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = manifest.take([0, 3, 9])
    write_seen(tmp_path, part)
    assert count_seen(tmp_path, records(manifest)) == 3
    assert [count_seen(tmp_path, [record]) for record in records(part)] == [1, 1, 1]
    assert count_seen(tmp_path, records(manifest.take([1, 2, 8]))) == 0
    originals = find_records(videos)
    assert [i for i, record in enumerate(originals) if count_seen(tmp_path, [record])] == [0, 3, 9]
    (tmp_path / "link").symlink_to(videos)
    assert count_seen(tmp_path, find_records(tmp_path / "link")) == 3
    other = tmp_path / "other"
    listed = find_records(
        tmp_path / "link"
    )  # the originals were found by another way when they were prepared
    prepare(listed, other, PrepareConfig(short_side=32, motion="none"), workers=0)
    write_seen(other, read_manifest(other).take([2, 4]))
    assert count_seen(other, find_records(tmp_path / "link")) == 2
    monkeypatch.chdir(tmp_path)
    assert count_seen(tmp_path, records(read_manifest(Path("data")))) == 3
    write_seen(tmp_path, manifest)
    assert count_seen(tmp_path, records(manifest)) == 10
    assert count_seen(tmp_path, []) == 0


def test_a_manifest_that_is_gone_or_changed_says_nothing(
    manifest: Manifest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_seen(tmp_path, manifest.take([1]))
    asked = records(manifest)
    write_manifest(manifest.folder, [], complete=True)
    with caplog.at_level(logging.WARNING, "kinevec"):
        assert count_seen(tmp_path, asked) is None
        assert "was changed while" in caplog.text
        shutil.rmtree(manifest.folder)
        assert count_seen(tmp_path, asked) is None
    assert "No such file" in caplog.text
