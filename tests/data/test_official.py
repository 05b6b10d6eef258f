"""What all readers of official data sets share, on a small made-up tree of UCF101."""

import os
from pathlib import Path

import pytest

from kinevec.data.official import OFFICIAL, read_official
from kinevec.errors import ConfigError, DataError, InputError
from official_trees import make, write

SURF_1, SURF_2, YOYO = (
    "Surfing/v_Surfing_g08_c01.avi",
    "Surfing/v_Surfing_g01_c06.avi",
    "YoYo/v_YoYo_g25_c05.avi",
)


@pytest.fixture
def ucf(tmp_path: Path) -> Path:
    write(tmp_path / "ucfTrainTestlist/classInd.txt", "87 Surfing\n101 YoYo\n")
    write(tmp_path / "ucfTrainTestlist/trainlist01.txt", f"{SURF_1} 87\n{YOYO} 101\n")
    write(tmp_path / "ucfTrainTestlist/testlist01.txt", f"{SURF_2}\n")
    make(tmp_path / "UCF-101", SURF_1, SURF_2, YOYO)
    return tmp_path


@pytest.mark.parametrize("videos", ["UCF-101", "."])
@pytest.mark.parametrize("annotations", [".", None])
def test_either_folder_may_be_the_one_above(ucf: Path, videos: str, annotations: str | None) -> None:
    found = read_official("UCF101", ucf / videos, annotations and ucf / annotations)
    assert len(found.records) == 3
    assert all(record.path == ucf / videos / record.name for record in found.records)
    assert all(record.path.is_file() for record in found.records)


def test_a_relative_folder_has_a_folder_above_too(ucf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ucf / "UCF-101")
    assert [r.name for r in read_official("ucf101", Path()).records] == [SURF_1, YOYO, SURF_2]


def test_missing_videos_stop_or_are_counted(ucf: Path) -> None:
    (ucf / "UCF-101" / YOYO).unlink()
    with pytest.raises(
        DataError, match=rf"1 of 3 listed videos are missing in .*UCF-101: {YOYO}\. To go on .*missing='skip'"
    ):
        read_official("ucf101", ucf / "UCF-101")
    found = read_official("ucf101", ucf / "UCF-101", missing="skip")
    assert found.missing == (YOYO,)
    assert [r.name for r in found.records] == [SURF_1, SURF_2]
    assert found.description == "UCF101, split 1: 2 videos (1 train, 1 test); 1 listed videos are missing"


def test_missing_counts_are_readable(ucf: Path) -> None:
    lines = "".join(f"Surfing/v_Surfing_g02_c{i}.avi 87\n" for i in range(1500))
    write(ucf / "ucfTrainTestlist/trainlist01.txt", lines)
    with pytest.raises(DataError, match=r"1,500 of 1,501 listed videos .*_c4.avi and 1,495 more\."):
        read_official("ucf101", ucf / "UCF-101")


def test_all_videos_missing_is_an_error_even_with_skip(ucf: Path) -> None:
    (ucf / "empty").mkdir()
    with pytest.raises(
        DataError, match=r"none of the 3 listed videos is in .*, expected as <class>/v_<class>"
    ):
        read_official("ucf101", ucf / "empty", ucf, missing="skip")


def test_empty_lists_are_an_error(ucf: Path) -> None:
    for name in ("trainlist01.txt", "testlist01.txt"):
        write(ucf / "ucfTrainTestlist" / name, "\n")
    with pytest.raises(DataError, match=r"UCF101: its annotation files list no video"):
        read_official("ucf101", ucf / "UCF-101")


def test_converted_copies_count_and_the_listed_file_goes_first(ucf: Path) -> None:
    surf = ucf / "UCF-101" / SURF_2
    surf.rename(surf.with_suffix(".Mp4"))
    make(surf.parent, surf.stem, surf.stem + ".txt")  # neither is a video
    make(ucf / "UCF-101", SURF_1.replace(".avi", ".MP4"), YOYO.replace(".avi", ".3gp"))
    found = read_official("ucf101", ucf / "UCF-101")
    assert [r.name for r in found.records] == [SURF_1, YOYO, SURF_2.replace(".avi", ".Mp4")]


def test_things_that_are_not_files_are_missing(ucf: Path) -> None:
    surf, yoyo = ucf / "UCF-101" / SURF_1, ucf / "UCF-101" / YOYO
    surf.unlink()
    surf.symlink_to(surf)  # a loop
    yoyo.unlink()
    yoyo.mkdir()
    make(ucf, "UCF-101/UCF-101")  # where a folder may be
    assert read_official("ucf101", ucf / "UCF-101", missing="skip").missing == (SURF_1, YOYO)


def test_each_folder_is_listed_once(ucf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "".join(f"Surfing/v_Surfing_g02_c{i}.avi 87\n" for i in range(1500))
    write(ucf / "ucfTrainTestlist/trainlist01.txt", lines)
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda place: listed.append(str(place)) or scandir(place))
    read_official("ucf101", ucf / "UCF-101", missing="skip")
    assert sorted(listed) == [str(ucf / "UCF-101" / name) for name in ("Surfing", "UCF-101/Surfing")]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ufc101", "Did you mean 'ucf101'"),
        ("Kinetics400", "Did you mean 'kinetics-400'"),
        ("zzz", "Known: ucf"),
    ],
)
def test_unknown_data_set(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_official(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "fold", "message"),
    [
        ("ucf101", 0, "UCF101 has 3 official splits"),
        ("hmdb51", 4, "no fold 4"),
        ("diving48", 2, "Diving48 v2 has one official split"),
    ],
)
def test_folds_that_do_not_exist(tmp_path: Path, name: str, fold: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_official(name, tmp_path, fold=fold)


def test_other_wrong_arguments(ucf: Path) -> None:
    with pytest.raises(ConfigError, match="missing is 'error' or 'skip', not 'ignore'"):
        read_official("ucf101", ucf, missing="ignore")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"nowhere: not a folder; expected the videos of UCF101"):
        read_official("ucf101", ucf / "nowhere")
    with pytest.raises(ConfigError, match="UTD-MHAD has no annotation files"):
        read_official("utd-mhad", ucf, ucf)


FIRST_FILE = {
    "ucf101": "classInd.txt",
    "hmdb51": "*_test_split1.txt",
    "something-something-v2": "something-something-v2-labels.json",
    "diving48": "Diving48_vocab.json",
    "kinetics-400": "train.csv",
}


@pytest.mark.parametrize("name", FIRST_FILE)
def test_a_missing_annotation_file_is_named_with_its_origin(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as error:
        read_official(name, tmp_path, tmp_path)
    title = OFFICIAL[name].title
    assert str(error.value).startswith(f"{title}: no {FIRST_FILE[name]}")
    assert f"in {tmp_path}. It comes with the " in str(error.value)


def test_a_list_that_is_not_text(ucf: Path) -> None:
    (ucf / "ucfTrainTestlist/testlist01.txt").write_bytes(b"Surfing/\xff")
    with pytest.raises(DataError, match=r"testlist01\.txt: not a text file in UTF-8 \(byte 8\)"):
        read_official("ucf101", ucf / "UCF-101")
