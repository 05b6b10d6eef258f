"""An audit from videos to figures."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinevec.data.source import Collection, Progress
from kinevec.encoders import UNTRAINED, Loaded
from kinevec.errors import DataError
from kinevec.evaluate.audit import scores as scoring
from kinevec.evaluate.audit.collect import Collected, collect
from kinevec.evaluate.audit.figures import FIGURES, Estimate, bootstrap, lost, share, survives
from kinevec.evaluate.audit.masks import EstimatedMasks, Masks
from kinevec.evaluate.audit.result import Audit, Scores
from kinevec.evaluate.audit.scores import Floats, Given
from kinevec.evaluate.audit.settings import BACKGROUND, CONDITIONS, ORIGINAL, REVERSED, AuditConfig
from kinevec.evaluate.cache import clips_made
from kinevec.evaluate.checks import check, trained_on, warn_looped
from kinevec.evaluate.copies import count_copies
from kinevec.evaluate.encode import ClipEncoder
from kinevec.evaluate.features import Features
from kinevec.evaluate.outcomes import BEFORE, TRAINED
from kinevec.runtime import provenance
from kinevec.train.checkpoint import untrained_encoder

log = logging.getLogger(__name__)


def audit(
    loaded: Loaded,
    collection: Collection,
    settings: AuditConfig | None = None,
    *,
    name: str = TRAINED,
    beside: Mapping[str, Loaded] | None = None,
    masks: Masks | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Audit:
    """Scores an encoder on videos as they are and changed, and says what its score rests on.

    Args:
        loaded: the encoder; it is not trained any further.
        collection: labelled videos with a train and a test split. Videos without a label are left out.
        settings: see there.
        name: that the encoder goes by; one of `untrained:NAME` goes by that.
        beside: further encoders by their names, whose clips are made alike; they are audited in the same pass.
        masks: where the foreground of the videos is; None: estimated from the frames.
        device: where to compute.

    Raises:
        DataError: a split is empty, the training videos have fewer than two labels, or no video decodes.
        ValueError: the clips of the encoders are not made alike.
    """
    settings, masks = settings or AuditConfig(), masks or EstimatedMasks()
    check(collection)
    labelled = collection.only(lambda record: record.split in ("train", "test") and bool(record.label))
    _check_labels(labelled)
    before = loaded.source.startswith(UNTRAINED)  # then there is nothing to set beside it
    chosen = {BEFORE if before else name: loaded, **(beside or {})}
    if len({clips_made(one) for one in chosen.values()}) > 1:
        raise ValueError(f"the clips of {', '.join(chosen)} differ in shape or normalisation")
    encoders = {key: ClipEncoder(one.encoder, one.config, device) for key, one in chosen.items()}
    if settings.untrained and not before:
        encoders[BEFORE] = ClipEncoder(untrained_encoder(loaded.config), loaded.config, device)
    counted = {
        "test_seen_in_training": trained_on(Path(loaded.source), labelled),
        "test_copies_of_training": count_copies(labelled, Path(loaded.source)),
        "looped": warn_looped(labelled, loaded.config.clip),
    }
    found = collect(encoders, labelled, settings, masks, progress)
    kept = next(iter(found.features.values()))[ORIGINAL].collection
    check(kept)  # again: some may have failed to decode
    _check_labels(kept)
    known = int(np.isfinite(found.foreground).sum())
    if known < len(kept):
        log.warning(
            "a foreground that can be used was found in %d of %d videos; the others are left out where backgrounds "
            "are swapped",
            *(known, len(kept)),
        )
    cards = {name: _Card(features, found, settings) for name, features in found.features.items()}
    first = next(iter(cards.values()))
    return Audit(
        figures={name: card.figures() for name, card in cards.items()},
        scores={name: card.scores() for name, card in cards.items()},
        chance={metric: 100 * float(values.mean()) for metric, values in first.chance.items()},
        similarity={name: card.similarity() for name, card in cards.items()},
        examples=found.examples,
        facts=_facts(loaded, kept, found, settings, masks, device, first, counted),
    )


def _check_labels(collection: Collection) -> None:
    if not len(collection):
        raise DataError("no video has a label; an audit needs at least 2 labels to tell apart")


class _Card:
    """The scores and figures of one encoder."""

    def __init__(self, features: Mapping[str, Features], found: Collected, settings: AuditConfig) -> None:
        original = features[ORIGINAL]
        records = original.collection.records
        self.features, self.settings = features, settings
        train, test = original.split("train").labels, original.split("test").labels
        is_test = np.array([record.split == "test" for record in records])
        self.truth = np.array(test)
        self.donors = found.donors[is_test]
        self.swapped = self.donors != ""
        names = {record.name for record, other in zip(records, found.donors, strict=True) if other}
        self.given: Given = scoring.given(features, names)
        # Retrieval centres the queries, so that what is set beside swapped videos is asked in the same company.
        whole = original.split("train")
        self.before = {BACKGROUND: {scoring.R1: scoring.nearest(original.split("test"), whole, names)}}
        self.chance = scoring.chance(train, test)
        self.donor_chance = (
            scoring.chance(train, self.donors[self.swapped].tolist()) if self.swapped.any() else {}
        )
        self.directions = scoring.direction(original, features[REVERSED])

    def counted(self, condition: str) -> NDArray[np.bool_]:
        """(Q,) which test videos a condition is judged on."""
        return self.swapped if condition == BACKGROUND else np.ones(len(self.truth), dtype=bool)

    def scores(self) -> Scores:
        return {
            condition: {
                side: {metric: self._score(condition, labels) for metric, labels in metrics.items()}
                for side, metrics in self.given[condition].items()
            }
            for condition in CONDITIONS
            if condition in self.given
        }

    def figures(self) -> dict[str, dict[str, Estimate]]:
        return {
            key: self._figure(key)
            for key, figure in FIGURES.items()
            if figure.condition in self.given and figure.side in self.given[figure.condition]
        }

    def similarity(self) -> dict[str, float]:
        original = self.features[ORIGINAL]
        return {
            condition: scoring.similarity(changed, original, self.counted(condition))
            for condition, changed in self.features.items()
            if self.counted(condition).any()
        }

    def _score(self, condition: str, labels: NDArray[np.str_]) -> Estimate:
        return self._share((labels == self.truth)[self.counted(condition)].astype(np.float64))

    def _share(self, hits: Floats) -> Estimate:
        return share(hits, self.settings.resamples, self.settings.seed)

    def _figure(self, key: str) -> dict[str, Estimate]:
        figure = FIGURES[key]
        if key == "arrow":
            return {scoring.LINEAR: self._share(self.directions)}
        given = self.given[figure.condition][figure.side]
        if key == "follows":
            return {
                metric: self._share((labels == self.donors)[self.swapped].astype(np.float64))
                for metric, labels in given.items()
            }
        result = {
            metric: self._survives(figure.condition, metric, labels) for metric, labels in given.items()
        }
        return {metric: lost(value) for metric, value in result.items()} if figure.kind == "lost" else result

    def _survives(self, condition: str, metric: str, labels: NDArray[np.str_]) -> Estimate:
        rows = self.counted(condition)
        if rows.sum() < 2:
            changed = "only one test video" if rows.any() else "no test video"
            return Estimate(None, undefined=f"{changed} could be changed in this way")
        original = self.before.get(condition, {}).get(metric, self.given[ORIGINAL]["queries"][metric])
        draws = bootstrap(int(rows.sum()), self.settings.resamples, self.settings.seed)
        now, before = ((found == self.truth)[rows].astype(np.float64) for found in (labels, original))
        return survives(now, before, self.chance[metric][rows], draws)


def _facts(
    loaded: Loaded,
    kept: Collection,
    found: Collected,
    settings: AuditConfig,
    masks: Masks,
    device: str,
    card: _Card,
    counted: Mapping[str, int | None],
) -> dict[str, Any]:
    test = [record for record in kept.records if record.split == "test"]
    known = found.foreground[np.isfinite(found.foreground)]
    return {
        "task": "the same frozen encoder scored on videos as they are and changed",
        "data": {
            "train": len(kept) - len(test),
            "test": len(test),
            "classes": len({record.label for record in kept.records}),
            "rejected": {item.name: item.reason for item in kept.rejected},
            **counted,
        },
        "protocol": {
            "clips": settings.clips,
            "view": "central square",
            "seed": settings.seed,
            "intervals": f"95 %, {settings.resamples} bootstrap samples of the test videos; where they are few, or "
            "nearly all alike, score intervals",
            "conditions": CONDITIONS,
            "faster_by_median": float(np.median(found.faster)),
        },
        "masks": {
            "source": masks.source,
            "estimated": isinstance(masks, EstimatedMasks),
            "videos_with_foreground": len(known),
            "foreground_share_median": float(np.median(known)) if len(known) else None,
            "test_videos_swapped": int(card.swapped.sum()),
            "chance_to_follow": {
                metric: 100 * float(values.mean()) for metric, values in card.donor_chance.items()
            },
        },
        "encoder": {
            "source": loaded.source,
            "name": loaded.config.model.name,
            "terms": loaded.config.terms.names,
            "step": loaded.step,
            "seed": loaded.config.train.seed,
            "identity": loaded.identity,
        },
        "provenance": provenance(device),
    }
