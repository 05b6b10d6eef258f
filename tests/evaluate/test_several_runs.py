"""Several runs as one, and runs that are no repetitions."""

from dataclasses import replace

import numpy as np
import pytest

from kinevec.config import Config, Model, Train, differences
from kinevec.encoders import Loaded
from kinevec.errors import InputError
from kinevec.evaluate.evaluation import Evaluation
from kinevec.evaluate.facts import UNREAD
from kinevec.evaluate.outcomes import Outcomes
from kinevec.evaluate.runs import check_repetitions, merged
from kinevec.models import build_encoder
from kinevec.runtime import seeded


def run(seed: int, *, name: str = "", weights: int | None = None, step: int = 5, **train: object) -> Loaded:
    with seeded(seed if weights is None else weights):
        encoder = build_encoder("tiny")
    config = Config(model=Model("tiny"), train=Train(seed=seed, **train))  # type: ignore[arg-type]
    return Loaded(encoder, config, name or f"runs/{seed}", step)


def test_seeds_of_one_configuration_are_repetitions() -> None:
    other = run(1, device="cpu")
    elsewhere = replace(other.config, data=replace(other.config.data, workers=3, store="files"))
    changed = {line.partition(":")[0] for line in differences(run(0).config, elsewhere)}
    assert changed == {"train.seed", "train.device", "data.workers", "data.store"}
    check_repetitions([run(0), replace(other, config=elsewhere), run(2)])
    check_repetitions([run(0)])


def test_runs_of_more_or_fewer_videos_are_not() -> None:
    counts = [replace(run(seed), facts={"videos": videos}) for seed, videos in ((0, 20), (1, 20), (2, 31))]
    check_repetitions(counts[:2])
    check_repetitions([run(3), *counts[:2]])  # of one it is not known
    with pytest.raises(InputError, match=r"runs/2 was not made as runs/0.*videos trained on: 20 → 31"):
        check_repetitions(counts)


def test_other_configurations_are_not() -> None:
    with pytest.raises(InputError, match=r"runs/1 was not made as runs/0.*train.lr: 0.02 → 0.1\. Judge them"):
        check_repetitions([run(0), run(1, lr=0.1)])
    with pytest.raises(InputError, match="steps: 5 → 6"):
        check_repetitions([run(0), run(1, step=6)])


def test_the_same_weights_twice_are_not() -> None:
    with pytest.raises(InputError, match="copy holds the same weights as runs/0"):
        check_repetitions([run(0), run(1), run(2, name="copy", weights=0)])


def found(hits: list[float], seed: int) -> Evaluation:
    chosen: dict[str, object] = {"linear": {"by_repetition": {"penalty": [seed, 9]}}}
    outcomes = Outcomes(("v", "w"), ("a", "b"), {"R@1": np.array(hits)}, facts=chosen)
    seen = {"test_seen_in_training": None if seed == 2 else seed, "test_copies_of_training": 2 - seed}
    facts = {
        "task": "t",
        "data": {"test": 2, "classes": 2, **seen},
        "protocol": {"clips": 10, "found": {"trained": chosen}},
        "run": {"folder": f"runs/{seed}", "seed": seed},
    }
    return Evaluation({"trained": outcomes.scores}, {"R@1": 50.0}, {}, facts, {"trained": outcomes})


def test_their_mean_and_spread() -> None:
    result = merged([found([1, 1], 0), found([1, 0], 1), found([0, 0], 2)])
    assert result.scores == {"trained": {"R@1": pytest.approx(50)}}
    assert result.outcomes["trained"].hits["R@1"] == pytest.approx([2 / 3, 1 / 3])
    assert result.outcomes["trained"].spread == {"R@1": pytest.approx(50)}
    assert result.chance == {"R@1": 50.0}
    assert result.facts["task"] == "t"
    assert result.facts["data"] == {
        "test": 2,
        "classes": 2,
        "rejected": {},
        "test_seen_in_training": 1,
        "test_copies_of_training": 2,
    }
    assert [run["test_seen_in_training"] for run in result.facts["runs"]] == [0, 1, None]
    assert "run" not in result.facts
    assert [entry["folder"] for entry in result.facts["runs"]] == ["runs/0", "runs/1", "runs/2"]
    assert [entry["scores"]["trained"]["R@1"] for entry in result.facts["runs"]] == [100, 50, 0]
    assert result.facts["protocol"] == {"clips": 10}
    assert [entry["found"]["trained"] for entry in result.facts["runs"]] == [
        {"linear": {"by_repetition": {"penalty": [seed, 9]}}} for seed in range(3)
    ]
    assert result.content["spread"] == {"trained": {"R@1": pytest.approx(50)}}


def test_a_video_that_one_run_lost_is_lost_for_all() -> None:
    whole, part = found([1, 1], 0), found([1, 0], 1)
    part = replace(part, outcomes={"trained": part.outcomes["trained"].only({"w"})})
    part.facts["data"]["rejected"] = {"x": "damaged"}
    result = merged([whole, part])
    assert result.outcomes["trained"].videos == ("w",)
    assert result.scores["trained"]["R@1"] == 50
    assert result.facts["data"]["test"] == 1
    assert result.facts["data"]["rejected"] == {"v": UNREAD, "x": "damaged"}
