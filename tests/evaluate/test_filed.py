"""Where an evaluation goes in a folder: never over another one, and over itself."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kinevec.config import to_dict
from kinevec.data.lock import in_turn
from kinevec.errors import InputError
from kinevec.evaluate.compare import source
from kinevec.evaluate.filed import Filed, is_evaluation, place_for, protocol_of, read_evaluation
from kinevec.evaluate.protocols import Settings


def content(
    data: str = "gym", *, step: int = 1, train: str = "x", files: str = "", **settings: Any
) -> dict[str, Any]:
    return {
        "scores": {"trained": {"R@1": 1.0 * step}, "untrained": {"R@1": 3.0}},
        "data": {"folder": f"somewhere/{data}", "files": files},
        "protocol": {"settings": to_dict(Settings(**settings)), "train_videos": train},
        "provenance": {"made": f"day {step}"},
        "outcomes": {"videos": [f"{data}{i}" for i in range(4)], "labels": list("aabb")},
    }


def filed(folder: Path, given: dict[str, Any], hurry: float = 0) -> Filed:
    """Files it as a person would find it later."""
    with in_turn(folder):
        place = place_for(folder, given)
        time.sleep(hurry)
        place.path.write_text(json.dumps(given))
    return place


def several(path: Path) -> Path:
    hits = {"MoCo": {}, "MSCL": {}, "untrained": {}}
    path.write_text(json.dumps({"judged": "MoCo", "run": {"folder": "x"}, "outcomes": {"hits": hits}}))
    return path


def test_of_several_encoders_one_is_named(tmp_path: Path) -> None:
    file = several(tmp_path / "eval.json")
    for place in (file, tmp_path):
        named = read_evaluation(f"{place}#MSCL")
        assert (named["judged"], named["file"]) == ("MSCL", str(file))
        assert source(named) == f"{place}#MSCL"
        with pytest.raises(
            InputError, match=r"several encoders \(MoCo, MSCL, untrained\); name .* as in .*#MoCo"
        ):
            read_evaluation(place)
    assert read_evaluation(f"{file}#untrained")["judged"] == "untrained"
    with pytest.raises(InputError, match=r"eval\.json: holds no encoder 'FIMA', but MoCo, MSCL, untrained"):
        read_evaluation(f"{file}#FIMA")
    assert read_evaluation(f"{several(tmp_path / 'a#b.json')}#MSCL")["judged"] == "MSCL"  # itself with a #
    with pytest.raises(InputError, match="cannot be read"):
        read_evaluation(f"{tmp_path / 'missing.json'}#MSCL")
    assert source(read_evaluation(f"{several(tmp_path / 'a#b.json')}#MSCL")).endswith("a#b.json#MSCL")
    odd = json.loads(file.read_text())
    odd["outcomes"]["hits"] = {"A #1": {}, "A #2": {}}
    file.write_text(json.dumps(odd))
    assert read_evaluation(f"{file}#A #2")["judged"] == "A #2"
    with pytest.raises(InputError, match=r"as in \S+/eval\.json#A #1$"):
        read_evaluation(f"{file}#")
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo#2").mkdir()
    other = several(tmp_path / "demo#2" / "eval.json")
    assert read_evaluation(f"{other}#MSCL")["file"] == str(other)
    with pytest.raises(InputError, match=r"#x/eval\.json: cannot be read"):
        read_evaluation("#x/eval.json")
    alone = json.loads(several(file).read_text())
    del alone["outcomes"]["hits"]["MSCL"]
    file.write_text(json.dumps(alone))
    assert read_evaluation(file)["judged"] == "MoCo"
    assert source(read_evaluation(file)) == "x"


def test_several_at_once_do_not_take_the_same_name(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(filed, tmp_path, content(name), 0.05) for name in ("gym", "park", "street", "gym")
        ]
        places = [job.result().path.name for job in jobs]
    assert len(set(places)) == 3
    assert places[0] == places[3]
    assert {path.name for path in tmp_path.iterdir()} == set(places)


def test_the_first_is_eval_json_and_the_same_again_replaces_it(tmp_path: Path) -> None:
    assert filed(tmp_path, content()) == Filed(tmp_path / "eval.json")
    again = content(step=2)
    again["outcomes"] = {"videos": again["outcomes"]["videos"][::-1], "labels": list("bbaa")}  # another order
    assert filed(tmp_path, again) == Filed(tmp_path / "eval.json", "day 1")


def test_another_question_stands_beside_it_and_replaces_itself(tmp_path: Path) -> None:
    first = tmp_path / "eval.json"
    filed(tmp_path, content())
    before = first.read_text()
    beside = tmp_path / "eval-retrieval+linear+knn-street.json"
    assert filed(tmp_path, content("street")) == Filed(beside, None, first)
    assert filed(tmp_path, content("street", step=5)) == Filed(beside, "day 1")
    names = [
        filed(tmp_path, given).path.name
        for given in (
            content(protocols=("knn",)),
            content(protocols=("knn",), k=3),
            content(protocols=("knn",), clips=2),
            content(protocols=("knn",), train="y"),
            content("str/eet <1>", protocols=("knn",)),
            content(protocols=("knn",), files="depth"),
            content("park/labels.csv", protocols=("knn",)),
        )
    ]
    assert names == [
        "eval-knn-gym.json",
        "eval-knn-gym-2.json",
        "eval-knn-gym-3.json",
        "eval-knn-gym-4.json",
        "eval-knn-eet_1.json",
        "eval-knn-gym-5.json",
        "eval-knn-park-labels.json",
    ]
    assert first.read_text() == before


def test_settings_that_nothing_reads_make_no_difference(tmp_path: Path) -> None:
    filed(tmp_path, content(protocols=("retrieval",), k=20))
    assert place_for(tmp_path, content(protocols=("retrieval",), k=3)).path.name == "eval.json"


def test_without_the_untrained_encoder_it_does_not_replace_one_that_has_it(tmp_path: Path) -> None:
    filed(tmp_path, content())
    alone = content()
    del alone["scores"]["untrained"]
    assert place_for(tmp_path, alone).beside == tmp_path / "eval.json"


def test_other_runs_in_the_same_folder_are_kept(tmp_path: Path) -> None:
    pairs = [content() | {"runs": [{"folder": name} for name in names]} for names in ("ab", "cd", "ba")]
    assert [filed(tmp_path, pair).path.name for pair in pairs] == [
        "eval.json",
        "eval-retrieval+linear+knn-gym.json",
        "eval.json",
    ]


def test_a_file_that_is_no_evaluation_is_kept(tmp_path: Path) -> None:
    for text in ("{", "[3]", '{"scores": 3}', '{"outcomes": {"videos": 3}}'):
        (tmp_path / "eval.json").write_text(text)
        assert place_for(tmp_path, content()).beside == tmp_path / "eval.json", text


def test_only_evaluations_are_taken_for_one(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    assert not is_evaluation(path)
    for text in ("{", "[3]", '{"scores": {}}', "\x00\x01"):
        path.write_text(text)
        assert not is_evaluation(path)
    path.write_text(json.dumps(content()))
    assert is_evaluation(path)


def test_scores_name_their_protocols() -> None:
    names = ("R@1", "linear per class", "knn top-1", "5-shot top-1", "finetune top-5", "linear-sgd top-1")
    assert [protocol_of(name) for name in names] == [
        "retrieval",
        "linear",
        "knn",
        "few-shot",
        "finetune",
        "finetune",
    ]
