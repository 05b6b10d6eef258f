"""A run judged from files to JSON, and what guessing would reach."""

import json
import shutil
from collections import defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from faults import numbered_video
from kinevec.config import Clip, Config, Model, Train
from kinevec.data.records import Record
from kinevec.data.source import Collection, open_videos
from kinevec.encoders import Loaded, load
from kinevec.errors import ConfigError, DataError, InputError
from kinevec.evaluate import evaluation, protocols
from kinevec.evaluate.cache import FeatureCache
from kinevec.evaluate.classify import Probe, linear_probe
from kinevec.evaluate.features import Features
from kinevec.evaluate.finetune import FinetuneConfig
from kinevec.evaluate.outcomes import Outcomes, classified
from kinevec.evaluate.protocols import PROTOCOLS, Settings, hits_of
from kinevec.evaluate.result import files_fingerprint
from kinevec.models import build_encoder
from kinevec.train.checkpoint import save_encoder, untrained_encoder
from kinevec.train.seen import VIDEOS
from reference import evaluate as reference

CONFIG = Config(
    clip=Clip(frames=4, stride=1, size=32),
    model=Model("tiny"),
    train=Train(precision="fp32", seed=3),
)
evaluate = partial(evaluation.evaluate, device="cpu")
CHANNELS = build_encoder("tiny").channels
SCORES = ["R@1", "R@5", "R@10", "R@20", "R@50", "linear top-1", "linear top-5", "linear per class"]


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Twelve videos of three labels, made at different sizes and lengths; a third is test."""
    folder = tmp_path_factory.mktemp("videos")
    records = []
    for i in range(12):
        size = 48 + 16 * (i % 3)
        path = numbered_video(folder / f"{i:02}.mp4", 5 + i % 4, (size, 48))
        records.append(
            Record(path, path.name, "abc"[i % 3], f"group {i // 2}", "test" if i >= 8 else "train")
        )
    return open_videos(records)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose encoder differs from the untrained one."""
    folder = tmp_path_factory.mktemp("run")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        save_encoder(folder, build_encoder("tiny"), CONFIG, step=17)
    return folder


def relabelled(collection: Collection, **changes: object) -> Collection:
    records = tuple(replace(record, **changes) for record in collection.records)  # type: ignore[arg-type]
    return Collection(records, collection.infos, collection.rejected)


def test_scores_are_those_of_the_features_and_go_to_json(
    collection: Collection, run: Path, tmp_path: Path
) -> None:
    progress: list[tuple[int, int]] = []
    result = evaluate(run, collection, clips=2, progress=lambda *at: progress.append(at))
    assert progress[-1] == (12, 12)
    assert list(result.scores) == list(result.features) == ["trained", "untrained"]
    for name, features in result.features.items():
        assert features.clips.shape == (12, 2, CHANNELS)
        assert list(result.scores[name]) == SCORES
        videos, labels = features.clips.astype(float).mean(1), [r.label or "" for r in collection.records]
        ranks = reference.ranking(videos[8:], videos[:8])
        for k in (1, 5, 10):
            expected = reference.recall(ranks, labels[8:], labels[:8], k)
            assert result.scores[name][f"R@{k}"] == pytest.approx(expected)
        groups = [f"group {i // 2}" for i in range(8)]
        probe = linear_probe(features.clips[:8], labels[:8], features.clips[8:], labels[8:], groups=groups)
        assert result.scores[name]["linear top-1"] == probe.top1
        assert result.scores[name]["linear top-5"] == probe.top5
        assert result.scores[name]["linear per class"] == probe.per_class
    path = tmp_path / "eval.json"
    result.write(path)
    content = json.loads(path.read_text("utf-8"))
    assert content["scores"] == result.scores
    assert content["chance"] == result.chance
    assert set(result.chance) == set(SCORES)
    assert content["data"].pop("files") == files_fingerprint(collection.records)
    assert content["data"] == {
        "train": 8,
        "test": 4,
        "classes": 3,
        "unlabelled": 0,
        "rejected": {},
        "test_seen_in_training": None,
        "test_copies_of_training": 0,
        "looped": 0,
    }
    assert content["protocol"]["clips"] == 2
    assert content["run"] == {
        "folder": str(run),
        "encoder": "tiny",
        "identity": load(run).identity,
        "terms": ["instance"],
        "step": 17,
        "seed": 3,
    }
    assert content["provenance"]["torch"] == torch.__version__
    assert content["provenance"]["device"] == "cpu"
    trained, untrained = (features.clips for features in result.features.values())
    assert np.abs(trained - untrained).max() > 0.01


