"""What is refused, and what is warned of, before videos are decoded for an evaluation."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from kinevec.config import Clip
from kinevec.data.records import Record
from kinevec.data.source import Collection
from kinevec.errors import DataError, InputError
from kinevec.evaluate.protocols import Settings
from kinevec.train.seen import count_seen

log = logging.getLogger(__name__)


def check(collection: Collection) -> None:
    """Refuses a collection that cannot be scored, before anything is decoded.

    Raises:
        DataError: the train or the test split is empty, or has no labels where the other has; there is one label
            alone, or no test video has a label of the train split.
    """
    splits = {name: [r for r in collection.records if r.split == name] for name in ("train", "test")}
    for name, records in splits.items():
        if not records:
            found = Counter(record.split or "no split" for record in collection.records)
            counts = ", ".join(f"{count} in {split}" for split, count in sorted(found.items()))
            raise DataError(
                f"no video belongs to the {name} split (found: {counts or 'no video'}); evaluation compares test with train "
                "videos. Name both in the list's column 'split', or leave that out: then a quarter is held out"
            )
    labelled = {name: sum(bool(record.label) for record in records) for name, records in splits.items()}
    if any(labelled.values()) and not all(labelled.values()):
        raise DataError(
            f"labelled videos: {labelled['train']} in train, {labelled['test']} in test; both splits need some "
            "to be scored (or none at all)"
        )
    if all(labelled.values()):
        _check_labels(splits["train"], [record for record in splits["test"] if record.label])


def _check_labels(train: Sequence[Record], test: Sequence[Record]) -> None:
    """Refuses labels among which there is nothing to tell apart; warns of test videos that cannot be found right."""
    known = sorted({record.label for record in train if record.label})
    if len(known) < 2:
        raise DataError(
            f"the {sum(bool(record.label) for record in train)} labelled videos of the train split have one label "
            f"('{known[0]}'); scores need at least 2 to tell apart"
        )
    asked = {record.label for record in test if record.label}
    if len(asked) == 1:
        log.warning(
            "all labelled test videos have one label ('%s'); retrieval, which centres them by their own mean, takes away "
            "what they have in common, so that R@k says little",
            next(iter(asked)),
        )
    new = sorted(asked - set(known))
    if not new:
        return
    count = sum(record.label in new for record in test)
    said = f"{count} of {len(test)} labelled test videos have a label that no train video has ('{new[0]}')"
    if count == len(test):
        raise DataError(f"{said}; nothing can be scored")
    log.warning("%s; they cannot be found right", said)


def check_shots(collection: Collection, settings: Settings) -> None:
    """Refuses few-shot with more videos of each class than a class has.

    Raises:
        InputError: names the smallest class.
    """
    if "few-shot" not in settings.protocols:
        return
    train = [record for record in collection.records if record.split == "train"]
    counts = Counter(record.label for record in train if record.label)
    if not counts:
        return
    label, least = min(counts.items(), key=lambda item: (item[1], item[0]))
    if max(settings.shots) > least:
        raise InputError(
            f"{max(settings.shots)} shots: class '{label}' has {least} training videos, so that no more than "
            f"{least}-shot can be said of all {len(counts)} classes. Lower --shots, or leave the class out"
        )


def warn_neighbours(collection: Collection, settings: Settings) -> None:
    """Warns where more neighbours are to vote in knn than there are."""
    count = sum(record.split == "train" and bool(record.label) for record in collection.records)
    if "knn" in settings.protocols and 0 < count < settings.k:
        log.warning(
            "knn: %d neighbours are to vote, but there are %d labelled training videos: all of them vote",
            *(settings.k, count),
        )


def warn_looped(collection: Collection, clip: Clip) -> int:
    """How many videos are shorter than a clip and must be looped; warns of any."""
    count = sum(info.frames < clip.span for info in collection.infos)
    if count:
        log.warning(
            "%d of %d videos are shorter than a clip (%d frames: %d at stride %d) and are looped",
            *(count, len(collection), clip.span, clip.frames, clip.stride),
        )
    return count


def trained_on(run: Path, collection: Collection) -> int | None:
    """How many test videos the run was pretrained on; warns of any. None where the run does not say."""
    test = [record for record in collection.records if record.split == "test"]
    count = count_seen(run, test)
    if count:
        log.warning(
            "%d of %d test videos were trained on by %s (without labels); give pretraining and evaluation the same "
            "list, or name the splits in it",
            *(count, len(test), run),
        )
    return count
