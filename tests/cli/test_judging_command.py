"""`kinevec eval` where the command line itself decides: comparisons without data, and words that it cannot read."""

from pathlib import Path

import numpy as np
import pytest

from kinevec.cli.judging import evaluate
from kinevec.cli.scores import print_per_class, print_scores
from kinevec.config import to_dict
from kinevec.errors import ConfigError, InputError
from kinevec.evaluate.evaluation import Evaluation
from kinevec.evaluate.outcomes import Outcomes
from kinevec.evaluate.protocols import Settings


def made(path: Path, hits: list[float], spread: dict[str, float] | None = None) -> Evaluation:
    values = {"R@1": np.array(hits), "knn top-1": np.array(hits), "knn top-5": np.ones(4)}
    outcomes = Outcomes(tuple("vwxy"), ("a", "a", "[b]", "[b]"), values, spread=spread or {})
    facts = {
        "data": {"test": 4, "train": 9, "classes": 2},
        "protocol": {"settings": to_dict(Settings()), "train_videos": "x"},
        "run": {"folder": str(path.parent)},
    }
    chance = {name: 100.0 if name == "knn top-5" else 25.0 for name in outcomes.names}
    found = Evaluation({"trained": outcomes.scores}, chance, {}, facts, {"trained": outcomes})
    path.parent.mkdir(exist_ok=True)
    found.write(path)
    return found


def test_two_evaluations_are_compared_without_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = tmp_path / "a" / "eval.json", tmp_path / "b" / "eval.json"
    made(one, [1, 1, 1, 0])
    made(two, [0, 1, 0, 0])
    evaluate([str(one)], against=two)
    text = capsys.readouterr().out
    assert "+50.0 [" in text
    assert "75.0" in text
    assert "0.5000" in text  # of the four signs of two differences, two
    assert f"first: {one.parent}" in text
    assert f"second: {two.parent}" in text


def test_scores_are_shown_with_what_they_are_worth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = made(tmp_path / "a" / "eval.json", [1, 1, 1, 0], {"knn top-1": 3.25})
    print_scores(found)
    print_per_class(found)
    text = capsys.readouterr().out
    low, high = found.intervals["trained"]["R@1"]
    assert f"75.0 [{low:.1f}, {high:.1f}]" in text
    assert "75.0 ± 3.2 [" in text
    assert "[low, high]: 95 %" in text
    assert "knn top-5" not in text  # guessing reaches it anyway
    assert "[b]" in text


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is an evaluation; name another one with --against"):
        evaluate(["eval.json"])
    with pytest.raises(InputError, match="name labelled videos with --data"):
        evaluate(["run"])
    with pytest.raises(InputError, match="--shots is '1;5'"):
        evaluate(["run"], data=tmp_path, shots="1;5")
    with pytest.raises(ConfigError, match="unknown protocol 'knnn'"):
        evaluate(["run"], data=tmp_path, protocols="retrieval, knnn")
