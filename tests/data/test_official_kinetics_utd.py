"""Kinetics-400 and UTD-MHAD: made-up trees in their exact formats."""

import csv
from pathlib import Path

import pytest

from kinevec.data.official import read_official
from kinevec.errors import DataError
from official_trees import edit, make, rows, write

HEADER = "label,youtube_id,time_start,time_end,split,is_cc\n"
HEAD, DRUM, CUT, TEST = (
    "-3B32lodo2M_000059_000069.mp4",
    "_dbcJuKJQNs_000000_000008.mp4",
    "0347ZoDXyP0_001095_001105.mp4",
    "zzz4Q6o9U-k_000007_000017.mp4",
)


@pytest.fixture
def kinetics(tmp_path: Path) -> Path:
    write(
        tmp_path / "train.csv",
        f"\ufeff{HEADER}massaging person's head,-3B32lodo2M,59,69,train,0\r\n"
        '"air drumming ",_dbcJuKJQNs,0,8,train,0\r\n',
    )
    write(
        tmp_path / "validate.csv",
        f'{HEADER}"passing, American (in game)",0347ZoDXyP0,1095,1105,validate ,1\n\n',
    )
    write(tmp_path / "test.csv", "youtube_id,time_start,time_end,split\nzzz4Q6o9U-k,7,17,test\n")
    return tmp_path


LAYOUTS = {
    "labels": (
        f"massaging person's head/{HEAD}",
        f"air drumming/{DRUM}",
        f"passing, American (in game)/{CUT}",
        TEST,
    ),
    "underscores": (
        f"massaging_person's_head/{HEAD}",
        f"air_drumming/{DRUM}",
        f"passing,_American_(in_game)/{CUT}",
        TEST,
    ),
    "flat": (HEAD, DRUM, CUT, TEST),
    "splits": (f"train/{HEAD}", f"train/{DRUM}", f"val/{CUT}", f"test/{TEST}"),
    "splits and labels": (
        f"train/massaging person's head/{HEAD}",
        f"train/air_drumming/{DRUM}",
        f"validate/passing,_American_(in_game)/{CUT}",
        f"test/{TEST}",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_kinetics400(kinetics: Path, layout: str) -> None:
    names = LAYOUTS[layout]
    make(kinetics / "videos", *names)
    found = read_official("kinetics-400", kinetics / "videos", kinetics)
    assert rows(found) == [
        (names[0], "massaging person's head", "-3B32lodo2M", "train"),
        (names[1], "air drumming", "_dbcJuKJQNs", "train"),
        (names[2], "passing, American (in game)", "0347ZoDXyP0", "val"),
        (names[3], None, "zzz4Q6o9U-k", "test"),
    ]


def test_kinetics400_many_missing_and_no_test_list(kinetics: Path) -> None:
    make(kinetics / "videos", f"air_drumming/{DRUM}", f"test/{HEAD}")
    (kinetics / "test.csv").unlink()
    (kinetics / "validate.csv").rename(kinetics / "val.csv")
    found = read_official("kinetics-400", kinetics / "videos", missing="skip")
    assert [r.name for r in found.records] == [f"air_drumming/{DRUM}"]
    assert found.missing == (f"massaging person's head/{HEAD}", f"passing, American (in game)/{CUT}")
    assert found.description == "Kinetics-400: 1 videos (1 train); 2 listed videos are missing"


def test_kinetics400_labelled_test_list_with_other_columns(kinetics: Path) -> None:
    make(kinetics / "videos", *LAYOUTS["flat"])
    write(
        kinetics / "test.csv",
        "split,is_cc,time_end,label,time_start,youtube_id\ntest,0,17,abseiling,7,zzz4Q6o9U-k\n",
    )
    found = read_official("kinetics-400", kinetics / "videos")
    assert rows(found)[3] == (TEST, "abseiling", "zzz4Q6o9U-k", "test")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "train.csv",
            "59,69",
            "59.5,69",
            r"train\.csv, line 2: expected times in whole seconds, found '59\.5'",
        ),
        ("train.csv", "0,8,train,0", "0,8,train", r"train\.csv, line 3: expected 6 fields .*, found 5"),
        ("train.csv", "air drumming", " ", r"line 3: no label; only the test list"),
        ("train.csv", "69,train", "69,trian", r"line 2: expected an id and a split .*found 'trian'"),
        ("train.csv", "-3B32lodo2M", "", r"line 2: expected an id"),
        (
            "train.csv",
            "youtube_id",
            "id",
            r"train\.csv, line 1: no column youtube_id; expected a header with",
        ),
        (
            "test.csv",
            "youtube_id,time_start,time_end,split\n",
            "",
            r"test\.csv, line 1: no column youtube_id, time",
        ),
        (
            "train.csv",
            '"air drumming ",_dbcJuKJQNs,0,8',
            '"air",-3B32lodo2M,59,69',
            "listed twice, under train",
        ),
    ],
)
def test_kinetics400_malformed(kinetics: Path, file: str, old: str, new: str, message: str) -> None:
    make(kinetics / "videos", *LAYOUTS["flat"])
    edit(kinetics / file, old, new)
    with pytest.raises(DataError, match=message):
        read_official("kinetics-400", kinetics / "videos")