def test_the_untrained_encoder_is_the_one_the_run_began_with(collection: Collection, tmp_path: Path) -> None:
    save_encoder(tmp_path, untrained_encoder(CONFIG), CONFIG, step=0)
    result = evaluate(tmp_path, collection, clips=1)
    trained, untrained = result.features.values()
    np.testing.assert_array_equal(trained.clips, untrained.clips)
    assert result.scores["trained"] == result.scores["untrained"]


def test_the_untrained_encoder_can_be_left_out(collection: Collection, run: Path) -> None:
    assert list(evaluate(run, collection, clips=1, untrained=False).scores) == ["trained"]


def test_everything_is_computed_on_the_device_that_was_asked_for(
    collection: Collection, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    result = evaluation.evaluate(run, collection, clips=1, device="cpu", untrained=False)
    assert result.facts["provenance"]["device"] == "cpu"


def test_videos_without_labels_give_features_and_no_scores(
    collection: Collection, run: Path, tmp_path: Path
) -> None:
    result = evaluate(run, relabelled(collection, label=None), clips=1)
    assert (result.scores, result.chance) == ({}, {})
    assert result.features["trained"].clips.shape == (12, 1, CHANNELS)
    result.write(tmp_path / "eval.json")
    assert json.loads((tmp_path / "eval.json").read_text())["data"]["classes"] == 0


def test_only_labelled_videos_are_scored(collection: Collection, run: Path) -> None:
    records = tuple(
        replace(record, label=None) if i in (0, 5, 8) else record
        for i, record in enumerate(collection.records)
    )
    part = Collection(records, collection.infos, ())
    fewer = evaluate(run, part, clips=1, untrained=False)
    alone = evaluate(run, part.only(lambda r: bool(r.label)), clips=1, untrained=False)
    assert fewer.scores == alone.scores
    assert fewer.chance == alone.chance
    counts = [fewer.facts["data"][key] for key in ("train", "test", "classes", "unlabelled")]
    assert counts == [6, 3, 3, 3]
    files = {"files": alone.facts["data"]["files"]}  # the fingerprint is of all that were there
    assert {**fewer.facts["data"], "unlabelled": 0, **files} == alone.facts["data"]


def test_only_scored_videos_are_counted_as_doubtful(
    collection: Collection, run: Path, tmp_path: Path
) -> None:
    records = [replace(r, label=None) if i in (8, 9) else r for i, r in enumerate(collection.records)]
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / VIDEOS).write_text(json.dumps(collection.listing()))
    found = evaluate(
        tmp_path / "run", Collection(tuple(records), collection.infos, ()), clips=1, untrained=False
    )
    assert found.facts["data"]["test"] == found.facts["data"]["test_seen_in_training"] == 2


