"""What is collected from finished cells: means, spreads, and settings chosen on people held out alone."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import records
import results
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from science_tables import (
    audit_table,
    background_table,
    calibration_table,
    lead_table,
    looks_table,
    science_table,
    search_table,
)

from kinevec.errors import OutputError


def put(place: Path, row: str, r1: float, linear: float, **more: Any) -> None:
    cell: dict[str, Any] = {
        "row": row,
        "set": "unbiased",
        "seed": 0,
        "held": None,
        "setting": "as preset",
        "scores": {"R@1": r1, "linear top-1": linear},
        "chance": {"R@1": 3.7, "linear top-1": 3.7},
        "data": {"train": 431, "test": 430, "classes": 27},
        "spent": {"seconds": 90.0, "processor": 60.0},
        "steps": 650,
        "config": {"train": {"epochs": 50}, "method": {"queue": 128}},
        "provenance": {"commit": "abc", "machine": "a machine"},
        "made_from": {"set": {"kind": "unbiased", "seed": 0}},
    }
    place.mkdir(parents=True)
    (place / "eval.json").write_text(json.dumps(cell | more))


def read(path: Path | None) -> dict[str, Any]:
    assert path is not None
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")


def test_search_chooses_the_best_mean_over_people(tmp_path: Path) -> None:
    tried = {"as preset": (30, 40, 32, 42), "any hue": (50, 10, 50, 10), "smaller crops": (31, 41, 33, 41)}
    for name, (a, b, c, d) in tried.items():
        for person, scores in (("s3", (a, b)), ("s7", (c, d))):
            put(
                tmp_path / "search" / "cpu" / name / person,
                "mscl",
                *scores,
                held=person,
                setting=name,
            )
    put(
        tmp_path / "search" / "cpu" / "lucky", "mscl", 99, 99, held="s3", setting="more epochs"
    )  # one person only
    found = read(results.collect_search(tmp_path, "cpu"))
    assert found["chosen"] == {"mscl": "smaller crops"}
    assert found["mean"] == {"mscl": {"as preset": 36, "any hue": 30, "smaller crops": 36.5}}
    assert len(found["trials"]) == 7
    assert results.chosen_settings("cpu") == {"mscl": "smaller crops"}
    assert results.chosen_settings("gpu") == {}
    table = search_table(found)
    assert "| + FRA (MSCL) | 36.0 | 30.0 |  | **36.5** |" in table
    assert "s3, s7" in table


def test_table_of_cells(tmp_path: Path) -> None:
    for seed, r1 in ((0, 40.0), (1, 44.0)):
        put(tmp_path / "cells" / "cpu" / f"f{seed}", "fima", r1, 50.0, seed=seed)
    put(tmp_path / "cells" / "cpu" / "b", "fima", 20.0, 30.0, set="biased")
    scores = {"R@1": 60.0, "linear top-1": 70.0, "classifier top-1": 75.0}
    put(tmp_path / "cells" / "cpu" / "s", "supervised", 0, 0, scores=scores)
    (tmp_path / "cells" / "gpu").mkdir()
    assert results.collect(tmp_path, "gpu") is None
    assert results.collect_search(tmp_path, "gpu") is None
    found = read(results.collect(tmp_path, "cpu"))
    assert len(found["cells"]) == 4
    lines = science_table(found).splitlines()
    assert (
        lines[0]
        == "| | setting | unbiased R@1 | unbiased linear | biased R@1 | biased linear | steps | minutes |"
    )
    assert (
        lines[2]
        == "| + L_frame (FIMA) | as preset | 42.0 ± 2.8 (2) | 50.0 ± 0.0 (2) | 20.0 | 30.0 | 650 | 1 |"
    )
    assert lines[3] == "| supervised |  | 60.0 | 70.0 |  |  | 650 | 1 |"
    assert lines[4] == "| chance | | 3.7 | 3.7 | 3.7 | 3.7 |  |  |"
    assert "own classifier: unbiased 75.0." in lines[-1]
    assert "seeds 0, 1" in lines[-1]


def test_table_of_leads(tmp_path: Path) -> None:
    """Welch's interval from his formulas; rows with fewer seeds, or without MoCo beside them, are left out."""
    mine, base = [50.0, 55.0, 63.0, 58.0], [30.0, 41.0, 31.0]
    for row, values in (("fima", mine), ("moco", base), ("mscl", mine[:2]), ("supervised", mine)):
        for seed, value in enumerate(values):
            put(tmp_path / "cells" / "cpu" / f"{row}{seed}", row, value, 100 - value, seed=seed)
    for seed in range(3):  # in which nothing is set beside it
        put(tmp_path / "cells" / "cpu" / f"o{seed}", "fima", 1.0, 1.0, seed=seed, set="biased")
    lines = lead_table(read(results.collect(tmp_path, "cpu"))).splitlines()
    parts = [np.var(values, ddof=1) / len(values) for values in (mine, base)]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 2)
    half = stats.t.ppf(0.975, freedom) * sum(parts) ** 0.5
    lead = 56.5 - 34
    shown = f"+{lead:.1f} [{lead - half:+.1f}, {lead + half:+.1f}] | −{lead:.1f} [{-lead - half:+.1f}, {-lead + half:+.1f}]"
    row = f"| + L_frame (FIMA) | as preset | unbiased | {shown} | 4 and 3 |".replace("-", "−")
    assert lines[:3] == ["| | setting | set | R@1 | linear | seeds |", "|---|---|---|---:|---:|---:|", row]
    assert lines[3] == ""


