"""Judge an encoder on labelled videos by several protocols, beside the untrained encoder and chance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from kinevec import encoders
from kinevec.data.source import Collection, Progress
from kinevec.encoders import UNTRAINED, Loaded
from kinevec.errors import LateError
from kinevec.evaluate.cache import FeatureCache, cached_features
from kinevec.evaluate.checks import check as check
from kinevec.evaluate.checks import check_shots, trained_on, warn_looped, warn_neighbours
from kinevec.evaluate.copies import count_copies
from kinevec.evaluate.facts import facts_of
from kinevec.evaluate.features import Extractor, Features
from kinevec.evaluate.filed import Filed
from kinevec.evaluate.finetune import finetune
from kinevec.evaluate.outcomes import BEFORE, PER_CLASS, TRAINED, Outcomes, joined, of_the_same, repeated
from kinevec.evaluate.protocols import BASIC, BASIC_SCORES, FINETUNE, Settings, chance_of, judge
from kinevec.evaluate.result import outcomes_content, per_class, write_result
from kinevec.evaluate.significance import LEVEL, interval
from kinevec.runtime import provenance
from kinevec.train.checkpoint import untrained_encoder

SURE = 99.0  # percent


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Attributes:
        scores: encoder ("trained", "untrained") → score → percent; empty where the videos have no labels.
        chance: score → percent that guessing would reach.
        features: encoder → features of all videos.
        facts: how it was found: data, protocol, provenance.
        outcomes: encoder → what was found of every test video.
        filed: where it was written; None as long as it was not.
    """

    scores: dict[str, dict[str, float]]
    chance: dict[str, float]
    features: dict[str, Features]
    facts: dict[str, Any]
    outcomes: dict[str, Outcomes] = field(default_factory=dict)
    filed: Filed | None = None

    @property
    def telling(self) -> list[str]:
        """Names of the scores that guessing does not reach anyway: R@50 among 50 videos says nothing."""
        return [name for name, value in self.chance.items() if value < SURE]

    @property
    def judged(self) -> str:
        """The encoder that was asked for, the first."""
        return next(iter(self.scores), TRAINED)

    @cached_property  # thousands of resamples of every score
    def intervals(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Encoder → score → ends of its interval over test videos, in percent."""
        return {
            encoder: {name: _interval(found, name) for name in found.names}
            for encoder, found in self.outcomes.items()
        }

    @property
    def content(self) -> dict[str, Any]:
        """All of it but the features, as JSON knows it; see docs/evaluation.md."""
        content: dict[str, Any] = {"judged": self.judged, "scores": self.scores, "chance": self.chance}
        if self.outcomes:
            content |= {
                "intervals": {"level": LEVEL, **self.intervals},
                "spread": {encoder: dict(found.spread) for encoder, found in self.outcomes.items()},
                "per_class": {encoder: per_class(found) for encoder, found in self.outcomes.items()},
            }
        content |= self.facts
        if self.outcomes:
            content["outcomes"] = outcomes_content(self.outcomes)
        return content

    def write(self, path: Path) -> None:
        """Writes `content` as JSON, atomically."""
        write_result(path, self.content)


def evaluate(
    encoder: Loaded | Path | str,
    collection: Collection,
    *,
    name: str = TRAINED,
    beside: Mapping[str, Loaded] | None = None,
    settings: Settings | None = None,
    clips: int | None = None,
    untrained: bool = True,
    device: str = "auto",
    extractor: Extractor | None = None,
    cache: FeatureCache | None = None,
    save: Path | None = None,
    progress: Progress | None = None,
    on_finetune: Callable[[str], Progress] | None = None,
) -> Evaluation:
    """Scores an encoder on a collection with a train and a test split (docs/evaluation.md).

    Args:
        encoder: from `kinevec.encoders.load`, or the place that it lies in.
        collection: videos with splits (`kinevec.data.with_split` makes them where the data have none).
            Without labels there are features but no scores.
        name: that the encoder goes by.
        beside: further encoders by their names, whose clips are made alike; they are judged in the same pass.
        settings: which protocols and how; None: retrieval and linear probe.
        clips: clips a video, where they are to be others than those of the settings.
        untrained: also score the same encoder as it was before training.
        device: where to compute.
        extractor: who computes the features; None: this process.
        cache: where features are kept between evaluations; None: nowhere.
        save: file for the fine-tuned classifier, of the first seed.
        progress: told of videos encoded.
        on_finetune: encoder, and seed where there are several → what is told how far that fine-tuning is.

    Raises:
        DataError: as for `check`.
        InputError: as for `check_shots`.
        InputError, CheckpointError, ConfigError: as for `kinevec.encoders.load`.
        LateError: the fine-tuned classifier cannot be written; carries the evaluation.
    """
    check(collection)
    collection = collection.only(lambda record: record.split in ("train", "test"))
    settings = settings or Settings(protocols=BASIC)
    settings = settings if clips is None else replace(settings, clips=clips)
    loaded = encoder if isinstance(encoder, Loaded) else encoders.load(encoder)
    check_shots(collection, settings)
    warn_neighbours(collection, settings)
    chosen = _chosen(loaded, name, beside or {}, untrained)
    scored = collection.only(lambda record: bool(record.label))
    scored = scored if len(scored) else collection  # without labels there are features alone
    seen = {
        "test_seen_in_training": trained_on(Path(loaded.source), scored),
        "test_copies_of_training": count_copies(scored, Path(loaded.source)),
        "looped": warn_looped(scored, loaded.config.clip),
    }
    features = cached_features(
        chosen,
        collection,
        clips=settings.clips,
        crops=settings.crops,
        device=device,
        extractor=extractor,
        cache=cache,
        progress=progress,
    )
    whole = next(iter(features.values()))
    check(whole.collection)  # again: some may have failed to decode
    outcomes: dict[str, Outcomes] = {}
    late: list[LateError] = []
    if any(whole.labels):
        for key, value in features.items():
            part = value.only(lambda record: bool(record.label))
            keep = save if key == next(iter(chosen)) else None
            told = (lambda seed, key=key: on_finetune(_words(key, seed, settings))) if on_finetune else None
            outcomes[key] = _judge(chosen[key], part, settings, device, keep, told, late)
        outcomes = dict(zip(outcomes, of_the_same(list(outcomes.values())), strict=True))
    facts = facts_of(loaded, whole, settings, outcomes, seen) | {"provenance": provenance(device)}
    result = Evaluation(
        {name: found.scores for name, found in outcomes.items()},
        _chance(whole, outcomes),
        features,
        facts,
        outcomes,
    )
    if late:
        raise LateError(str(late[0]), result) from late[0]
    return result


def score(features: Features, settings: Settings | None = None) -> dict[str, float]:
    """Score → percent of features with labels and splits.

    Args:
        settings: which protocols on frozen features; None: retrieval and linear probe.
    """
    outcomes = judge(features, settings or Settings(protocols=BASIC))
    return outcomes.scores if outcomes else {}


def chance(features: Features, names: Sequence[str] = BASIC_SCORES) -> dict[str, float]:
    """Score → percent that guessing reaches: for R@k, k random train videos; else a random ranking of classes."""
    return chance_of(features, names)


def before_training(loaded: Loaded) -> Loaded:
    """The same encoder as it was before the first step."""
    name = loaded.config.model.name
    return Loaded(untrained_encoder(loaded.config), loaded.config, f"{UNTRAINED}{name}", 0)


def _chosen(loaded: Loaded, name: str, beside: Mapping[str, Loaded], untrained: bool) -> dict[str, Loaded]:
    """The encoders to judge by the names they go by; the untrained one is what the first was before training."""
    if loaded.source.startswith(UNTRAINED):
        return {BEFORE: loaded, **beside}
    chosen = {name: loaded, **beside}
    if untrained:
        chosen[BEFORE] = before_training(loaded)
    return chosen


def _judge(
    loaded: Loaded,
    features: Features,
    settings: Settings,
    device: str,
    save: Path | None,
    told: Callable[[int], Progress] | None,
    late: list[LateError],
) -> Outcomes:
    """The outcomes of all protocols; that a classifier could not be saved is added to `late`."""
    train, test = (features.split(name).collection for name in ("train", "test"))

    def tuned(turn: int, seed: int) -> Outcomes:
        keep = save if turn == 0 else None
        progress = told(seed) if told else None
        try:
            return finetune(loaded, train, test, settings.tuning(seed), device, progress, save=keep)
        except LateError as error:
            late.append(error)
            found: Outcomes = error.result
            return found

    frozen = judge(features, settings)
    parts = [frozen] if frozen else []
    if FINETUNE in settings.protocols:
        found = [tuned(turn, seed) for turn, seed in enumerate(settings.seeds)]
        same = of_the_same([*parts, *found])
        parts = [*same[: len(parts)], repeated(same[len(parts) :])]
    return joined(parts)


def _words(encoder: str, seed: int, settings: Settings) -> str:
    return encoder if len(settings.seeds) == 1 else f"{encoder}, seed {seed}"


def _chance(features: Features, outcomes: dict[str, Outcomes]) -> dict[str, float]:
    if not outcomes:
        return {}
    labelled = features.only(lambda record: bool(record.label))
    return chance_of(labelled, next(iter(outcomes.values())).names)


def _interval(outcomes: Outcomes, name: str) -> tuple[float, float]:
    low, high = interval(outcomes.of(name), outcomes.labels, per_class=name.endswith(PER_CLASS))
    return 100 * low, 100 * high
