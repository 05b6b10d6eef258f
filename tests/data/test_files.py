"""Folders and lists become records; oddities become clear words."""

import os
from pathlib import Path

import numpy as np
import pytest

from kinevec.data.files import find_records, held_out, with_split
from kinevec.data.records import Record
from kinevec.errors import DataError, InputError


def tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_class_folders_give_labels(tmp_path: Path) -> None:
    root = tree(
        tmp_path, "jump up/a.mp4", "läuft/a.mp4", "läuft/deep/er/b.MOV", "läuft/notes.txt", ".hidden/c.mp4"
    )
    records = find_records(root)
    assert [(record.name, record.label) for record in records] == [
        ("jump up/a.mp4", "jump up"),
        ("läuft/a.mp4", "läuft"),
        ("läuft/deep/er/b.MOV", "läuft"),
    ]
    assert all(record.path.is_file() and record.split is None for record in records)


def test_split_folders_give_splits(tmp_path: Path) -> None:
    root = tree(tmp_path, "Train/x/1.mp4", "Train/y/1.mp4", "valid/x/2.mp4", "test/y/3.mp4")
    assert [(r.label, r.split) for r in find_records(root)] == [
        ("x", "train"),
        ("y", "train"),
        ("y", "test"),
        ("x", "val"),
    ]


def test_folders_beside_splits_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tree(tmp_path, "train/jump/a.mp4", "test/run/b.mp4", "unused/c.mp4")
    assert {(record.label, record.split) for record in find_records(root)} == {
        ("train", None),
        ("test", None),
        ("unused", None),
    }
    assert "folders named like splits (test, train) stand beside others (unused)" in caplog.text


