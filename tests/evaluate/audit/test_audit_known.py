"""Encoders of which it is known what they read come out of an audit as just that."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from audit_cases import (
    CLASSES,
    CONFIG,
    OBJECT,
    SIDE,
    Corners,
    FirstFrame,
    Hand,
    MiddleFrame,
    Motion,
    by_hand,
    write_set,
)

from kinevec import encoders
from kinevec.config import Clip
from kinevec.data.records import Record
from kinevec.data.source import Collection
from kinevec.errors import DataError
from kinevec.evaluate import classify
from kinevec.evaluate.audit import Audit, AuditConfig, audit
from kinevec.evaluate.audit.collect import _rings
from kinevec.evaluate.audit.masks import FileMasks
from kinevec.evaluate.audit.scenes import Clips, read_scene
from kinevec.evaluate.audit.settings import CONDITIONS, ORIGINAL

SETTINGS = AuditConfig(clips=2, resamples=200, examples=3, untrained=False)
ENCODERS = {"first": FirstFrame, "middle": MiddleFrame, "corners": Corners, "motion": Motion}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audit")


@pytest.fixture(scope="module")
def collection(root: Path) -> Collection:
    return write_set(root, train=7, test=5)


@pytest.fixture(scope="module")
def cards(root: Path, collection: Collection) -> dict[str, Audit]:
    masks = FileMasks(root / "masks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classify, "PENALTIES", (1e-3,))  # nothing here depends on the choice
        loaded = {name: by_hand(make()) for name, make in ENCODERS.items()}
        first, *others = loaded
        found = audit(
            loaded[first],
            collection,
            SETTINGS,
            name=first,
            beside={name: loaded[name] for name in others},
            masks=masks,
            device="cpu",
        )
    return {name: alone(found, name) for name in loaded}


def alone(found: Audit, name: str) -> Audit:
    """What was found of one encoder, as if it had been audited by itself."""
    parts = (found.figures, found.scores, found.similarity)
    figures, scores, similarity = ({"trained": part[name]} for part in parts)
    return replace(found, figures=figures, scores=scores, similarity=similarity)


def value(card: Audit, figure: str, metric: str) -> float:
    found = card.figures["trained"][figure][metric]
    assert found.value is not None, found.undefined
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high
    return found.value


METRICS = pytest.mark.parametrize("metric", ["R@1", "linear"])


@METRICS
def test_everything_is_read_from_the_videos_as_they_are(cards: dict[str, Audit], metric: str) -> None:
    for card in cards.values():
        assert card.scores["trained"][ORIGINAL]["both"][metric].value == 100
        assert card.chance[metric] == 25


@METRICS
@pytest.mark.parametrize("name", ["first", "middle", "corners"])
def test_what_reads_frames_is_all_static(cards: dict[str, Audit], name: str, metric: str) -> None:
    card = cards[name]
    assert value(card, "static", metric) == 100
    assert value(card, "appearance_free", metric) < 35  # 20 test videos: chance ± 13 points of the ratio


@METRICS
def test_what_reads_motion_is_all_motion(cards: dict[str, Audit], metric: str) -> None:
    card = cards["motion"]
    assert value(card, "static", metric) == 0
    assert value(card, "appearance_free", metric) > 85
    assert value(card, "background", metric) < 15
    assert card.scores["trained"]["recoloured"]["queries"][metric].value == 100
    assert card.scores["trained"]["slower"]["queries"][metric].value == 100


@METRICS
def test_what_reads_the_background_is_exposed_by_another(cards: dict[str, Audit], metric: str) -> None:
    card = cards["corners"]
    assert value(card, "background", metric) == 100
    assert value(card, "follows", metric) == 100
    assert card.scores["trained"]["background swapped"]["queries"][metric].value == 0
    # The new backgrounds say nothing of the class but which it is not.
    swapped = card.scores["trained"]["background swapped"]["both"][metric].value
    assert swapped is not None
    assert swapped < 60
    assert value(cards["motion"], "follows", metric) < 15


@METRICS
def test_the_direction_of_time(cards: dict[str, Audit], metric: str) -> None:
    assert value(cards["corners"], "reversal", metric) == 0
    assert value(cards["corners"], "arrow", "linear") == 50
    assert cards["corners"].similarity["trained"]["reversed"] == pytest.approx(1)
    assert value(cards["motion"], "reversal", metric) == 100  # every direction becomes its opposite
    assert cards["motion"].similarity["trained"]["reversed"] < -0.9
    assert 30 < value(cards["motion"], "arrow", "linear") < 70  # all four directions run both ways


def test_a_probe_tells_forward_from_reversed_where_the_directions_are_few(
    root: Path, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classify, "PENALTIES", (1e-3,))
    part = collection.only(lambda record: record.label in ("right", "down"))
    card = audit(by_hand(Motion()), part, SETTINGS, masks=FileMasks(root / "masks"), device="cpu")
    assert value(card, "arrow", "linear") == 100


def test_every_condition_is_scored_on_both_sides(cards: dict[str, Audit]) -> None:
    for card in cards.values():
        assert list(card.scores["trained"]) == list(CONDITIONS)
        assert all(set(sides) == {"both", "queries"} for sides in card.scores["trained"].values())


def test_examples_show_every_condition(cards: dict[str, Audit]) -> None:
    examples = cards["middle"].examples
    assert len({example.label for example in examples}) == 3
    for example in examples:
        assert set(example.clips) == set(CONDITIONS)
        assert example.background_of not in (None, example.label)
        original, changed = example.clips[ORIGINAL], example.clips["background swapped"]
        assert example.background_of in CLASSES
        assert np.abs(changed[:, 0, 0].astype(int) - original[:, 0, 0]).max() > 40  # another ground
        middle = slice(17, 23)
        near = np.abs(changed[4, middle, middle].astype(int) - original[4, middle, middle])
        assert near.max() <= 1  # the same square


def test_the_foreground_is_measured_where_it_was_cut_out(cards: dict[str, Audit]) -> None:
    masks = cards["motion"].facts["masks"]
    assert masks["videos_with_foreground"] == 48
    assert masks["foreground_share_median"] == pytest.approx(OBJECT**2 / SIDE**2, rel=1e-3)


def test_a_background_is_handed_on_without_who_stood_before_it(root: Path, collection: Collection) -> None:
    for place in (0, 13, 26, 39):
        record, info = collection.records[place], collection.infos[place]
        scene = read_scene(record, info, CONFIG, SETTINGS, FileMasks(root / "masks"))
        assert scene.ground is not None
        colour = scene.ground[:, :, :4].mean((0, 1, 2, 3))  # of a rim that the object never reaches
        apart = [np.abs(clips - colour).max() for clips in (scene.clips[ORIGINAL], scene.ground)]
        assert apart[0] > 60  # the object
        assert apart[1] < 30  # noise


def test_what_is_drawn_for_a_video_comes_from_the_seed(root: Path, collection: Collection) -> None:
    def clips(seed: int) -> dict[str, Clips]:
        settings, masks = replace(SETTINGS, seed=seed), FileMasks(root / "masks")
        return read_scene(collection.records[0], collection.infos[0], CONFIG, settings, masks).clips

    one, again, other = clips(0), clips(0), clips(1)
    differ = set()
    for condition, found in one.items():
        np.testing.assert_array_equal(found, again[condition])
        if not np.array_equal(found, other[condition]):
            differ.add(condition)
    assert differ == {"shuffled", "recoloured", "appearance-free"}


def test_the_seed_decides_who_gets_whose_background(collection: Collection) -> None:
    def donors(seed: int) -> list[dict[str, str]]:
        """Of the train and of the test videos: each with the one before it in its ring."""
        names = list(collection.names())
        rings = [[names[place] for place in ring] for ring in _rings(collection, seed)]
        pairs = {name: ring[i - 1] for ring in rings for i, name in enumerate(ring)}
        split = {record.name: record.split for record in collection.records}
        assert all(split[name] == split[other] for name, other in pairs.items())
        return [{name: pairs[name] for name in names if split[name] == part} for part in ("train", "test")]

    assert donors(0) == donors(0)
    for one, other in zip(donors(0), donors(1), strict=True):
        assert one != other


def test_json_holds_all_but_the_pictures(cards: dict[str, Audit], tmp_path: Path) -> None:
    card = cards["motion"]
    card.write(tmp_path / "audit.json")
    written = json.loads((tmp_path / "audit.json").read_text())
    static = written["figures"]["trained"]["static"]["R@1"]
    assert static["value"] == 0
    assert set(static) == {"value", "low", "high", "raw"}
    assert written["scores"]["trained"]["reversed"]["queries"]["linear"]["value"] == 0
    assert written["data"] == {
        "train": 28,
        "test": 20,
        "classes": 4,
        "rejected": {},
        "test_seen_in_training": None,
        "test_copies_of_training": 0,
        "looped": 0,
    }
    assert written["masks"]["test_videos_swapped"] == 20
    assert written["protocol"]["faster_by_median"] == pytest.approx(11 / 7)
    assert written["encoder"]["source"] == "by hand"


def test_an_audit_repeats_itself(
    root: Path, collection: Collection, cards: dict[str, Audit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is drawn for a video depends on seed and name alone, not on the order or the other videos."""
    monkeypatch.setattr(classify, "PENALTIES", (1e-3,))
    records = collection.records[::-1]
    turned = Collection(records, collection.infos[::-1], ())
    again = audit(by_hand(Motion()), turned, SETTINGS, masks=FileMasks(root / "masks"), device="cpu")
    for condition in ("shuffled", "recoloured", "appearance-free"):
        assert again.similarity["trained"][condition] == pytest.approx(
            cards["motion"].similarity["trained"][condition], abs=1e-5
        )