def test_kinetics400_empty_list(kinetics: Path) -> None:
    write(kinetics / "train.csv", "")
    with pytest.raises(DataError, match=r"train\.csv, line 1: no column youtube_id, .* found ''"):
        read_official("kinetics-400", kinetics)


def test_kinetics400_unclosed_quotation_mark(kinetics: Path) -> None:
    write(
        kinetics / "train.csv",
        f'{HEADER}"air drumming,_dbcJuKJQNs,0,10,train,0\n' + "x,y,0,10,train,0\n" * 10_000,
    )
    with pytest.raises(DataError, match=r"train\.csv, line \d+: not CSV \(field larger"):
        read_official("kinetics-400", kinetics)


def test_utd_mhad(tmp_path: Path) -> None:
    every = [f"a{a}_s{s}_t{t}_color.avi" for a in range(1, 28) for s in range(1, 9) for t in range(1, 5)]
    make(tmp_path / "RGB", *every, "a9_s1_t1_notes.txt")
    found = read_official("utd-mhad", tmp_path / "RGB")
    assert found.description == "UTD-MHAD: 861 videos (431 train, 430 test)"
    withdrawn = {"a8_s1_t4_color.avi", "a23_s6_t4_color.avi", "a27_s8_t4_color.avi"}
    assert {r.name for r in found.records} == set(every) - withdrawn
    known = {name: (label, group, split) for name, label, group, split in rows(found)}
    assert known["a1_s1_t1_color.avi"] == ("swipe_left", "s1", "train")
    assert known["a10_s2_t4_color.avi"] == ("draw_circle_ccw", "s2", "test")
    assert known["a27_s7_t3_color.avi"] == ("squat", "s7", "train")
    (tmp_path / "RGB/a27_s7_t3_color.avi").unlink()
    assert read_official("UTD-MHAD", tmp_path, missing="skip").missing == ("a27_s7_t3_color.avi",)


def test_utd_mhad_agrees_with_the_depth_recordings(tmp_path: Path) -> None:
    """Their table has the same actions, people and trials, from another hand."""
    table = Path(__file__).parents[2] / ".." / "shared/data/utd_mhad_depth/labels.csv"
    if not table.is_file():
        pytest.skip("needs the depth recordings of UTD-MHAD")
    expected = set()
    for row in csv.DictReader(table.read_text().splitlines()):
        action, subject, trial = Path(row["path"]).stem.split("_")
        name = f"a{int(action[1:])}_{subject}_{trial}_color.avi"
        expected.add((name, row["label"], row["subject_or_group"], row["split"]))
    make(tmp_path, *(name for name, *_ in expected))
    assert set(rows(read_official("utd-mhad", tmp_path))) == expected