def test_prepared_videos_among_the_others_are_not_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They would be one more folder beside train and test, whose names were then labels."""
    root = tree(tmp_path, "train/jump/a.mp4", "validate/run/b.mp4", "out/prepare.json", "out/videos/a.mp4")
    found = [(record.name, record.label, record.split) for record in find_records(root)]
    assert found == [("train/jump/a.mp4", "jump", "train"), ("validate/run/b.mp4", "run", "val")]
    assert not caplog.text
    assert len(find_records(root / "out")) == 1  # asked for by name
    (tmp_path / "only" / "data").mkdir(parents=True)
    (tmp_path / "only" / "data" / "prepare.json").touch()
    with pytest.raises(InputError, match="name a folder of prepared videos itself: data"):
        find_records(tmp_path / "only")


def test_flat_folder_has_no_labels(tmp_path: Path) -> None:
    records = find_records(tree(tmp_path, "a.mp4", "b c.avi"))
    assert [(record.name, record.label) for record in records] == [("a.mp4", None), ("b c.avi", None)]


@pytest.mark.parametrize("names", [("a.mp4", "x/b.mp4", "y/b.mp4"), ("videos/a.mp4", "videos/b.mp4")])
def test_half_a_class_tree_is_read_without_labels(names: tuple[str, ...], tmp_path: Path) -> None:
    assert {record.label for record in find_records(tree(tmp_path, *names))} == {None}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ("spin/a.mp4", "spin/b.mp4"),
            "there is only one class folder, 'spin', and scores need at least two",
        ),
        (("train/spin/a.mp4", "test/spin/b.mp4"), "there is only one class folder, 'spin', and scores need"),
        (("a.mp4", "spin/b.mp4"), "(videos outside a class folder: 1; class folders: 1); reading it without"),
        (("a.mp4", "b.mp4", "x/c.mp4", "y/d.mp4"), "(videos outside a class folder: 2; class folders: 2)"),
        (("a.mp4", "b.mp4"), ""),
        (("x/a.mp4", "y/b.mp4"), ""),
    ],
)
def test_why_folders_give_no_labels_is_said(
    names: tuple[str, ...], said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    find_records(tree(tmp_path, *names))
    assert said in caplog.text
    assert bool(said) == bool(caplog.text)


def test_link_loops_end(tmp_path: Path) -> None:
    tree(tmp_path, "x/a.mp4", "y/b.mp4")
    (tmp_path / "x" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert [record.name for record in find_records(tmp_path)] == ["x/a.mp4", "y/b.mp4"]


def test_csv_with_all_columns(tmp_path: Path) -> None:
    tree(tmp_path, "v/a.mp4", "v/é b.mp4")
    (tmp_path / "labels.csv").write_text(
        "\ufeffPath, Label ,Split,subject,other\r\nv/é b.mp4,run,Test,s2,1\r\nv/a.mp4, walk ,training,s1,2\r\n",
        "utf-8",
    )
    assert (
        find_records(tmp_path)
        == find_records(tmp_path / "labels.csv")
        == (
            Record(tmp_path / "v/a.mp4", "v/a.mp4", "walk", "s1", "train"),
            Record(tmp_path / "v/é b.mp4", "v/é b.mp4", "run", "s2", "test"),
        )
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,label\na.mp4,push, left\n", "line 2: more fields than the first line has columns"),
        ('path,label\na.mp4,"spin\nb.mp4,orbit\nc.mp4,orbit\n', r"line 2: not CSV \(unexpected end"),
        ('path,label\na.mp4,walk\n"b.mp4,jump\n', "line 3: not CSV"),
        ('path,label\na.mp4,"x\ny"\n', "line 3: a quotation mark is not closed before the end of its line"),
        ('"path,label\na.mp4,walk\n', "not CSV"),
        ("path,label\na.mp4,x,\n", ""),
        ("path,label\na.mp4,x\n./sub/../a.mp4,x\n", ""),
        ("path,label\na.mp4,x\n{0}/a.mp4,x\n", "line 3: .*/a.mp4 is the file that the list also names a.mp4"),
        ('path,label\na.mp4,"' + "spin\n" * 40_000, "not CSV .*field larger"),
    ],
)
def test_rows_that_are_read_as_something_else_are_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(text.replace("{0}", str(tmp_path)))
    if not words:
        assert [record.name for record in find_records(tmp_path / "list.csv")] == ["a.mp4"]
        return
    with pytest.raises(DataError, match=words):
        find_records(tmp_path / "list.csv")


def test_columns_that_may_be_meant_as_labels_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listed = tmp_path / "list.csv"
    for text, said in (
        (
            "path,class,split,set\na.mp4,x,train,1\n",
            "no column 'label', so that its videos have no labels; not read: class, set",
        ),
        ("path,subject,split\na.mp4,x,train\n", ""),
        ("path,label,class\na.mp4,x,y\n", ""),
    ):
        caplog.clear()
        listed.write_text(text)
        find_records(listed)
        assert said in caplog.text
        assert bool(caplog.text) == bool(said), text


def test_csv_with_paths_only(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text('path\n"with, comma.mp4"\n')
    assert find_records(tmp_path / "list.csv")[0].name == "with, comma.mp4"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must name the columns"),
        ("path,label\n", "has no line below the one that names the columns"),
        ("file,label\na.mp4,x\n", "among them 'path'; found: file, label"),
        ("path;label\na,1.mp4;x\n", "separated by ';'; separate them by commas"),
        ("path,split\na.mp4,train\nb.mp4,traim\n", "line 3: split is 'traim'"),
        ("path,label\na.mp4,x\na.mp4,y\n", "line 3: a.mp4 stands in the list twice"),
        ("path,label\n,x\n", "line 2: the path is empty"),
    ],
)
def test_bad_lists_name_the_line(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        find_records(tmp_path / "list.csv")


def test_list_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes("path\nläufer.mp4\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        find_records(tmp_path / "list.csv")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_records(tmp_path / "missing")
    with pytest.raises(InputError, match="no video files found"):
        find_records(tree(tmp_path, "readme.txt"))


def records(count: int, labels: int, groups: int = 0) -> list[Record]:
    return [
        Record(Path(f"{i}.mp4"), f"{i}.mp4", f"c{i % labels}", f"g{i % groups}" if groups else None)
        for i in range(count)
    ]


def test_held_out_share_of_every_label() -> None:
    split = with_split(records(80, 4), 0.25)
    for label in range(4):
        assert sum(r.split == "test" for r in split if r.label == f"c{label}") == 5
    assert with_split(list(reversed(records(80, 4))), 0.25)[::-1] == split  # whatever the order


def test_videos_without_a_group_are_groups_by_themselves() -> None:
    groups: list[str | None] = ["anna"] * 10 + [None] * 28 + ["ben", ""]
    anna = set()
    for seed in range(20):
        held = held_out(["a", "b"] * 20, groups, 0.25, np.random.default_rng(seed))
        assert len(set(held[:10])) == 1  # never split
        anna.add(bool(held[0]))
        assert held[10:].sum() >= 6  # 8 of 31 groups
        numbers = [{"anna": 1, "ben": 2}.get(group or "", 0) for group in groups]
        assert (held == held_out(["a", "b"] * 20, numbers, 0.25, np.random.default_rng(seed))).all()
    assert anna == {True, False}


def test_a_single_group_is_split_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    held = held_out(["a", "b"] * 4, ["anna"] * 8, 0.25, np.random.default_rng(0))
    assert held.sum() == 2
    assert "all videos belong to one group, which is split" in caplog.text


def test_held_out_keeps_groups_whole() -> None:
    split = with_split(records(80, 4, groups=7), 0.25)
    sides = {(r.group, r.split) for r in split}
    assert len(sides) == 7
    assert sum(side == "test" for _, side in sides) == 2


def test_named_splits_are_left_alone() -> None:
    named = [Record(Path("a"), "a", split="val"), Record(Path("b"), "b")]
    assert with_split(named, 0.25) == tuple(named)


def test_videos_without_a_split_among_others_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    with_split([Record(Path("a"), "a", split="val"), Record(Path("b"), "b")], 0.25)
    assert "1 of 2 videos name no split and belong to none" in caplog.text


@pytest.mark.parametrize("labels", [["a", "b", "c"], ["", ""], ["a", "a", "b", "b"]])
def test_something_is_held_out_of_very_little(labels: list[str]) -> None:
    held = held_out(labels, [None] * len(labels), 0.25, np.random.default_rng(0))
    assert held.any()
    assert not held.all()


def test_a_single_video_stays_in_train() -> None:
    assert not held_out(["a"], [None], 0.25, np.random.default_rng(0)).any()


def test_list_names_are_plain(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path\n./a.mp4\nsub/../a.mp4\nodd\u2028name.mp4\n", "utf-8")
    assert [record.name for record in find_records(tmp_path / "list.csv")] == ["a.mp4", "odd\u2028name.mp4"]


def test_unreadable_folders_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tree(tmp_path, "x/a.mp4", "y/b.mp4")
    (tmp_path / "x").chmod(0)
    if os.access(tmp_path / "x", os.R_OK):
        pytest.skip("this user reads everything")
    assert [record.name for record in find_records(tmp_path)] == ["y/b.mp4"]
    assert "x: cannot be read: Permission denied; its videos are missing" in caplog.text
