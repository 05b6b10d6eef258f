"""Swapped backgrounds where only some videos could be changed: the others have no part in what is said of them."""

from pathlib import Path

import numpy as np
import pytest
from audit_cases import MiddleFrame, by_hand, write_set
from numpy.typing import NDArray

from kinevec.data.records import Record
from kinevec.data.source import Collection
from kinevec.evaluate import classify
from kinevec.evaluate.audit import AuditConfig, audit
from kinevec.evaluate.audit.collect import Collected
from kinevec.evaluate.audit.masks import FileMasks
from kinevec.evaluate.audit.run import _Card
from kinevec.evaluate.audit.scores import LINEAR, R1, given, nearest, similarity
from kinevec.evaluate.audit.settings import BACKGROUND, ORIGINAL, REVERSED
from kinevec.evaluate.features import Features

LABELS = "abcd" * 6


def features(values: NDArray[np.floating]) -> Features:
    """The first half of the videos are train, the others test."""
    half = len(values) // 2
    records = tuple(
        Record(Path("x"), f"{i:02}", LABELS[i % half], None, "train" if i < half else "test")
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
