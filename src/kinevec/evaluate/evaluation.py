"""Judge a run on labelled videos: retrieval and linear probe, beside the untrained encoder and chance."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinevec.data.source import Collection, Progress
from kinevec.errors import DataError
from kinevec.evaluate.classify import linear_probe
from kinevec.evaluate.features import Features, extract
from kinevec.evaluate.retrieval import KS, retrieval
from kinevec.runtime import provenance
from kinevec.train.checkpoint import load_encoder, untrained_encoder, write_text

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

    def write(self, path: Path) -> None:
        """Writes scores, chance and facts as JSON, atomically."""
        content = {"scores": self.scores, "chance": self.chance, **self.facts}
        write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def evaluate(
    run: Path,
    collection: Collection,
    *,
    clips: int = CLIPS,
    untrained: bool = True,
    progress: Progress | None = None,
) -> Evaluation:
    """Scores the encoder of a run on a collection with a train and a test split (METHODS §3).

    Args:
        run: a run's folder.
        collection: videos with splits (`kinevec.data.with_split` makes them where the data have none).
            Without labels there are features but no scores.
        clips: clips a video.
        untrained: also score the same encoder as it was before training.

    Raises:
        DataError: one of the splits is empty.
    """
    encoder, config, step = load_encoder(run)
    encoders = {"trained": encoder}
    if untrained:
        encoders["untrained"] = untrained_encoder(config)
    for split in ("train", "test"):
        if not any(record.split == split for record in collection.records):
            raise DataError(
                f"no video belongs to the {split} split; evaluation compares test with train videos"
            )
    features = extract(encoders, config, collection, clips=clips, progress=progress)
    labelled = {name: value.only(lambda record: bool(record.label)) for name, value in features.items()}
    labelled = {name: value for name, value in labelled.items() if len(value.collection)}
    scores = {name: score(value) for name, value in labelled.items()}
    first = next(iter(features.values()))
    facts = {
        "task": "retrieval of test videos among train videos; linear probe on frozen features",
        "data": {
            "train": len(first.split("train").collection),
            "test": len(first.split("test").collection),
            "classes": len({label for label in first.labels if label}),
            "rejected": len(first.collection.rejected),
        },
        "protocol": {
            "clips": clips,
            "view": "central square",
            "selected_on": "last epoch; penalty of the probe on held-out train videos",
        },
        "run": {
            "folder": str(run),
            "encoder": config.model.name,
            "method": config.method.name,
            "step": step,
            "seed": config.train.seed,
        },
        "provenance": provenance(),
    }
    chance_of = next(iter(labelled.values()), None)
    return Evaluation(scores, chance(chance_of) if chance_of else {}, features, facts)


def score(features: Features) -> dict[str, float]:
    """R@1, R@5, … and the linear probe's accuracies, in percent, of features with labels and splits."""
    train, test = features.split("train"), features.split("test")
    if not len(train.collection) or not len(test.collection):
        raise DataError("both splits need labelled videos to be scored")
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
    result["linear top-1"] = result["linear per class"] = 100 * known / len(counts)
    result["linear top-5"] = 100 * known * min(1.0, 5 / len(counts))
    return result


def _miss_all(same: int, total: int, draws: int) -> float:
    """Probability that none of `draws` videos drawn without replacement is one of `same` among `total`."""
    result = 1.0
    for i in range(draws):
        result *= max(total - same - i, 0) / (total - i)
    return result
