"""UCF101 and HMDB51: made-up trees in their exact formats, with the oddities of the real files."""

from pathlib import Path

import pytest

from kinevec.data.official import read_official
from kinevec.errors import DataError, InputError
from official_trees import edit, make, rows, write


@pytest.fixture
def ucf(tmp_path: Path) -> Path:
    lists = tmp_path / "ucfTrainTestlist"
    write(lists / "classInd.txt", "1 ApplyEyeMakeup\r\n2 HandstandPushups\r\n")
    write(
        lists / "trainlist01.txt",
        "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\nHandstandPushups/v_HandStandPushups_g08_c02.avi 2\n",
    )
    write(lists / "testlist01.txt", "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c06.avi\r\n\r\n")
    write(lists / "trainlist02.txt", "\ufeffApplyEyeMakeup/v_ApplyEyeMakeup_g01_c06.avi 1 \r\n")
    write(lists / "testlist02.txt", "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi")
    make(
        tmp_path / "UCF-101",
        "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi",
        "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c06.avi",
        "HandstandPushups/v_HandStandPushups_g08_c02.avi",
    )
    return tmp_path


UCF_EYE_1 = "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c06.avi"
UCF_EYE_8 = "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi"


def test_ucf101_first_split(ucf: Path) -> None:
    found = read_official("ucf101", ucf / "UCF-101", ucf / "ucfTrainTestlist")
    hand = "HandstandPushups/v_HandStandPushups_g08_c02.avi"
    assert rows(found) == [
        (UCF_EYE_8, "ApplyEyeMakeup", "ApplyEyeMakeup/g08", "train"),
        (hand, "HandstandPushups", "HandstandPushups/g08", "train"),
        (UCF_EYE_1, "ApplyEyeMakeup", "ApplyEyeMakeup/g01", "test"),
    ]
    assert found.records[1].path == ucf / "UCF-101" / hand
    assert found.missing == ()
    assert found.description == "UCF101, split 1: 3 videos (2 train, 1 test)"


def test_ucf101_second_split_with_a_byte_order_mark(ucf: Path) -> None:
    found = read_official("ucf101", ucf / "UCF-101", ucf / "ucfTrainTestlist", fold=2)
    assert [(r.name, r.split) for r in found.records] == [(UCF_EYE_1, "train"), (UCF_EYE_8, "test")]
    assert found.description == "UCF101, split 2: 2 videos (1 train, 1 test)"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "trainlist01.txt",
            "_c01.avi 1",
            "_c01.avi",
            r"trainlist01\.txt, line 1: expected .*<class number>'",
        ),
        ("trainlist01.txt", "_c02.avi 2", "_c02.avi 1", r"line 2: number 1, but 'HandstandPushups' has 2"),
        (
            "trainlist01.txt",
            "HandstandPushups/",
            "Handstand/",
            r"line 2: class 'Handstand' is not in classInd",
        ),
        ("testlist01.txt", "ApplyEyeMakeup/", "", r"testlist01\.txt, line 1: expected '<class>/v_<class>_g"),
        ("testlist01.txt", "_g01", "", r"testlist01\.txt, line 1: expected"),
        ("classInd.txt", "2 Hand", "Hand", r"classInd\.txt, line 2: expected '<number> <class>'"),
        ("testlist01.txt", "g01_c06", "g08_c01", "listed twice, under train and test"),
    ],
)
def test_ucf101_malformed_lists(ucf: Path, file: str, old: str, new: str, message: str) -> None:
    edit(ucf / "ucfTrainTestlist" / file, old, new)
    with pytest.raises(DataError, match=message):
        read_official("ucf101", ucf / "UCF-101")


CARTWHEEL = "(Rad)Schlag_die_Bank!_cartwheel_f_cm_np1_le_med_0.avi"
ODD = "#20_Rhythm_clap_u_nm_np1_fr_goo_12.avi"
ODDER = "B&B[1];_Mr._X_clap_h_cm_np2_ri_bad_3.avi"


@pytest.fixture
def hmdb(tmp_path: Path) -> Path:
    lists = tmp_path / "testTrainMulti_7030_splits"
    write(lists / "cartwheel_test_split1.txt", f"{CARTWHEEL} 2 \n")
    write(
        lists / "clap_test_split1.txt", f"{ODD} 1 \r\n{ODDER} 2 \r\nunused_clap_u_nm_np1_fr_goo_1.avi 0 \r\n"
    )
    write(lists / "cartwheel_test_split3.txt", f"{CARTWHEEL} 1 \n")
    make(tmp_path / "videos", f"cartwheel/{CARTWHEEL}", f"clap/{ODD}", f"clap/{ODDER}")
    return tmp_path


def test_hmdb51(hmdb: Path) -> None:
    found = read_official("hmdb51", hmdb / "videos", hmdb / "testTrainMulti_7030_splits")
    assert rows(found) == [
        (f"clap/{ODD}", "clap", "clap/#20_Rhythm_clap", "train"),
        (f"cartwheel/{CARTWHEEL}", "cartwheel", "cartwheel/(Rad)Schlag_die_Bank!_cartwheel", "test"),
        (f"clap/{ODDER}", "clap", "clap/B&B[1];_Mr._X_clap", "test"),
    ]
    assert all(record.path.is_file() for record in found.records)


def test_hmdb51_other_splits(hmdb: Path) -> None:
    found = read_official("hmdb51", hmdb / "videos", fold=3)
    assert [(r.name, r.split) for r in found.records] == [(f"cartwheel/{CARTWHEEL}", "train")]
    (hmdb / "videos").rename(hmdb / "hmdb51_org")
    above = read_official("hmdb51", hmdb, fold=3)
    assert [r.name for r in above.records] == [f"hmdb51_org/cartwheel/{CARTWHEEL}"]
    with pytest.raises(
        InputError, match=r"HMDB51: no \*_test_split2\.txt or .*three splits on HMDB51's page"
    ):
        read_official("hmdb51", hmdb, fold=2)


@pytest.mark.parametrize("line", ["some_clap_u_nm_np1_fr_goo_1.avi 3", "some.avi", "some 1", "a.avi1"])
def test_hmdb51_malformed_lines(hmdb: Path, line: str) -> None:
    edit(hmdb / "testTrainMulti_7030_splits" / "clap_test_split1.txt", f"{ODDER} 2", line)
    with pytest.raises(DataError, match=r"clap_test_split1\.txt, line 2: expected '<name>\.avi <0, 1 or 2>'"):
        read_official("hmdb51", hmdb / "videos")