def test_an_encoder_at_chance_gets_no_figures_but_a_reason(
    root: Path, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nothing(Hand):
        def read(self, x):  # type: ignore[no-untyped-def]
            return 0 * x.mean((3, 4)).flatten(1) + 1

    monkeypatch.setattr(classify, "PENALTIES", (1e-3,))
    card = audit(by_hand(Nothing()), collection, SETTINGS, masks=FileMasks(root / "masks"), device="cpu")
    for figure in ("static", "appearance_free", "reversal", "background"):
        for estimate in card.figures["trained"][figure].values():
            assert estimate.value is None
            assert "the original scores 25.0 %, not clearly above chance (25.0 %)" in estimate.undefined


def test_an_untrained_encoder_is_audited_as_such_and_once(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classify, "PENALTIES", (1e-3,))
    few = collection.only(
        lambda record: record.label in ("right", "up") and Path(record.name).stem in "016789"
    )
    loaded = replace(encoders.load("untrained:tiny"), config=replace(CONFIG, clip=Clip(4, 2, 16)))
    settings = AuditConfig(clips=1, resamples=100, examples=0)
    card = audit(loaded, few, settings, device="cpu")
    assert list(card.figures) == list(card.scores) == list(card.similarity) == ["untrained"]


def test_without_masks_all_but_the_background_is_judged(
    root: Path, collection: Collection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(classify, "PENALTIES", (1e-3,))
    card = audit(by_hand(Motion()), collection, SETTINGS, masks=FileMasks(tmp_path), device="cpu")
    assert "background swapped" not in card.scores["trained"]
    assert set(card.figures["trained"]) == {"static", "appearance_free", "reversal", "arrow"}
    assert card.facts["masks"]["videos_with_foreground"] == 0


def test_what_cannot_be_audited_is_refused(collection: Collection) -> None:
    def one_label(record: Record) -> bool:
        return record.label == "up"

    with pytest.raises(DataError, match=r"videos of the train split have one label \(.up.\); scores need"):
        audit(by_hand(Motion()), collection.only(one_label), SETTINGS, device="cpu")
    with pytest.raises(DataError, match="no video belongs to the test split"):
        audit(by_hand(Motion()), collection.only(lambda record: record.split == "train"), SETTINGS)
