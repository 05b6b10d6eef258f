"""Something-Something v2 and Diving48 v2: made-up trees in their exact formats."""

import json
from pathlib import Path

import pytest

from kinevec.data.official import read_official
from kinevec.errors import DataError
from official_trees import edit, make, rows, write

SSV2_TRAIN = [
    {
        "id": "78687",
        "label": "holding potato next to vicks vaporub bottle",
        "template": "Holding [something] next to [something]",
        "placeholders": ["potato", "vicks vaporub bottle"],
    },
    {
        "id": "36585",
        "label": "plastic falling like a feather or paper",
        "template": "[Something] falling like a feather or paper",
        "placeholders": ["plastic"],
    },
]
SSV2_VAL = [
    {
        "id": "74225",
        "label": "stacking 3 coins",
        "template": "Stacking [number of] [something]",
        "placeholders": ["3", "coins"],
    }
]
SSV2_LABELS = {
    "Holding something next to something": "0",
    "Something falling like a feather or paper": "1",
    "Stacking number of something": "2",
}


def write_ssv2(folder: Path, form: str) -> None:
    parts = {"train": SSV2_TRAIN, "validation": SSV2_VAL, "test": [{"id": "1420"}], "labels": SSV2_LABELS}
    for part, content in parts.items():
        write(folder / form.format(part), json.dumps(content))


SSV2_FORMS = ["something-something-v2-{}.json", "labels/{}.json", "{}.json"]


@pytest.mark.parametrize("form", SSV2_FORMS)
def test_something_something_v2(tmp_path: Path, form: str) -> None:
    write_ssv2(tmp_path, form)
    folder = "20bn-something-something-v2"
    make(tmp_path / folder, "78687.webm", "36585.webm", "74225.webm", "1420.webm")
    expected = [
        ("78687.webm", "Holding something next to something", None, "train"),
        ("36585.webm", "Something falling like a feather or paper", None, "train"),
        ("74225.webm", "Stacking number of something", None, "val"),
        ("1420.webm", None, None, "test"),
    ]
    assert rows(read_official("something-something-v2", tmp_path / folder, tmp_path)) == expected
    above = read_official("something-something-v2", tmp_path)
    assert [r.name for r in above.records] == [f"{folder}/{name}" for name, *_ in expected]
    (tmp_path / form.format("test")).unlink()
    assert rows(read_official("something-something-v2", tmp_path / folder, tmp_path)) == expected[:3]


@pytest.mark.parametrize(
    ("part", "old", "new", "message"),
    [
        ("train", '"36585"', "36585", r"train\.json, entry 2: expected 'id' as str, found 36585"),
        (
            "train",
            '"template": "Holding',
            '"model": "Holding',
            r"entry 1: expected 'template' as str, found None",
        ),
        (
            "train",
            "[Something] falling like a feather",
            "[Something] falling like feathers",
            r"entry 2: 'Something falling like feathers or paper' is not",
        ),
        ("validation", "[{", "[7, {", r"validation\.json, entry 1: expected an object, found 7"),
        ("validation", "[{", "{", r"validation\.json, line 1: not JSON"),
        ("labels", "{", "[{", r"labels\.json, line 1: not JSON"),
        ("test", '[{"id": "1420"}]', '{"id": "1420"}', r"test\.json: expected a list of entries, found dict"),
    ],
)
def test_something_something_v2_malformed(
    tmp_path: Path, part: str, old: str, new: str, message: str
) -> None:
    write_ssv2(tmp_path, "something-something-v2-{}.json")
    make(tmp_path, "78687.webm", "36585.webm", "74225.webm", "1420.webm")
    edit(tmp_path / f"something-something-v2-{part}.json", old, new)
    with pytest.raises(DataError, match=message):
        read_official("something-something-v2", tmp_path)


@pytest.fixture
def diving(tmp_path: Path) -> Path:
    def dive(name: str, label: int) -> dict[str, str | int]:
        return {"vid_name": name, "label": label, "start_frame": 0, "end_frame": 48}

    train = [dive("-mmq0PT-u8k_00155", 0), dive("_8Vy3dlHg2w_00000", 1)]
    write(tmp_path / "Diving48_V2_train.json", json.dumps(train, indent=1))
    write(tmp_path / "Diving48_V2_test.json", json.dumps([dive("_8Vy3dlHg2w_00001", 1)]))
    vocabulary = [["Back", "15som", "05Twis", "FREE"], ["Reverse", "Dive", "NoTwis", "PIKE"]]
    write(tmp_path / "Diving48_vocab.json", json.dumps(vocabulary))
    make(tmp_path / "rgb", "-mmq0PT-u8k_00155.mp4", "_8Vy3dlHg2w_00000.mp4", "_8Vy3dlHg2w_00001.mp4")
    return tmp_path


def test_diving48(diving: Path) -> None:
    found = read_official("diving48", diving / "rgb", diving)
    assert rows(found) == [
        ("-mmq0PT-u8k_00155.mp4", "Back 15som 05Twis FREE", "-mmq0PT-u8k", "train"),
        ("_8Vy3dlHg2w_00000.mp4", "Reverse Dive NoTwis PIKE", "_8Vy3dlHg2w", "train"),
        ("_8Vy3dlHg2w_00001.mp4", "Reverse Dive NoTwis PIKE", "_8Vy3dlHg2w", "test"),
    ]
    assert read_official("diving48", diving).records[0].name == "rgb/-mmq0PT-u8k_00155.mp4"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("V2_train", '"label": 1', '"label": 2', r"V2_train\.json, entry 2: label 2, but .* has 2 classes"),
        ("V2_train", '"label": 0', '"label": -1', r"entry 1: label -1"),
        (
            "V2_test",
            '"label": 1',
            '"label": "1"',
            r"V2_test\.json, entry 1: expected 'label' as int, found '1'",
        ),
        ("vocab", '["Back", "15som", "05Twis", "FREE"]', '"Back"', r"vocab\.json: expected a list of lists"),
    ],
)
def test_diving48_malformed(diving: Path, file: str, old: str, new: str, message: str) -> None:
    edit(diving / f"Diving48_{file}.json", old, new)
    with pytest.raises(DataError, match=message):
        read_official("diving48", diving)