def test_what_other_machines_found_is_kept(tmp_path: Path) -> None:
    put(tmp_path / "here" / "cells" / "cpu" / "a", "moco", 10, 20)
    put(tmp_path / "here" / "cells" / "cpu" / "b", "moco", 11, 21, seed=1)
    put(tmp_path / "here" / "cells" / "cpu" / "c", "moco", 12, 22, set="biased")
    results.collect(tmp_path / "here", "cpu")
    put(tmp_path / "there" / "cells" / "cpu" / "a", "moco", 13, 23)  # done again
    put(tmp_path / "there" / "cells" / "cpu" / "d", "moco", 14, 24, setting="any hue")
    found = read(results.collect(tmp_path / "there", "cpu"))
    assert [(c["set"], c["setting"], c["seed"], c["scores"]["R@1"]) for c in found["cells"]] == [
        ("biased", "as preset", 0, 12),
        ("unbiased", "any hue", 0, 14),
        ("unbiased", "as preset", 0, 13),
        ("unbiased", "as preset", 1, 11),
    ]
    assert set(found["configs"]) == {"moco, any hue", "moco, as preset"}
    assert set(found["sets"]) == {"unbiased", "biased"}


def test_cells_on_other_videos_are_not_mixed(tmp_path: Path) -> None:
    put(tmp_path / "here" / "cells" / "cpu" / "a", "moco", 10, 20)
    before = results.collect(tmp_path / "here", "cpu")
    assert before is not None
    text = before.read_text()
    made_from = {"set": {"kind": "unbiased", "seed": 1}}
    put(tmp_path / "there" / "cells" / "cpu" / "a", "moco", 10, 20, made_from=made_from)
    with pytest.raises(OutputError, match=r"cpu\.json: was found otherwise \(unbiased: seed is 1, was 0\)"):
        results.collect(tmp_path / "there", "cpu")
    assert before.read_text() == text


def test_cells_of_another_configuration_are_not_mixed(tmp_path: Path) -> None:
    known: dict[str, Any] = {"train": {"epochs": 50, "lr": 0.1, "seed": 0}, "method": {"queue": 128}}
    put(tmp_path / "here" / "cells" / "cpu" / "a", "moco", 10, 20, config=known)
    results.collect(tmp_path / "here", "cpu")
    grown = known | {
        "train": {"epochs": 50, "lr": 0.1, "seed": 2, "keep": 3}
    }  # another seed, a new key: the same
    put(tmp_path / "there" / "cells" / "cpu" / "a", "moco", 10, 20, seed=2, config=grown)
    assert len(read(results.collect(tmp_path / "there", "cpu"))["cells"]) == 2
    other = known | {"train": {"epochs": 50, "lr": 0.2, "seed": 1}}
    put(tmp_path / "there" / "cells" / "cpu" / "b", "moco", 10, 20, seed=1, config=other)
    put(tmp_path / "there" / "search" / "cpu" / "a", "moco", 10, 20, held="s7", config=known)
    put(tmp_path / "there" / "search" / "cpu" / "b", "moco", 10, 20, held="s3", config=other)
    for collect in (results.collect, results.collect_search):
        with pytest.raises(
            OutputError, match=r"found otherwise \(moco, as preset: train\.lr is 0\.2, was 0\.1\)"
        ):
            collect(tmp_path / "there", "cpu")


def test_entries_are_in_the_order_of_their_numbers() -> None:
    entries = [{"row": "a", "seed": seed} for seed in (10, 9, 2)] + [{"row": "a", "seed": 9, "new": True}]
    assert records.beside(entries[:2], entries[2:], ("row", "seed")) == [entries[2], entries[3], entries[0]]


