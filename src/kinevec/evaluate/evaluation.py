"""Judge a run on labelled videos: retrieval and linear probe, beside the untrained encoder and chance."""

import json
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from kinevec.data.source import Collection, Progress
from kinevec.data.whole import write_text
from kinevec.errors import DataError
from kinevec.evaluate.classify import linear_probe
from kinevec.evaluate.features import Features, extract
from kinevec.evaluate.retrieval import KS, retrieval
from kinevec.runtime import provenance
from kinevec.train.checkpoint import load_encoder, untrained_encoder
from kinevec.train.seen import count_seen

log = logging.getLogger(__name__)

SURE = 99.95  # percent
CLIPS = 10  # a video, even in time (METHODS §3)


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Attributes:
        scores: encoder ("trained", "untrained") → score → percent; empty where the videos have no labels.
        chance: score → percent that guessing would reach.
        features: encoder → features of all videos.
        facts: how it was found: data, protocol, provenance.
    """

    scores: dict[str, dict[str, float]]
    chance: dict[str, float]
    features: dict[str, Features]
    facts: dict[str, Any]

    @property
    def telling(self) -> list[str]:
        """Names of the scores that guessing does not reach anyway: R@50 among 50 videos says nothing."""
        return [name for name, value in self.chance.items() if value < SURE]

    def write(self, path: Path) -> None:
        """Writes scores, chance and facts as JSON, atomically."""
        content = {"scores": self.scores, "chance": self.chance, **self.facts}
        write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def check(collection: Collection) -> None:
    """Refuses a collection that cannot be scored, before anything is decoded.

    Raises:
        DataError: the train or the test split is empty, or has no labels where the other has.
    """
    splits = {name: [r for r in collection.records if r.split == name] for name in ("train", "test")}
    for name, records in splits.items():
        if not records:
            raise DataError(
                f"no video belongs to the {name} split; evaluation compares test with train videos"
            )
    labelled = {name: sum(bool(record.label) for record in records) for name, records in splits.items()}
    if any(labelled.values()) and not all(labelled.values()):
        raise DataError(
            f"labelled videos: {labelled['train']} in train, {labelled['test']} in test; both splits need some "
            "to be scored (or none at all)"
        )


def evaluate(
    run: Path,
    collection: Collection,
    *,
    clips: int = CLIPS,
    untrained: bool = True,
    device: str = "auto",
    progress: Progress | None = None,
) -> Evaluation:
    """Scores the encoder of a run on a collection with a train and a test split (METHODS §3).

    Args:
        run: a run's folder.
        collection: videos with splits (`kinevec.data.with_split` makes them where the data have none).
            Without labels there are features but no scores.
        clips: clips a video.
        untrained: also score the same encoder as it was before training.
        device: where to compute.

    Raises:
        DataError: as for `check`.
    """
    check(collection)
    collection = collection.only(lambda record: record.split in ("train", "test"))
    encoder, config, step = load_encoder(run)
    encoders: dict[str, nn.Module] = {"trained": encoder}
    if untrained:
        encoders["untrained"] = untrained_encoder(config)
    seen = trained_on(run, collection)
    features = extract(encoders, config, collection, clips=clips, device=device, progress=progress)
    check(next(iter(features.values())).collection)  # again: some may have failed to decode
    labelled = {name: value.only(lambda record: bool(record.label)) for name, value in features.items()}
    labelled = {name: value for name, value in labelled.items() if len(value.collection)}
    scores = {name: score(value) for name, value in labelled.items()}
    first = next(iter(features.values()))
    facts = {
        "task": "retrieval of test videos among train videos; linear probe on frozen features",
        "data": {
            "train": len(first.split("train").collection),
            "test": len(first.split("test").collection),
            "classes": len(set(first.labels) - {""}),
            "rejected": {item.name: item.reason for item in first.collection.rejected},
            "test_seen_in_training": seen,
        },
        "protocol": {
            "clips": clips,
            "view": "central square",
            "selected_on": "nothing (last step); the probe's penalty on held-out train videos",
        },
        "run": {
            "folder": str(run),
            "encoder": config.model.name,
            "terms": config.terms.names,
            "step": step,
            "seed": config.train.seed,
        },
        "provenance": provenance(device),
    }
    chance_of = next(iter(labelled.values()), None)
    return Evaluation(scores, chance(chance_of) if chance_of else {}, features, facts)


def trained_on(run: Path, collection: Collection) -> int | None:
    """How many test videos the run was pretrained on; warns of any. None where the run does not say."""
    test = [record for record in collection.records if record.split == "test"]
    count = count_seen(run, test)
    if count:
        log.warning(
            "%d of %d test videos were trained on (without labels); give pretraining and evaluation the same list, "
            "or name the splits in it",
            *(count, len(test)),
        )
    return count


def score(features: Features) -> dict[str, float]:
    """R@1, R@5, … and the linear probe's accuracies, in percent, of features with labels and splits."""
    train, test = features.split("train"), features.split("test")
    found = retrieval(test.videos, test.labels, train.videos, train.labels)
    probe = linear_probe(
        train.clips,
        train.labels,
        test.clips,
        test.labels,
        groups=[record.group for record in train.collection.records],
    )
    return found | {
        "linear top-1": probe.top1,
        "linear top-5": probe.top5,
        "linear per class": probe.per_class,
    }


def chance(features: Features) -> dict[str, float]:
    """What guessing reaches: for R@k, k random train videos; for the probe, a random ranking of classes."""
    train, test = features.split("train"), features.split("test")
    counts = Counter(train.labels)
    total = len(train.labels)
    result = {}
    for k in KS:
        misses = [_miss_all(counts[label], total, min(k, total)) for label in test.labels]
        result[f"R@{k}"] = 100 * (1 - sum(misses) / len(misses))
    known = sum(label in counts for label in test.labels) / len(test.labels)
    result["linear top-1"] = 100 * known / len(counts)
    result["linear top-5"] = 100 * known * min(1.0, 5 / len(counts))
    classes = set(test.labels)
    result["linear per class"] = 100 * len(classes & set(counts)) / len(classes) / len(counts)
    return result


def _miss_all(same: int, total: int, draws: int) -> float:
    """Probability that none of `draws` videos drawn without replacement is one of `same` among `total`."""
    result = 1.0
    for i in range(draws):
        result *= max(total - same - i, 0) / (total - i)
    return result
