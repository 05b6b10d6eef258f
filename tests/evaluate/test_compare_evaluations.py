"""Two evaluations side by side: what is compared, and when that is refused."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinevec.config import to_dict
from kinevec.data.records import Record
from kinevec.errors import InputError
from kinevec.evaluate.compare import compare
from kinevec.evaluate.outcomes import Outcomes
from kinevec.evaluate.protocols import Settings
from kinevec.evaluate.result import (
    files_fingerprint,
    outcomes_content,
    per_class,
    read_result,
    train_fingerprint,
    write_result,
)
from kinevec.evaluate.significance import paired

VIDEOS = tuple(f"v{i}" for i in range(6))
LABELS = ("a", "a", "a", "b", "b", "ç")


def outcomes(r1: list[float], top1: list[float]) -> Outcomes:
    hits = {"R@1": r1, "linear top-1": top1, "linear top-5": [1.0] * 6}
    return Outcomes(
        VIDEOS,
        LABELS,
        {name: np.array(value, float) for name, value in hits.items()},
        {"linear": [list("aabbba")]},
    )


def content(found: Outcomes, source: str = "runs/a", **settings: Any) -> dict[str, Any]:
    return {
        "judged": "trained",
        "scores": {"trained": found.scores},
        "protocol": {"settings": to_dict(Settings(**settings)), "train_videos": "x"},
        "run": {"folder": source},
        "outcomes": outcomes_content({"trained": found, "untrained": outcomes([0] * 6, [0] * 6)}),
    }


ONE = outcomes([1, 1, 0, 1, 0, 1], [1, 0, 0, 1, 1, 1])
TWO = outcomes([0, 1, 0, 0, 0.5, 1], [1, 1, 1, 1, 0, 0])


def test_each_common_score_is_compared_video_by_video() -> None:
    found = compare(content(ONE), content(TWO, "runs/b"))
    assert (found.first, found.second, found.notes) == ("runs/a", "runs/b", [])
    assert list(found.differences) == ["R@1", "linear top-1", "linear top-5", "linear per class"]
    for name, difference in found.differences.items():
        assert difference == paired(ONE.of(name), TWO.of(name), LABELS, per_class=name.endswith("per class"))
        assert difference.first == pytest.approx(ONE.scores[name])
        assert difference.second == pytest.approx(TWO.scores[name])
    row = found.content["differences"]["R@1"]
    assert row["points"] == pytest.approx(100 * (4 - 2.5) / 6)
    assert set(row) == {"first", "second", "low", "high", "p", "points"}


def test_the_order_of_the_videos_does_not_matter() -> None:
    other = content(TWO)
    turned = copy.deepcopy(other)
    turned["outcomes"]["videos"] = turned["outcomes"]["videos"][::-1]
    turned["outcomes"]["labels"] = turned["outcomes"]["labels"][::-1]
    for hits in turned["outcomes"]["hits"]["trained"].values():
        hits.reverse()
    assert compare(content(ONE), turned) == compare(content(ONE), other)


def test_only_what_both_have_is_compared() -> None:
    other = content(TWO)
    del other["outcomes"]["hits"]["trained"]["R@1"]
    assert list(compare(content(ONE), other).differences) == [
        "linear top-1",
        "linear top-5",
        "linear per class",
    ]
    other["outcomes"]["hits"]["trained"] = {"knn top-1": [1] * 6}
    with pytest.raises(InputError, match="no common score: one has R@1"):
        compare(content(ONE), other)


def test_the_encoder_that_was_asked_for_is_taken() -> None:
    other = content(TWO) | {"judged": "untrained"}
    assert compare(content(ONE), other).differences["R@1"].second == 0


def changed(**parts: list[str]) -> dict[str, Any]:
    other = content(TWO)
    other["outcomes"] = {**other["outcomes"], **parts}
    return other


def test_other_test_videos_are_refused() -> None:
    renamed = changed(videos=["v0", "v1", "v2", "v3", "v4", "new"])
    with pytest.raises(InputError, match=r"differ \(6 and 6\): 1 only in the first: v5"):
        compare(content(ONE), renamed)
    more = changed(videos=[*VIDEOS, "v6", "v7"], labels=[*LABELS, "a", "a"])
    with pytest.raises(InputError, match=r"differ \(6 and 8\): 2 only in the second: v6, v7"):
        compare(content(ONE), more)
    with pytest.raises(InputError, match="1 of 6 test videos have another label: v1"):
        compare(content(ONE), changed(labels=["a", "b", *LABELS[2:]]))


def test_what_else_differs_is_said() -> None:
    other = content(TWO, clips=3, k=5, seeds=(0, 1), shots=(2,))
    other["protocol"]["train_videos"] = "y"
    assert compare(content(ONE), other).notes == [
        "the training videos, or their labels, differ",
        "clips: 10 and 3",
        "k: 20 and 5",
        "seeds: [0] and [0, 1]",
    ]
    retrieval = content(TWO, protocols=("retrieval",), k=5, seeds=(0, 1))
    assert compare(content(ONE), retrieval).notes == []


def test_other_clips_are_noted() -> None:
    one, two = content(ONE), content(TWO)
    one["protocol"]["clip"] = {"frames": 8, "stride": 2, "size": 64}
    assert compare(one, two).notes == []  # of an earlier version
    for key, value, words in (
        ("stride", 4, "8 × 64² at stride 4"),
        ("frames", 16, "16 × 64² at stride 2"),
        ("size", 32, "8 × 32² at stride 2"),
    ):
        two["protocol"]["clip"] = one["protocol"]["clip"] | {key: value}
        (note,) = compare(one, two).notes
        assert note == f"the encoders see other clips of the videos: 8 × 64² at stride 2 and {words}"
    two["protocol"]["clip"] = dict(one["protocol"]["clip"])
    assert compare(one, two).notes == []


def test_other_files_of_the_same_names_are_noted() -> None:
    one, two = content(ONE), content(TWO)
    assert compare(one | {"data": {"files": "x"}}, two | {"data": {"files": "x"}}).notes == []
    assert compare(one | {"data": {"files": "x"}}, two).notes == []  # of an earlier version
    (note,) = compare(one | {"data": {"files": "x"}}, two | {"data": {"files": "y"}}).notes
    assert note.startswith("the videos have the same names but are other files")


def test_files_are_told_apart_by_name_and_size(tmp_path: Path) -> None:
    def prints(**sizes: int) -> str:
        for name, size in sizes.items():
            (tmp_path / name).write_bytes(b"x" * size)
        return files_fingerprint([Record(tmp_path / name, name, "a") for name in sizes])

    one = prints(a=3, b=5)
    assert prints(b=5, a=3) == one
    assert len({one, prints(a=3, b=6), prints(a=5, b=3), prints(a=3, c=5), prints(a=3)}) == 5


def test_runs_are_named_together() -> None:
    several = content(TWO)
    del several["run"]
    several["runs"] = [{"folder": "runs/a"}, {"folder": "runs/b"}]
    assert compare(content(ONE), several).second == "runs/a, runs/b"


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "eval.json"
    given = content(TWO)
    write_result(path, given)
    assert read_result(path) == json.loads(json.dumps(given))
    lines = path.read_text("utf-8").splitlines()
    assert '    "labels": ["a", "a", "a", "b", "b", "ç"],' in lines
    assert max(map(len, lines)) < 120
    assert compare(read_result(path), content(TWO)).differences["R@1"].points == 0


def test_hits_and_predictions_are_kept_short() -> None:
    found = outcomes_content({"trained": TWO})
    assert found["hits"]["trained"]["R@1"] == [0, 1, 0, 0, 0.5, 1]
    assert [type(x) for x in found["hits"]["trained"]["R@1"]] == [int, int, int, int, float, int]
    assert found["classes"] == ["a", "b", "ç"]
    assert found["predicted"] == {"trained": {"linear": [[0, 0, 1, 1, 1, 0]]}}


def test_the_table_of_classes() -> None:
    assert per_class(ONE) == {
        "a": {"videos": 3, "R@1": pytest.approx(200 / 3), "linear top-1": pytest.approx(100 / 3)},
        "b": {"videos": 2, "R@1": 50, "linear top-1": 100},
        "ç": {"videos": 1, "R@1": 100, "linear top-1": 100},
    }


def test_files_that_are_no_evaluation(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with pytest.raises(InputError, match="cannot be read"):
        read_result(path)
    for text, words in (
        ("{", "not JSON"),
        ("[]", "holds no outcomes"),
        ('{"scores": {}}', "holds no outcomes"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            read_result(path)


def test_training_videos_are_told_apart_by_name_and_label() -> None:
    one = [Record(Path("x"), "1", "a"), Record(Path("y"), "2", "b")]
    others = [
        one[::-1],
        one[:1],
        [one[0], Record(Path("y"), "2", "a")],
        [Record(Path("x"), "3", "a"), one[1]],
    ]
    prints = [train_fingerprint(records) for records in (one, *others)]
    assert len(set(prints)) == len(prints)
    moved = [Record(Path("z"), "1", "a", "group", "test"), one[1]]
    assert train_fingerprint(moved) == prints[0]
