"""Clips come out the same whatever they are kept in, and no file is lost without a word."""

import csv
import pickle
import resource
from pathlib import Path

import numpy as np
import pytest

import faults
from faults import numbered_video, read_number
from kinevec.data.files import find_records
from kinevec.data.source import Collection, FileSource, FrameStore, Rejected, open_videos, write_rejected
from kinevec.errors import DataError, OutputError


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    numbered_video(tmp_path / "a.mp4", 20, size=(96, 64))
    numbered_video(tmp_path / "b.mp4", 31, size=(64, 80))
    numbered_video(tmp_path / "c.mp4", 12, size=(40, 40))
    return open_videos(find_records(tmp_path))


def test_broken_files_are_listed_with_reasons(tmp_path: Path) -> None:
    numbered_video(tmp_path / "good.mp4", 5)
    faults.zero_byte(tmp_path / "empty.mp4")
    faults.text_as_mp4(tmp_path / "text.mp4")
    seen: list[tuple[int, int]] = []
    collection = open_videos(find_records(tmp_path), lambda done, total: seen.append((done, total)))
    assert [record.name for record in collection.records] == ["good.mp4"]
    assert [(r.name, r.reason) for r in collection.rejected] == [
        ("empty.mp4", "empty file (0 bytes)"),
        ("text.mp4", "is text, beginning with '<html><body>404: the video was not found'"),
    ]
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_no_readable_video_at_all(tmp_path: Path) -> None:
    faults.zero_byte(tmp_path / "empty.mp4")
    with pytest.raises(DataError, match=r"none of 1 videos can be read; the first, empty.mp4: empty file"):
        open_videos(find_records(tmp_path))


def test_store_and_files_give_the_same_frames(collection: Collection, tmp_path: Path) -> None:
    store, kept = FrameStore.build(collection, tmp_path / "frames.raw", short_side=48)
    files = FileSource(collection)
    assert kept.records == collection.records
    assert len(store) == len(files) == 3
    for source in (store, pickle.loads(pickle.dumps(store)), files):
        for index, frames in enumerate((20, 31, 12)):
            assert source.frames(index) == frames
            order = [frames - 1, 0, 7, 7]
            clip = source.read(index, order)
            assert [read_number(frame) for frame in clip.frames] == order
            np.testing.assert_array_equal(clip.times, collection.infos[index].times[order])
    shapes = [store.read(index, [0]).frames.shape[1:3] for index in range(3)]
    assert shapes == [(48, 72), (60, 48), (40, 40)]  # never scaled up


def test_plan_counts_every_byte(collection: Collection, tmp_path: Path) -> None:
    _, size = FrameStore.plan(collection, 48)
    assert size == 3 * (20 * 48 * 72 + 31 * 60 * 48 + 12 * 40 * 40)
    FrameStore.build(collection, tmp_path / "frames.raw", 48)
    assert (tmp_path / "frames.raw").stat().st_size == size


def test_store_leaves_out_what_breaks_while_decoding(collection: Collection, tmp_path: Path) -> None:
    faults.truncated_mp4(tmp_path / "b.mp4")  # after it was probed
    store, kept = FrameStore.build(collection, tmp_path / "frames.raw", 48)
    assert [record.name for record in kept.records] == ["a.mp4", "c.mp4"]
    assert [item.name for item in kept.rejected] == ["b.mp4"]
    assert [read_number(frame) for frame in store.read(1, [0, 11]).frames] == [0, 11]


def test_full_disk_while_storing(collection: Collection) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    link = collection.infos[0].path.parent / "frames.raw"
    link.symlink_to(full)
    with pytest.raises(OutputError, match=r"cannot write .* No space left on device; free some space"):
        FrameStore.build(collection, link, 48)
    assert not link.is_symlink()


def test_rejected_list_is_csv(tmp_path: Path) -> None:
    write_rejected([Rejected('odd, "name".mp4', "cut short\nat 3 s")], tmp_path / "rejected.csv")
    with (tmp_path / "rejected.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["name", "reason"], ['odd, "name".mp4', "cut short\nat 3 s"]]


def test_a_list_that_cannot_be_written_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "rejected.csv"
    write_rejected([Rejected("a.mp4", "damaged")], path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OutputError, match=r"rejected\.csv.*File too large"):
            write_rejected([Rejected(f"{i}.mp4", "damaged") for i in range(999)], path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "name,reason\na.mp4,damaged\n"
    assert list(tmp_path.iterdir()) == [path]
