"""Scores from hits and misses: what is counted, with which weights, and what repetitions make of it."""

from dataclasses import replace

import numpy as np
import pytest

from kinevec.evaluate.outcomes import Outcomes, classified, hits_behind, joined, repeated, weights

VIDEOS = ["v0", "v1", "v2", "v3", "v4"]
LABELS = ["a", "a", "a", "b", "z"]
CLASSES = ["a", "b", "c", "d", "e", "f", "g"]


def ranked(*first: str) -> np.ndarray:
    """Scores (V, 7) that rank the named class of each video first and the others in alphabetical order."""
    scores = np.tile(-np.arange(7.0), (len(first), 1))
    for row, label in zip(scores, first, strict=True):
        row[CLASSES.index(label)] = 1
    return scores


def test_hits_among_the_first_and_the_first_five() -> None:
    scores = ranked("a", "b", "g", "b", "a")
    scores[2, 0] = -9  # its right class is the last
    found = classified("knn", scores, CLASSES, VIDEOS, LABELS, {"k": 3})
    assert found.hits["knn top-1"].tolist() == [1, 0, 0, 1, 0]
    assert found.hits["knn top-5"].tolist() == [1, 1, 0, 1, 0]  # no class is called z
    assert found.predicted == {"knn": [["a", "b", "g", "b", "a"]]}
    assert found.facts == {"knn": {"k": 3}}
    assert found.names == ["knn top-1", "knn top-5", "knn per class"]
    assert found.scores == pytest.approx(
        {"knn top-1": 40, "knn top-5": 60, "knn per class": 100 * (1 / 3 + 1 + 0) / 3}
    )


def test_the_sixth_is_no_hit() -> None:
    scores = np.array([[6.0, 5, 4, 3, 2, 1, 0]])
    for place, hit in enumerate([1, 1, 1, 1, 1, 0, 0]):
        found = classified("x", scores, CLASSES, ["v"], [CLASSES[place]])
        assert found.hits["x top-5"].tolist() == [hit]
        assert found.hits["x top-1"].tolist() == [place == 0]


def test_of_equal_scores_the_first_class_counts() -> None:
    found = classified("x", np.zeros((2, 7)), CLASSES, ["v", "w"], ["a", "b"])
    assert found.hits["x top-1"].tolist() == [1, 0]


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"scores \(2, 7\) of 1 videos"):
        classified("x", np.zeros((2, 7)), CLASSES, ["v"], ["a"])


def test_weights_are_equal_by_video_or_by_class() -> None:
    assert weights(LABELS, per_class=False) == pytest.approx([0.2] * 5)
    assert weights(LABELS, per_class=True) == pytest.approx([1 / 9, 1 / 9, 1 / 9, 1 / 3, 1 / 3])
    assert hits_behind("linear per class") == "linear top-1"
    assert hits_behind("linear top-5") == "linear top-5"
    assert hits_behind("R@5") == "R@5"


def made(hits: list[float], predicted: str = "aaabb") -> Outcomes:
    values = np.array(hits)
    return Outcomes(
        tuple(VIDEOS), tuple(LABELS), {"p top-1": values, "p top-5": values}, {"p": [list(predicted)]}
    )


def test_repetitions_are_averaged_for_each_video_and_their_spread_is_kept() -> None:
    parts = [made([1, 0, 0, 1, 0], "aaabb"), made([1, 1, 0, 0, 0], "abbbb"), made([1, 1, 1, 1, 0], "babab")]
    found = repeated(parts)
    assert found.hits["p top-1"] == pytest.approx([1, 2 / 3, 1 / 3, 2 / 3, 0])
    assert found.predicted == {"p": [list("aaabb"), list("abbbb"), list("babab")]}
    scores = [40.0, 40.0, 80.0]
    mean = sum(scores) / 3
    assert found.scores["p top-1"] == pytest.approx(mean)
    assert found.spread["p top-1"] == pytest.approx((sum((s - mean) ** 2 for s in scores) / 2) ** 0.5)
    assert set(found.spread) == {"p top-1", "p top-5", "p per class"}
    assert repeated(parts[:1]) is parts[0]


def test_what_repetitions_say_of_themselves_is_kept_of_each_where_it_differs() -> None:
    facts = [
        {"p": {"chosen": 3, "settings": {"seed": seed, "lr": 0.1}, "losses": [seed]}, "q": seed}
        for seed in (5, 7)
    ]
    parts = [replace(made([1, 0, 0, 1, 0]), facts=fact) for fact in facts]
    assert repeated(parts).facts == {
        "p": {
            "chosen": 3,
            "settings": {"lr": 0.1, "by_repetition": {"seed": [5, 7]}},
            "by_repetition": {"losses": [[5], [7]]},
        },
        "q": [5, 7],
    }
    late = replace(parts[1], facts={**facts[1], "p": {"late": 1}})
    assert repeated([parts[0], late]).facts["p"]["by_repetition"]["late"] == [None, 1]  # type: ignore[index]
    assert repeated([parts[0], parts[0]]).facts == facts[0]


def test_of_some_videos_every_repetition_is_kept() -> None:
    parts = [made([1, 0, 0, 1, 0], "aaabb"), made([1, 1, 0, 0, 0], "abbbb"), made([1, 1, 1, 1, 0], "babab")]
    found = repeated(parts).only({"v0", "v3"})
    assert (found.videos, found.labels) == (("v0", "v3"), ("a", "b"))
    assert found.hits["p top-1"] == pytest.approx([1, 2 / 3])
    assert found.predicted == {"p": [["a", "b"], ["a", "b"], ["b", "a"]]}


def test_protocols_are_joined_in_order() -> None:
    other = Outcomes(
        tuple(VIDEOS), tuple(LABELS), {"R@1": np.ones(5)}, spread={"R@1": 2.0}, facts={"retrieval": 1}
    )
    found = joined([other, made([1, 0, 0, 1, 0])])
    assert found.names == ["R@1", "p top-1", "p top-5", "p per class"]
    assert found.spread == {"R@1": 2.0}
    assert found.facts == {"retrieval": 1}
    assert list(found.predicted) == ["p"]


@pytest.mark.parametrize("combine", [joined, repeated])
def test_other_videos_are_not_mixed(combine: object) -> None:
    other = Outcomes(tuple(VIDEOS), ("a", "a", "b", "b", "z"), {"p top-1": np.ones(5)})
    with pytest.raises(ValueError, match="different test videos"):
        combine([made([1, 0, 0, 1, 0]), other])  # type: ignore[operator]
