"""`kinevec prepare --official`: official lists, as distributed, on the command line."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from faults import numbered_video
from kinevec.cli import app
from kinevec.data.manifest import read_manifest
from kinevec.errors import ConfigError, DataError, InputError, KinevecError
from official_trees import write

Rows = list[tuple[str, str | None, str | None]]
OPTIONS = ["--short-side", "32", "--motion", "none", "--workers", "1"]

# Data set → its lists, the videos that are there (below videos/), and the rows of the manifest.
TREES: dict[str, tuple[dict[str, str], list[str], Rows]] = {
    "ucf101": (
        {
            "lists/classInd.txt": "1 ApplyEyeMakeup\r\n2 YoYo\r\n",
            "lists/trainlist01.txt": "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\n",
            "lists/testlist01.txt": "YoYo/v_YoYo_g25_c05.avi\r\n",
        },
        ["ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi", "YoYo/v_YoYo_g25_c05.avi"],
        [
            ("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi", "ApplyEyeMakeup", "train"),
            ("YoYo/v_YoYo_g25_c05.avi", "YoYo", "test"),
        ],
    ),
    "hmdb51": (
        {
            "lists/clap_test_split1.txt": "#20_Rhythm_clap_u_nm_np1_fr_goo_12.avi 1 \nb_clap_u_nm_np1_fr_goo_1.avi 2 \n"
        },
        ["clap/#20_Rhythm_clap_u_nm_np1_fr_goo_12.avi", "clap/b_clap_u_nm_np1_fr_goo_1.avi"],
        [
            ("clap/#20_Rhythm_clap_u_nm_np1_fr_goo_12.avi", "clap", "train"),
            ("clap/b_clap_u_nm_np1_fr_goo_1.avi", "clap", "test"),
        ],
    ),
    "something-something-v2": (
        {
            "lists/labels.json": json.dumps({"Moving something up": "0"}),
            "lists/train.json": json.dumps(
                [{"id": "7", "template": "Moving [something] up", "label": "moving a cup up"}]
            ),
            "lists/validation.json": json.dumps(
                [{"id": "8", "template": "Moving [something] up", "label": "moving a pen up"}]
            ),
            "lists/test.json": json.dumps([{"id": "9"}]),
        },
        ["7.webm", "8.webm", "9.webm"],
        [
            ("7.webm", "Moving something up", "train"),
            ("8.webm", "Moving something up", "val"),
            ("9.webm", None, "test"),
        ],
    ),
    "diving48": (
        {
            "lists/Diving48_vocab.json": json.dumps(
                [["Back", "15som", "05Twis", "FREE"], ["Inward", "25som", "NoTwis", "PIKE"]]
            ),
            "lists/Diving48_V2_train.json": json.dumps(
                [{"vid_name": "a", "label": 1, "start_frame": 0, "end_frame": 9}]
            ),
            "lists/Diving48_V2_test.json": json.dumps(
                [{"vid_name": "b", "label": 0, "start_frame": 0, "end_frame": 9}]
            ),
        },
        ["a.mp4", "b.mp4"],
        [("a.mp4", "Inward 25som NoTwis PIKE", "train"), ("b.mp4", "Back 15som 05Twis FREE", "test")],
    ),
    "kinetics-400": (
        {
            f"lists/{name}.csv": f"label,youtube_id,time_start,time_end,split,is_cc\n{row}\n"
            for name, row in {
                "train": '"air drumming",_dbcJuKJQNs,0,8,train,0',
                "validate": "abseiling,0347ZoDXyP0,95,105,validate,1",
                "test": "abseiling,zzz4Q6o9U-k,7,17,test,0",
            }.items()
        },
        [
            "air drumming/_dbcJuKJQNs_000000_000008.mp4",
            "abseiling/0347ZoDXyP0_000095_000105.mp4",
            "abseiling/zzz4Q6o9U-k_000007_000017.mp4",
        ],
        [
            ("air drumming/_dbcJuKJQNs_000000_000008.mp4", "air drumming", "train"),
            ("abseiling/0347ZoDXyP0_000095_000105.mp4", "abseiling", "val"),
            ("abseiling/zzz4Q6o9U-k_000007_000017.mp4", "abseiling", "test"),
        ],
    ),
    "utd-mhad": (
        {},
        ["a1_s1_t1_color.avi", "a1_s2_t1_color.avi"],
        [("a1_s1_t1_color.avi", "swipe_left", "train"), ("a1_s2_t1_color.avi", "swipe_left", "test")],
    ),
}


def tree(root: Path, name: str) -> list[str | Path]:
    """Makes the tree of a data set; returns the words of the command that prepares it."""
    lists, videos, _ = TREES[name]
    for file, text in lists.items():
        write(root / file, text)
    for video in videos:
        path = root / "videos" / video
        path.parent.mkdir(parents=True, exist_ok=True)
        numbered_video(path, 6, (32, 32), codec="libvpx" if path.suffix == ".webm" else "libx264")
    where = ["--lists", root / "lists"] if lists else ["--allow-missing"]  # 861 are known without a list
    return [root / "videos", "-o", root / "out", "--official", name, *where]


def prepare(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["prepare", *map(str, words), *OPTIONS])


def prepared(root: Path) -> Rows:
    manifest = read_manifest(root / "out")
    found = [manifest.record(i) for i in range(len(manifest))]
    return [(record.name, record.label, record.split) for record in found]


@pytest.mark.parametrize("name", TREES)
def test_official_lists_give_labels_and_splits(name: str, tmp_path: Path) -> None:
    words = tree(tmp_path, name)
    numbered_video(tmp_path / "videos" / "not listed.mp4", 6, (32, 32))
    result = prepare(*words)
    assert result.exit_code == 0, result.output
    assert prepared(tmp_path) == TREES[name][2]
    assert f"{len(TREES[name][1])} videos are ready" in result.output


def test_missing_videos_stop_unless_they_are_allowed_to_be(tmp_path: Path) -> None:
    words = tree(tmp_path, "kinetics-400")
    gone = TREES["kinetics-400"][1][1]
    (tmp_path / "videos" / gone).rename(tmp_path / "kept.mp4")
    stopped = prepare(*words)
    assert isinstance(stopped.exception, DataError)
    assert f"1 of 3 listed videos are missing in {tmp_path / 'videos'}: {gone}." in str(stopped.exception)
    assert "--allow-missing" in str(stopped.exception)
    assert not (tmp_path / "out").exists()

    result = prepare(*words, "--allow-missing")
    assert result.exit_code == 0, result.output
    assert "1 missing: listed, but not there" in result.output
    assert [row[0] for row in prepared(tmp_path)] == [
        name for name in TREES["kinetics-400"][1] if name != gone
    ]
    with (tmp_path / "out" / "rejected.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["name"], row["kind"], row["source"]) == (gone, "missing", str(tmp_path / "videos" / gone))

    (tmp_path / "kept.mp4").rename(tmp_path / "videos" / gone)
    again = prepare(*words)
    assert again.exit_code == 0, again.output
    assert "(1 of them new)" in again.output
    assert prepared(tmp_path) == TREES["kinetics-400"][2]


def test_another_split_of_prepared_videos_costs_nothing(tmp_path: Path) -> None:
    words = tree(tmp_path, "ucf101")
    train, test = TREES["ucf101"][1]
    write(tmp_path / "lists/trainlist02.txt", f"{test} 2\n")
    write(tmp_path / "lists/testlist02.txt", f"{train}\n")
    assert prepare(*words).exit_code == 0
    result = prepare(*words, "--fold", "2")
    assert result.exit_code == 0, result.output
    assert "(0 of them new)" in result.output
    assert [row[2] for row in prepared(tmp_path)] == ["train", "test"]
    assert prepared(tmp_path)[0][0].startswith("YoYo")


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        (["--official", "ucf11"], ConfigError, "Unknown data set 'ucf11'. Did you mean 'ucf101'?"),
        (["--official", "ucf101", "--fold", "4"], ConfigError, "UCF101 has 3 official splits"),
        (
            ["--official", "ucf101", "--lists", "nowhere"],
            InputError,
            "classInd.txt in nowhere. It comes with",
        ),
        (
            ["--official", "ucf101"],
            InputError,
            "UCF101: no classInd.txt or ucfTrainTestlist/classInd.txt in ",
        ),
        (["--lists", "x"], ConfigError, "belong to --official NAME, which is not given"),
        (["--fold", "2"], ConfigError, "belong to --official NAME"),
        (["--allow-missing"], ConfigError, "belong to --official NAME"),
    ],
)
def test_what_cannot_be_done_is_said(
    words: list[str], kind: type[KinevecError], message: str, tmp_path: Path
) -> None:
    (tmp_path / "videos").mkdir()
    result = prepare(tmp_path / "videos", "-o", tmp_path / "out", *words)
    assert isinstance(result.exception, kind)
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()