def test_a_file_that_is_read_once_and_not_again_is_left_out_of_all_scores(
    collection: Collection, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tuned(loaded: Loaded, train: Collection, test: Collection, *rest: object, save: object) -> Outcomes:
        kept = list(test.records)[loaded.source != str(run) :]  # of the untrained encoder the first is lost
        shares = np.zeros((len(kept), 3))
        names, labels = [record.name for record in kept], [record.label or "" for record in kept]
        return classified("finetune", shares, ["a", "b", "c"], names, labels)

    monkeypatch.setattr(evaluation, "finetune", tuned)
    settings = Settings(protocols=("retrieval", "knn", "finetune"), clips=1)
    result = evaluate(run, collection, settings=settings)
    assert {found.videos for found in result.outcomes.values()} == {("09.mp4", "10.mp4", "11.mp4")}
    assert {len(hits) for found in result.outcomes.values() for hits in found.hits.values()} == {3}
    assert [len(row) for row in result.outcomes["trained"].predicted["knn"]] == [3]
    assert result.facts["data"]["test"] == 3
    assert list(result.facts["data"]["rejected"]) == ["08.mp4"]


def test_what_the_encoder_was_chosen_by_is_said(collection: Collection, run: Path, tmp_path: Path) -> None:
    best = tmp_path / "best.safetensors"
    shutil.copy(run / "encoder.safetensors", best)
    (tmp_path / "run.json").write_text("{}")
    shutil.copy(best, tmp_path / "encoder.safetensors")
    settings = Settings(protocols=("knn",), clips=1)
    for place, words in (
        (best, "the lowest training loss (best epoch)"),
        (tmp_path, "nothing (last step)"),
        (tmp_path / "encoder.safetensors", "nothing (last step)"),
        ("untrained:tiny", "nothing (last step)"),
        (run, "not known how the encoder was chosen"),
    ):
        loaded = replace(load(place), config=CONFIG)
        found = evaluate(loaded, collection, settings=settings, untrained=False)
        assert found.facts["protocol"]["selected_on"] == words, place


def test_the_names_of_scores_are_known_beforehand(collection: Collection, run: Path) -> None:
    tuning = FinetuneConfig(epochs=1, batch=4, freeze=True, workers=0)
    settings = Settings(protocols=PROTOCOLS, clips=1, shots=(1, 2), draws=1, finetune=tuning)
    found = evaluate(run, collection, settings=settings, untrained=False)
    assert hits_of(settings) == list(found.outcomes["trained"].hits)


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_empty_split_is_named(split: str, collection: Collection, run: Path) -> None:
    other = "test" if split == "train" else "train"
    decoded: list[int] = []
    with pytest.raises(DataError, match=rf"no video belongs to the {split} split \(found: 12 in {other}\)"):
        evaluate(
            run, relabelled(collection, split=other), clips=1, progress=lambda *at: decoded.append(at[0])
        )
    assert not decoded


@pytest.mark.parametrize(
    ("split", "counts"), [("test", "8 in train, 0 in test"), ("train", "0 in train, 4 in test")]
)
def test_labels_on_one_side_only_cannot_be_scored(
    split: str, counts: str, collection: Collection, run: Path
) -> None:
    records = tuple(replace(r, label=None) if r.split == split else r for r in collection.records)
    with pytest.raises(DataError, match=f"labelled videos: {counts}; both splits need some"):
        evaluate(run, Collection(records, collection.infos, ()), clips=1, untrained=False)


def test_labels_among_which_nothing_is_told_apart_are_refused(
    collection: Collection, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def labelled(train: list[str], test: list[str]) -> Collection:
        names = {"train": iter(train * 8), "test": iter(test * 4)}
        records = tuple(replace(r, label=next(names[r.split])) for r in collection.records if r.split)
        return Collection(records, collection.infos, ())

    with pytest.raises(DataError, match=r"train split have one label \('a'\); scores need at least 2"):
        evaluate(run, labelled(["a"], ["a", "b"]), clips=1, untrained=False)
    with pytest.raises(DataError, match=r"4 of 4 labelled test .* no train video has \('c'\); nothing"):
        evaluate(run, labelled(["a", "b"], ["c"]), clips=1, untrained=False)
    evaluate(run, labelled(["a", "b"], ["a", "c"]), clips=1, untrained=False)
    assert "2 of 4 labelled test videos have a label that no train video has ('c')" in caplog.text
    caplog.clear()
    evaluate(run, labelled(["a", "b"], ["b"]), clips=1, untrained=False)
    assert "no train video has" not in caplog.text


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_that_does_not_decode_is_an_error(split: str, collection: Collection, run: Path) -> None:
    infos = tuple(
        replace(info, path=info.path.with_name("gone.mp4")) if record.split == split else info
        for record, info in zip(collection.records, collection.infos, strict=True)
    )
    with pytest.raises(DataError, match=f"{split} split"):
        evaluate(run, Collection(collection.records, infos, ()), clips=1, untrained=False)


def test_videos_that_do_not_decode_are_listed(collection: Collection, run: Path) -> None:
    infos = (replace(collection.infos[0], path=Path("gone.mp4")), *collection.infos[1:])
    found = evaluate(run, Collection(collection.records, infos, ()), clips=1, untrained=False)
    assert list(found.facts["data"]["rejected"]) == ["00.mp4"]
    assert found.facts["data"]["rejected"]["00.mp4"]
    assert found.facts["data"]["train"] == 7


def test_test_videos_that_were_trained_on_are_counted_and_warned_of(
    collection: Collection, run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(run, tmp_path / "run")
    listed = tmp_path / "run" / VIDEOS
    paths = [str(record.path.resolve()) for record in collection.records]
    for trained, count in [(paths[:8], 0), (paths[5:10], 2), (paths, 4)]:
        listed.write_text(json.dumps(trained))
        caplog.clear()
        found = evaluate(tmp_path / "run", collection, clips=1, untrained=False)
        assert found.facts["data"]["test_seen_in_training"] == count
        assert [f"{count} of 4 test videos were trained on" in message for message in caplog.messages] == (
            [True] if count else []
        )


def test_a_folder_that_is_no_run(collection: Collection, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is it the folder of a run"):
        evaluate(tmp_path, collection)


def test_all_protocols_on_the_same_test_videos(collection: Collection, run: Path, tmp_path: Path) -> None:
    tuning = FinetuneConfig(dropout=0, epochs=1, batch=4, workers=0, precision="fp32")
    settings = Settings(
        protocols=PROTOCOLS, clips=1, crops=3, k=3, shots=(1, 2), draws=2, seeds=(0, 4), finetune=tuning
    )
    told: dict[str, list[tuple[int, int]]] = defaultdict(list)
    cache = FeatureCache(tmp_path / "features")
    result = evaluate(
        load(run),
        collection,
        settings=settings,
        cache=cache,
        save=tmp_path / "classifier.safetensors",
        on_finetune=lambda what: lambda *at: told[what].append(at),
    )
    kinds = ("linear", "knn", "1-shot", "2-shot", "finetune")
    names = [f"{kind} {part}" for kind in kinds for part in ("top-1", "top-5", "per class")]
    assert list(result.scores["trained"]) == [*SCORES[:5], *names] == list(result.chance)
    assert result.judged == "trained"
    for encoder, found in result.outcomes.items():
        assert found.videos == tuple(record.name for record in collection.records[8:])
        assert found.labels == tuple("cabc")
        assert set(found.spread) == {name for name in names if not name.startswith("knn")}
        assert {kind: len(found.predicted[kind]) for kind in kinds} == {
            "linear": 2,
            "knn": 1,
            "1-shot": 4,  # two draws, two seeds
            "2-shot": 4,
            "finetune": 2,
        }
        for name, (low, high) in result.intervals[encoder].items():
            assert 0 <= low <= result.scores[encoder][name] + 1e-9, name
            assert result.scores[encoder][name] - 1e-9 <= high <= 100, name
    assert result.features["trained"].clips.shape == (12, 3, CHANNELS)
    assert list(told) == [f"{name}, seed {seed}" for name in ("trained", "untrained") for seed in (0, 4)]
    assert [counts.count((14, 14)) for counts in told.values()] == [1] * 4  # 8 decoded, 2 steps, 4 tested
    assert len(list((tmp_path / "features").iterdir())) == 2
    assert (tmp_path / "classifier.safetensors").is_file()
    content = result.content
    assert content["protocol"]["settings"]["crops"] == 3
    assert content["protocol"]["found"]["trained"]["knn"] == {
        "k": 3,
        "temperature": 0.07,
        "centred_by": "train",
    }
    tuned = content["protocol"]["found"]["trained"]["finetune"]
    seeds = tuned["settings"]
    assert (seeds["clips"], seeds["crops"], seeds["epochs"]) == (1, 3, 1)
    assert seeds["by_repetition"] == {"seed": [0, 4]}
    assert [len(losses) for losses in tuned["by_repetition"]["loss_by_epoch"]] == [1, 1]
    assert (content["protocol"]["settings"]["finetune"]["clips"], content["protocol"]["clip"]["frames"]) == (
        1,
        4,
    )
    frozen = replace(settings, protocols=("retrieval",))
    assert evaluation.score(result.features["trained"], frozen) == {
        name: result.scores["trained"][name] for name in SCORES[:5]
    }
    assert list(evaluation.score(result.features["trained"])) == SCORES


def test_every_seed_has_a_probe_of_its_own(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds decide the folds: one that did not get through would show no spread where there is one."""
    seeds: list[int] = []

    def noted(*data: object, groups: object, seed: int) -> Probe:
        seeds.append(seed)
        return linear_probe(*data, groups=groups, seed=seed)  # type: ignore[arg-type]

    monkeypatch.setattr(protocols, "linear_probe", noted)
    clips = np.random.default_rng(0).normal(size=(12, 1, 5)).astype(np.float32)
    evaluation.score(Features(clips, collection), Settings(protocols=("linear",), seeds=(5, 2)))
    assert seeds == [5, 2]


def test_the_classifier_of_the_encoder_that_was_asked_for_and_of_the_first_seed_is_saved(
    collection: Collection, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, Path | None]] = []

    def noted(
        loaded: Loaded,
        train: Collection,
        test: Collection,
        config: FinetuneConfig,
        *more: object,
        save: Path | None,
    ) -> Outcomes:
        assert {record.split for record in train.records} == {"train"}
        asked.append((config.seed, save))
        labels = [record.label or "" for record in test.records]
        return classified("finetune", np.zeros((4, 3)), ["a", "b", "c"], list(test.names()), labels)

    monkeypatch.setattr(evaluation, "finetune", noted)
    settings = Settings(protocols=("finetune",), clips=1, seeds=(5, 2))
    evaluate(run, collection, settings=settings, save=tmp_path / "x")
    assert asked == [(5, tmp_path / "x"), (2, None), (5, None), (2, None)]


def test_an_untrained_encoder_by_name_is_judged_as_such(collection: Collection) -> None:
    config = replace(load("untrained:tiny").config, clip=CONFIG.clip, train=CONFIG.train)
    result = evaluate(replace(load("untrained:tiny"), config=config), collection, clips=1)
    assert list(result.scores) == ["untrained"]
    assert result.judged == "untrained"
    assert result.facts["run"]["folder"] == "untrained:tiny"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protocols": ("retrieval", "lineer")}, "unknown protocol 'lineer'; known: retrieval, linear, knn"),
        ({"protocols": ()}, "no protocol was named"),
        ({"clips": 0}, "clips is 0"),
        ({"crops": 5}, "crops is 5"),
        ({"k": 0}, "k is 0"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"shots": (1, 0)}, r"shots is \(1, 0\)"),
        ({"shots": ()}, r"shots is \(\)"),
        ({"draws": 0}, "draws is 0"),
        ({"seeds": ()}, r"seeds is \(\)"),
        ({"seeds": (1, 1)}, "each must be another"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Settings(**change)  # type: ignore[arg-type]


def labelled(train: str, test: str) -> Features:
    """Videos without features; one letter is one video's label."""
    records = [Record(Path("x"), f"{i}", label, split="train") for i, label in enumerate(train)]
    records += [Record(Path("x"), f"test {i}", label, split="test") for i, label in enumerate(test)]
    clips = np.zeros((len(records), 1, 1), np.float32)
    return Features(clips, Collection(tuple(records), (None,) * len(records), ()))  # type: ignore[arg-type]


def test_chance_of_the_probe_and_of_one_neighbour_in_closed_form() -> None:
    found = evaluation.chance(labelled("aaabbc" * 2, "abcc"))
    assert found["R@1"] == pytest.approx(100 * (6 + 4 + 2 + 2) / 12 / 4)
    assert found["R@20"] == found["R@50"] == 100  # the whole of train
    assert found["linear top-1"] == found["linear per class"] == pytest.approx(100 / 3)
    assert found["linear top-5"] == 100


@pytest.mark.parametrize(("train", "test"), [("aaaaabbbccdefgh", "aabcdh"), ("aabbcdefgg", "aaaaxyz")])
def test_chance_is_what_guessing_reaches(train: str, test: str) -> None:
    rng = np.random.default_rng(0)
    rounds = 4000
    classes = sorted(set(train))
    hits = dict.fromkeys(SCORES, 0.0)
    for _ in range(rounds):
        for label in test:
            drawn = [train[i] for i in rng.permutation(len(train))]
            for k in (1, 5, 10, 20, 50):
                hits[f"R@{k}"] += (label in drawn[:k]) / len(test)
            ranked = [classes[i] for i in rng.permutation(len(classes))]
            hits["linear top-1"] += (label == ranked[0]) / len(test)
            hits["linear top-5"] += (label in ranked[:5]) / len(test)
            hits["linear per class"] += (label == ranked[0]) / test.count(label) / len(set(test))
    found = evaluation.chance(labelled(train, test))
    assert found == pytest.approx({name: 100 * value / rounds for name, value in hits.items()}, abs=1.2)
