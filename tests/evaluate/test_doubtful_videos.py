"""Test videos that were learned by heart, and videos too short for a clip: said before anything is scored."""

import json
import logging
import os
from pathlib import Path

import pytest

from kinevec.config import Clip
from kinevec.data.records import Record
from kinevec.data.source import Collection
from kinevec.errors import DataError
from kinevec.evaluate.audit.run import _check_labels
from kinevec.evaluate.checks import check, warn_looped, warn_neighbours
from kinevec.evaluate.copies import count_copies, same_content
from kinevec.evaluate.protocols import Settings
from kinevec.train.seen import VIDEOS
from painted import coloured_set


def file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def listed(**files: Path) -> Collection:
    """Files of the split that begins their name."""
    records = [Record(path, f"{name}.mp4", "a", None, name[:-1]) for name, path in files.items()]
    return Collection(tuple(records), (), ())


@pytest.mark.parametrize(
    ("k", "protocol", "said"),
    [
        (3, "knn", ""),
        (4, "knn", "knn: 4 neighbours are to vote, but there are 3 labelled"),
        (4, "linear", ""),
    ],
)
def test_more_neighbours_than_there_are_is_warned_of(
    k: int, protocol: str, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["train1", "train2", "train3", "test1"]
    collection = listed(**{name: file(tmp_path / name, name.encode()) for name in names})
    unlabelled = Record(tmp_path / "x", "x.mp4", None, None, "train")
    collection = Collection((*collection.records, unlabelled), (), ())
    warn_neighbours(collection, Settings(protocols=(protocol,), k=k))
    assert said in caplog.text
    assert bool(caplog.text) == bool(said)


def test_copies_are_files_of_the_same_content_and_other_names(tmp_path: Path) -> None:
    one, same = file(tmp_path / "one", b"abc"), file(tmp_path / "same", b"abc")
    other, longer = file(tmp_path / "other", b"abd"), file(tmp_path / "longer", b"abcd")
    empty, void = file(tmp_path / "empty", b""), file(tmp_path / "void", b"")
    link = tmp_path / "link"
    link.symlink_to(one)
    missing = tmp_path / "missing"
    assert same_content([same, longer, empty, missing], [other, one, void, missing]) == [(same, one)]
    assert same_content([one], [one, link]) == []


def test_only_files_of_equal_size_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(
        "kinevec.evaluate.copies._digest", lambda path: read.append(path.name) or path.read_text()
    )
    train = [file(tmp_path / f"t{i}", b"x" * i) for i in range(1, 6)]
    assert same_content([file(tmp_path / "a", b"y" * 3), file(tmp_path / "b", b"x" * 9)], train) == []
    assert sorted(read) == ["a", "t3"]


def test_copies_in_test_are_warned_of_with_an_example(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = file(tmp_path / "train1", b"abc")
    collection = listed(
        train1=train, test1=file(tmp_path / "x", b"xyz"), test2=file(tmp_path / "y", b"abc"), test3=train
    )
    assert count_copies(collection) == 1
    assert "1 of 3 test videos are copies of training videos" in caplog.text
    assert "such as test2.mp4 = train1.mp4" in caplog.text
    assert "kinevec prepare" in caplog.text


def test_videos_of_pretraining_count_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    seen = file(tmp_path / "seen", b"abc")
    run = tmp_path / "run"
    run.mkdir()
    collection = listed(train1=file(tmp_path / "t", b"t"), test1=file(tmp_path / "y", b"abc"))
    assert count_copies(collection, run) == 0
    assert not caplog.records
    (run / VIDEOS).write_text(json.dumps([str(tmp_path / "gone"), str(seen)]))
    assert count_copies(collection, run) == 1
    assert str(seen) in caplog.text
    assert count_copies(collection, file(run / "best.safetensors", b"w")) == 1
    (run / VIDEOS).write_text(json.dumps({"manifest": "elsewhere"}))
    assert count_copies(collection, run) == 0


def test_files_that_cannot_be_read_are_no_copies(tmp_path: Path) -> None:
    one, other = file(tmp_path / "one", b"abc"), file(tmp_path / "other", b"abc")
    os.chmod(one, 0)
    if not os.access(one, os.R_OK):
        assert same_content([one], [other]) == []
    one.unlink()
    one.mkdir()
    assert same_content([one], [file(tmp_path / "z", b"x" * one.stat().st_size)]) == []


def test_looped_videos_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    collection = coloured_set(tmp_path, "ab", ["train", "test"])  # of 8 frames
    with caplog.at_level(logging.WARNING):
        assert warn_looped(collection, Clip(frames=4, stride=2)) == 0
        assert not caplog.records
        assert warn_looped(collection, Clip(frames=4, stride=3)) == 2
    assert "2 of 2 videos are shorter than a clip (10 frames: 4 at stride 3) and are looped" in caplog.text


def test_a_test_split_of_one_label_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    def made(labels: str) -> Collection:
        records = [
            Record(Path("x"), str(i), label, None, "train" if i < 4 else "test")
            for i, label in enumerate("aabb" + labels)
        ]
        return Collection(tuple(records), (), ())

    check(made("ab"))
    assert not caplog.text
    check(made("aa"))
    assert "all labelled test videos have one label ('a'); retrieval, which centres them" in caplog.text


def test_what_labels_lack_is_said() -> None:
    collection = listed(train1=Path("x"), train2=Path("y"), test1=Path("z"))
    with pytest.raises(DataError, match=r"2 labelled videos of the train split have one label \('a'\)"):
        check(collection)
    with pytest.raises(DataError, match="no video belongs to the train split"):
        check(listed(test1=Path("z")))
    with pytest.raises(DataError, match="no video has a label; an audit needs"):
        _check_labels(Collection((), (), ()))