def test_a_search_goes_on_elsewhere(tmp_path: Path) -> None:
    for place, setting, r1 in (
        ("here", "as preset", 50),
        ("there", "any hue", 40),
        ("there", "smaller crops", 60),
    ):
        trial = tmp_path / place / "search" / "cpu" / setting
        put(trial, "mscl", r1, r1, held="s7", setting=setting)
    results.collect_search(tmp_path / "here", "cpu")
    assert results.chosen_settings("cpu") == {"mscl": "as preset"}
    found = read(results.collect_search(tmp_path / "there", "cpu"))
    assert [trial["setting"] for trial in found["trials"]] == ["any hue", "as preset", "smaller crops"]
    assert found["mean"] == {"mscl": {"any hue": 40, "as preset": 50, "smaller crops": 60}}
    assert results.chosen_settings("cpu") == {"mscl": "smaller crops"}


def test_table_of_the_calibration() -> None:
    look = {"texture": 0.5, "light": 0.6, "drift": 0.002}
    config = {"clip": {"frames": 8, "size": 64, "stride": 5}, "train": {"epochs": 60}}
    trials = [
        {"name": "t", "kind": "unbiased", "look": look, "config": config, "held": held, "accuracy": accuracy}
        for held, accuracy in (("s7", 72.2), ("s3", 68.04))
    ]
    table = calibration_table({"trials": trials, "provenance": {"machine": "a machine"}})
    assert "| t | unbiased | 0.5 | 0.6 | 0.002 | 8 × 64², stride 5, 60 epochs | 68.0 | 72.2 |" in table


def test_table_of_backgrounds(tmp_path: Path) -> None:
    scores = {"R@1": 10.0, "linear top-1": 20.0, "background R@1": 90.0, "background linear top-1": 95.0}
    put(tmp_path / "cells" / "cpu" / "a", "moco", 0, 0, scores=scores)
    put(tmp_path / "cells" / "cpu" / "b", "moco", 0, 0, scores=scores | {"background R@1": 80.0}, seed=1)
    put(tmp_path / "cells" / "cpu" / "c", "moco", 0, 0, scores=scores, set="biased")
    put(tmp_path / "cells" / "cpu" / "d", "fima", 1, 2)  # judged before anyone asked for backgrounds
    lines = background_table(read(results.collect(tmp_path, "cpu"))).splitlines()
    assert lines[0] == "| | setting | action R@1 | action linear | background R@1 | background linear |"
    assert (
        lines[2] == "| MoCo | as preset | 10.0 ± 0.0 (2) | 20.0 ± 0.0 (2) | 85.0 ± 7.1 (2) | 95.0 ± 0.0 (2) |"
    )
    assert lines[3] == ""


def test_table_of_audits() -> None:
    def one(row: str, kind: str, seed: int, value: float, kept: float | None) -> dict[str, Any]:
        return {
            "set": kind,
            "seed": seed,
            "row": row,
            "setting": "any hue",
            "figures": {"static": {"linear": {"value": kept}}, "arrow": {"linear": {"value": 50.0 + seed}}},
            "scores": {"original": {"both": {"linear": {"value": value}}}},
            "commit": "abc",
            "machine": "a machine",
        }

    result = {
        "titles": {"untrained": "untrained", "moco": "MoCo"},
        "audits": [
            one("moco", "biased", 0, 30, None),
            one("moco", "unbiased", 0, 40, 20.0),
            one("moco", "unbiased", 1, 44, 24.0),
            one("untrained", "biased", 0, 10, 90.0),
        ],
        "data": {"test": 430},
        "protocol": {"clips": 2},
        "masks": "files",
    }
    lines = audit_table(result).splitlines()
    assert (
        lines[2]
        == "| MoCo | any hue | unbiased | 42.0 ± 2.8 (2) | 22.0 ± 2.8 (2) | – | – | 50.5 ± 0.7 (2) | – | – |"
    )
    assert lines[3] == "| untrained |  | biased | 10.0 | 90.0 | – | – | 50.0 | – | – |"
    assert lines[4] == "| MoCo | any hue | biased | 30.0 | – | – | – | 50.0 | – | – |"


def test_table_of_looks() -> None:
    def one(row: str, seed: int, place: float) -> dict[str, Any]:
        return {
            "row": row,
            "setting": "as preset",
            "seed": seed,
            "same place": place,
            "place alone": 0.0,
            "same time": -0.5,
            "follows speed": 0.126,
            "commit": "abc",
            "machine": "a machine",
        }

    result = {
        "titles": {"untrained": "untrained", "moco": "MoCo"},
        "looks": [one("moco", 0, 0.2), one("moco", 1, 0.4), one("untrained", 0, 0.1)],
        "videos": 108,
    }
    lines = looks_table(result).splitlines()
    assert lines[2] == "| untrained |  | +0.10 | +0.00 | -0.50 | +0.13 |"
    assert (
        lines[3]
        == "| MoCo | as preset | +0.30 ± 0.14 (2) | +0.00 ± 0.00 (2) | -0.50 ± 0.00 (2) | +0.13 ± 0.00 (2) |"
    )
