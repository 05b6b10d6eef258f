"""The protocols by name, what decides them, and their outcomes on the features of an encoder."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from kinevec.config import check
from kinevec.evaluate.classify import keeps_groups, linear_probe
from kinevec.evaluate.features import CLIPS, Features
from kinevec.evaluate.finetune_config import FinetuneConfig
from kinevec.evaluate.knn import TEMPERATURE, K, few_shot, knn
from kinevec.evaluate.outcomes import PER_CLASS, SHOT, TOP1, TOP5, Outcomes, joined, repeated
from kinevec.evaluate.retrieval import KS, retrieval_hits

FINETUNE = "finetune"
FROZEN = ("retrieval", "linear", "knn", "few-shot")  # on features that are computed once
PROTOCOLS = (*FROZEN, FINETUNE)
CHEAP = ("retrieval", "linear", "knn")
BASIC = ("retrieval", "linear")
BASIC_SCORES = (*(f"R@{k}" for k in KS), *(f"linear {part}" for part in (TOP1, TOP5, PER_CLASS)))


@dataclass(frozen=True)
class Settings:
    """How an encoder is judged."""

    protocols: tuple[str, ...] = CHEAP  # of PROTOCOLS
    clips: int = CLIPS  # of a video, even in time
    crops: int = 1  # of each clip: 1, the central square, or 3 along the longer side
    k: int = K  # neighbours that vote in knn
    temperature: float = TEMPERATURE  # of their votes
    shots: tuple[int, ...] = (1, 5)  # few-shot: labelled videos of each class
    draws: int = 10  # few-shot: choices of the labelled videos, for each seed
    seeds: tuple[int, ...] = (0,)  # of the linear probe's folds, the few-shot draws and the fine-tuning
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)

    def __post_init__(self) -> None:
        for name in self.protocols:
            check(name in PROTOCOLS, f"unknown protocol '{name}'; known: {', '.join(PROTOCOLS)}")
        check(bool(self.protocols), f"no protocol was named; known: {', '.join(PROTOCOLS)}")
        check(self.clips >= 1, f"clips is {self.clips}; it must be at least 1")
        check(self.crops in (1, 3), f"crops is {self.crops}; it must be 1 or 3")
        check(self.k >= 1, f"k is {self.k}; it must be at least 1")
        check(self.temperature > 0, f"temperature is {self.temperature}; it must be positive")
        check(min(self.shots, default=0) >= 1, f"shots is {self.shots}; each must be at least 1")
        check(self.draws >= 1, f"draws is {self.draws}; it must be at least 1")
        check(bool(self.seeds) and min(self.seeds) >= 0, f"seeds is {self.seeds}; none may be negative")
        check(len(set(self.seeds)) == len(self.seeds), f"seeds is {self.seeds}; each must be another")

    def tuning(self, seed: int) -> FinetuneConfig:
        """The fine-tuning of one seed, tested on the same clips and crops as the rest."""
        return replace(self.finetune, clips=self.clips, crops=self.crops, seed=seed)


def hits_of(settings: Settings) -> list[str]:
    """Names of the scores that every video has a hit or a miss for, as in `Outcomes.hits`."""
    classifiers = {
        "linear": ["linear"],
        "knn": ["knn"],
        "few-shot": [f"{shots}{SHOT}" for shots in settings.shots],
        FINETUNE: [settings.finetune.protocol],
    }
    words = [word for name in settings.protocols for word in classifiers.get(name, [])]
    ranked = [f"R@{k}" for k in KS] if "retrieval" in settings.protocols else []
    return ranked + [f"{word} {part}" for word in words for part in (TOP1, TOP5)]


def judge(features: Features, settings: Settings) -> Outcomes | None:
    """What the protocols on frozen features find of the test videos; None where none was asked for.

    Args:
        features: of videos with labels and splits.
    """
    train, test = features.split("train"), features.split("test")
    by_name: dict[str, Callable[[], list[Outcomes]]] = {
        "retrieval": lambda: [_retrieval(train, test)],
        "linear": lambda: [repeated([_linear(train, test, seed) for seed in settings.seeds])],
        "knn": lambda: [knn(train, test, k=settings.k, temperature=settings.temperature)],
        "few-shot": lambda: [
            few_shot(train, test, shots=n, draws=settings.draws, seeds=settings.seeds) for n in settings.shots
        ],
    }
    parts = [part for name in FROZEN if name in settings.protocols for part in by_name[name]()]
    return joined(parts) if parts else None


def chance_of(features: Features, names: Sequence[str]) -> dict[str, float]:
    """What guessing reaches, in percent: for R@k, k random training videos; else a random ranking of classes."""
    train_labels, test_labels = features.split("train").labels, features.split("test").labels
    counts, total = Counter(train_labels), len(train_labels)
    known = sum(label in counts for label in test_labels) / len(test_labels)
    classes = set(test_labels)
    result = {}
    for name in names:
        if name.startswith("R@"):
            draws = min(int(name.removeprefix("R@")), total)
            misses = [_miss_all(counts[label], total, draws) for label in test_labels]
            result[name] = 100 * (1 - sum(misses) / len(misses))
        elif name.endswith(TOP1):
            result[name] = 100 * known / len(counts)
        elif name.endswith(TOP5):
            result[name] = 100 * known * min(1.0, 5 / len(counts))
        elif name.endswith(PER_CLASS):
            result[name] = 100 * len(classes & set(counts)) / len(classes) / len(counts)
    return result


def _retrieval(train: Features, test: Features) -> Outcomes:
    hits = retrieval_hits(test.videos, test.labels, train.videos, train.labels)
    facts = {"retrieval": {"ks": list(KS), "centred_by": "each split's own mean"}}
    values = {name: hit.astype(float) for name, hit in hits.items()}
    return Outcomes(tuple(test.collection.names()), tuple(test.labels), values, facts=facts)


def _linear(train: Features, test: Features, seed: int) -> Outcomes:
    groups = [record.group for record in train.collection.records]
    probe = linear_probe(train.clips, train.labels, test.clips, test.labels, groups=groups, seed=seed)
    hits = probe.hits.astype(float)
    held_out = "held-out train videos" + (", groups kept whole" if keeps_groups(train.labels, groups) else "")
    facts = {"linear": {"penalty": probe.penalty, "selected_on": held_out}}
    return Outcomes(
        tuple(test.collection.names()),
        tuple(test.labels),
        {f"linear {TOP1}": hits[:, 0], f"linear {TOP5}": hits[:, 1]},
        {"linear": [probe.predicted]},
        facts=facts,
    )


def _miss_all(same: int, total: int, draws: int) -> float:
    """Probability that none of `draws` videos drawn without replacement is one of `same` among `total`."""
    result = 1.0
    for i in range(draws):
        result *= max(total - same - i, 0) / (total - i)
    return result
