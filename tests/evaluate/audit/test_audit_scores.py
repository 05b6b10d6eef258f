"""Swapped backgrounds where only some videos could be changed: the others have no part in what is said of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audit_cases import MiddleFrame, by_hand, write_set
from numpy.typing import NDArray

from kinevec.data.records import Record
from kinevec.data.source import Collection
from kinevec.evaluate import classify
from kinevec.evaluate.audit import AuditConfig, audit, scores
from kinevec.evaluate.audit.collect import Collected
from kinevec.evaluate.audit.masks import FileMasks
from kinevec.evaluate.audit.run import _Card
from kinevec.evaluate.audit.scores import LINEAR, R1, direction, given, nearest, similarity
from kinevec.evaluate.audit.settings import BACKGROUND, ORIGINAL, REVERSED
from kinevec.evaluate.features import Features
from reference import evaluate as reference

LABELS = "abcd" * 6


def features(values: NDArray[np.floating], labels: str = LABELS) -> Features:
    """The first half of the videos are train, the others test."""
    half = len(values) // 2
    records = tuple(
        Record(Path("x"), f"{i:02}", labels[i % half], None, "train" if i < half else "test")
        for i in range(len(values))
    )
    clips = values[:, None].astype(np.float32)
    return Features(clips, Collection(records, (None,) * len(records), ()))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found() -> dict[str, Features]:
    """Four labels along four axes; to cut somebody out adds the same to every feature."""
    rng = np.random.default_rng(0)
    axes = np.eye(5)[[ord(label) - ord("a") for label in LABELS]]
    values = np.concatenate([axes, axes]) + rng.normal(0, 0.05, (48, 5))
    return {ORIGINAL: features(values), BACKGROUND: features(values + np.array([0, 0, 0, 0, 40.0]))}


@pytest.mark.parametrize("count", [24, 12, 8])
def test_videos_that_were_not_swapped_do_not_take_part(count: int, found: dict[str, Features]) -> None:
    """What all swapped videos have in common goes with their mean, however few they are."""
    original, changed = found[ORIGINAL].clips, found[BACKGROUND].clips
    swapped = {f"{i:02}" for i in (*range(24), *range(24, 24 + count))}
    mixed = np.concatenate([changed[: 24 + count], original[24 + count :]])[:, 0]
    labels = given({ORIGINAL: found[ORIGINAL], BACKGROUND: features(mixed)}, swapped)[BACKGROUND]
    expected = list(LABELS[:count]) + [""] * (24 - count)
    for side in ("queries", "both"):
        assert labels[side][R1].tolist() == expected  # type: ignore[index]
    assert labels["both"][LINEAR].tolist()[:count] == expected[:count]
    rows = np.arange(24) < count
    alone = similarity(features(mixed), found[ORIGINAL], rows)
    middle = original[:24, 0].mean(0)
    cosines = [
        (one @ other) / np.linalg.norm(one) / np.linalg.norm(other)
        for one, other in zip(
            changed[24 : 24 + count, 0] - middle, original[24 : 24 + count, 0] - middle, strict=True
        )
    ]
    assert alone == pytest.approx(np.mean(cosines), abs=1e-5)


def card_of(found: dict[str, Features], donors: list[str], seed: int = 0) -> _Card:
    """Of videos whose test half got backgrounds of these labels, "" for none; all of train were swapped."""
    half = len(donors)
    some = Collected({}, np.array(["b"] * half + donors), np.ones(2 * half), np.ones(2 * half), ())
    same = {REVERSED: replace(found[ORIGINAL], clips=found[ORIGINAL].clips * np.float32(1.1))}
    return _Card(same | found, some, AuditConfig(resamples=100, seed=seed))


def test_swapped_videos_are_set_beside_themselves_in_the_same_company(found: dict[str, Features]) -> None:
    """Where all of one label were swapped, their mean takes the label with it, before and after."""
    rows = np.array([label == "a" for label in LABELS])
    card = card_of(found, ["b" if swapped else "" for swapped in rows])
    values = found[ORIGINAL].clips[:, 0].astype(float)
    expected = [LABELS[rank[0]] for rank in reference.ranking(values[24:][rows], values[:24])]
    assert set(expected) != {"a"}
    assert card.before[BACKGROUND][R1][rows].tolist() == expected


def test_the_chance_to_follow_is_that_of_the_labels_of_the_backgrounds() -> None:
    labels = "a" * 15 + "bcd" * 3
    values = np.random.default_rng(0).normal(size=(48, 5))
    found = {ORIGINAL: features(values, labels), BACKGROUND: features(values, labels)}
    card = card_of(found, ["b"] * 3 + [""] * 21)
    assert card.donor_chance[R1].tolist() == [3 / 24] * 3  # of the training videos, three are called b
    assert card.donor_chance[LINEAR].tolist() == [1 / 4] * 3  # always "a" is never right


def test_of_swapped_backgrounds_only_swapped_videos_are_counted(found: dict[str, Features]) -> None:
    """Their four labels are read as before, and one of them is that of the new backgrounds."""
    card = card_of(found, ["b"] * 4 + [""] * 20)
    assert card.figures()["follows"][R1].value == 25
    for side in ("queries", "both"):
        assert card.scores()[BACKGROUND][side][R1].value == 100  # type: ignore[index]


def test_the_intervals_of_an_audit_come_from_its_seed() -> None:
    labels, rng = "abcd" * 15, np.random.default_rng(0)
    axes = np.concatenate([np.eye(5)[[ord(label) - ord("a") for label in labels]]] * 2)
    found = {
        condition: features(axes + rng.normal(0, 0.6, axes.shape), labels)
        for condition in (ORIGINAL, REVERSED)
    }
    one, again, other = (card_of(found, [""] * 60, seed).figures() for seed in (1, 1, 2))
    assert one == again
    for figure, metric in (("reversal", R1), ("reversal", LINEAR), ("arrow", LINEAR)):
        assert one[figure][metric].value == other[figure][metric].value
        assert (one[figure][metric].low, one[figure][metric].high) != (
            other[figure][metric].low,
            other[figure][metric].high,
        )


def test_training_videos_that_kept_their_background_are_not_among_the_swapped_ones(
    found: dict[str, Features],
) -> None:
    """None of d was swapped in train, so that nobody can be taken for it where both sides are changed."""
    swapped = {f"{i:02}" for i in range(48) if i >= 24 or LABELS[i] != "d"}
    labels = given({ORIGINAL: found[ORIGINAL], BACKGROUND: found[ORIGINAL]}, swapped)[BACKGROUND]
    for metric in (R1, LINEAR):
        assert labels["queries"][metric].tolist() == list(LABELS)
        known = [(label, right) for label, right in zip(labels["both"][metric], LABELS, strict=True)]
        assert all(label == right for label, right in known if right != "d")
        assert all(label in "abc" for label, _ in known)


def test_the_direction_is_told_of_both_versions_of_each_video() -> None:
    """Half of the test videos run the other way, so that both their versions are taken for each other."""
    sign = np.repeat([1.0, 1, -1], [24, 12, 12])
    values = sign[:, None] * np.array([1.0, 0, 0]) + np.random.default_rng(0).normal(0, 0.01, (48, 3))
    found = direction(features(values), features(-values))
    assert found.tolist() == [1] * 12 + [0] * 12
    assert direction(features(values), features(values)).tolist() == [0.5] * 24


def test_both_versions_of_a_video_are_held_out_together(
    found: dict[str, Features], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[tuple[str, str]]] = []

    def noted(*data: Any, groups: Sequence[str] = ()) -> classify.Probe:
        asked.append(list(zip(data[1], groups, strict=True)))
        return classify.linear_probe(*data, groups=groups)

    monkeypatch.setattr(scores, "linear_probe", noted)
    direction(found[ORIGINAL], found[BACKGROUND])
    names = [f"{i:02}" for i in range(24)]
    assert asked == [[(way, name) for way in ("forward", "reversed") for name in names]]


def test_of_no_query_there_is_no_label(found: dict[str, Features]) -> None:
    queries, gallery = (found[ORIGINAL].split(name) for name in ("test", "train"))
    assert nearest(queries, gallery, ()).tolist() == [""] * 24
    assert nearest(queries, gallery).tolist() == list(LABELS)
    asked = nearest(queries, gallery, {"25", "30", "31", "40"})
    assert [place for place, label in enumerate(asked) if label] == [1, 6, 7, 16]


def test_an_audit_counts_the_videos_that_have_a_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads frames follows the new background; a video without a mask keeps its own and would not."""
    monkeypatch.setattr(classify, "PENALTIES", (1e-3,))
    collection = write_set(tmp_path, train=4, test=4)
    settings = AuditConfig(clips=1, resamples=100, examples=0, untrained=False)

    def card(masks: Path) -> tuple[int, float, float]:
        found = audit(by_hand(MiddleFrame()), collection, settings, masks=FileMasks(masks), device="cpu")
        follows = found.figures["trained"]["follows"][R1].value
        assert follows is not None
        return found.facts["masks"]["test_videos_swapped"], follows, found.similarity["trained"][BACKGROUND]

    swapped, follows, alike = card(tmp_path / "masks")
    assert swapped == 16
    for path in sorted((tmp_path / "masks").rglob("*.npy")):
        if int(path.stem) in (6, 7):  # of each label, two of four test videos
            path.unlink()
    fewer, still, as_alike = card(tmp_path / "masks")
    assert 0 < fewer < 16
    assert still == follows == 100
    assert as_alike == pytest.approx(alike, abs=0.15)


@pytest.mark.parametrize(
    ("count", "reason"),
    [
        (0, "no test video could be changed in this way"),
        (1, "only one test video could be changed in this way"),
        (2, ""),
    ],
)
def test_a_single_swapped_video_is_too_few(count: int, reason: str, found: dict[str, Features]) -> None:
    donors = np.array(["b"] * 24 + ["b"] * count + [""] * (24 - count))
    some = Collected({}, donors, np.ones(48), np.ones(48), ())
    reversed_ = {REVERSED: features(found[ORIGINAL].clips[:, 0] * 1.1)}
    card = _Card(found | reversed_, some, AuditConfig(resamples=100))
    assert card.figures()["background"][R1].undefined == reason
    assert (BACKGROUND in card.similarity()) == (count > 0)
