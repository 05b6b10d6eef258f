"""Features of every video under every condition, each file decoded once for all conditions and encoders."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kinevec.data.source import Collection, Progress
from kinevec.errors import DataError, VideoError
from kinevec.evaluate.audit import settings
from kinevec.evaluate.audit.background import cycles, draw_donors
from kinevec.evaluate.audit.masks import Masks
from kinevec.evaluate.audit.scenes import Scene, read_scene, swapped
from kinevec.evaluate.audit.settings import AuditConfig
from kinevec.evaluate.encode import ClipEncoder
from kinevec.evaluate.features import Features

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Example:
    """A test video to look at.

    Attributes:
        name, label: of the video.
        background_of: label of the video whose background it was given; None where it was not.
        clips: condition → its middle clip, uint8 (T, S, S, 3).
    """

    name: str
    label: str
    background_of: str | None
    clips: Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Collected:
    """What was found of V videos.

    Attributes:
        features: encoder → condition → features of all videos; of a video without a mask, the swapped
            background stands for the original.
        donors: (V,) label of the video whose background each was given, "" where it was not.
        faster: (V,) by how much the faster clips are.
        foreground: (V,) share of the pixels that the foreground covers, NaN where none was found.
        examples: test videos to look at.
    """

    features: dict[str, dict[str, Features]]
    donors: NDArray[np.str_]
    faster: NDArray[np.float64]
    foreground: NDArray[np.float64]
    examples: tuple[Example, ...]


def collect(
    encoders: Mapping[str, ClipEncoder],
    collection: Collection,
    audit: AuditConfig,
    masks: Masks,
    progress: Progress | None = None,
) -> Collected:
    """Decodes every video once, changes it in every way, and encodes all of it with every encoder.

    Backgrounds go round in rings of videos of the same split, so that three videos are held at a time. A video that
    fails to decode is left out and listed in the collection's `rejected`.

    Raises:
        DataError: not one video decodes.
    """
    work = _Work(encoders, collection, audit, masks, progress)
    for ring in _rings(collection, audit.seed):
        first: Scene | None = None
        before: Scene | None = None
        for index in ring:
            scene = work.read(index)
            if scene is None:
                continue
            if before is None:
                first = scene
            else:
                work.swap(scene, before)
            before = scene
        if first is not None and before is not None:
            work.swap(first, before)
    return work.done()


def _rings(collection: Collection, seed: int) -> list[list[int]]:
    rings = []
    rng = np.random.default_rng(seed)
    for split in ("train", "test"):
        places = [i for i, record in enumerate(collection.records) if record.split == split]
        donors = draw_donors([collection.records[i].label or "" for i in places], rng)
        rings += [[places[i] for i in ring] for ring in cycles(donors)]
    return rings


def _shown(collection: Collection, count: int, seed: int) -> set[str]:
    """Names of some test videos, of labels as different as there are."""
    test = [record for record in collection.records if record.split == "test"]
    order = np.random.default_rng(seed).permutation(len(test))
    by_label: dict[str, list[str]] = {}
    for i in order:
        by_label.setdefault(test[i].label or "", []).append(test[i].name)
    rows = sorted(by_label.values(), key=lambda names: names[0])
    turns = [name for turn in range(count) for names in rows for name in names[turn : turn + 1]]
    step = max(1, len(rows) // max(count, 1))
    return set(list(dict.fromkeys([*turns[: len(rows) : step], *turns]))[:count])


@dataclass
class _Work:
    """An audit's features as they come in."""

    encoders: Mapping[str, ClipEncoder]
    collection: Collection
    audit: AuditConfig
    masks: Masks
    progress: Progress | None
    rows: dict[str, dict[str, dict[str, NDArray[np.float32]]]] = field(default_factory=dict)
    scenes: dict[str, tuple[float, float]] = field(default_factory=dict)  # speed, share of the foreground
    donors: dict[str, str] = field(default_factory=dict)
    examples: dict[str, Example] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shown = _shown(self.collection, self.audit.examples, self.audit.seed)

    def read(self, index: int) -> Scene | None:
        record, info = self.collection.records[index], self.collection.infos[index]
        scene = None
        try:
            scene = read_scene(
                record, info, next(iter(self.encoders.values())).config, self.audit, self.masks
            )
        except VideoError as error:
            log.warning("left out %s: %s", record.name, error.reason)
            self.failed[index] = error.reason
        else:
            self._encode(scene, scene.clips)
            area = np.nan if scene.opacity is None else float(scene.opacity.mean())
            self.scenes[record.name] = (scene.faster, area)
        if self.progress:
            self.progress(len(self.scenes) + len(self.failed), len(self.collection))
        return scene

    def swap(self, scene: Scene, donor: Scene) -> None:
        clips = swapped(scene, donor)
        if clips is not None:
            self.donors[scene.record.name] = donor.record.label or ""
            self._encode(scene, {settings.BACKGROUND: clips})

    def _encode(self, scene: Scene, clips: Mapping[str, NDArray[np.uint8]]) -> None:
        name = scene.record.name
        for encoder, encode in self.encoders.items():
            found = np.split(encode(np.concatenate(list(clips.values()))), len(clips))
            for condition, features in zip(clips, found, strict=True):
                self.rows.setdefault(encoder, {}).setdefault(condition, {})[name] = features
        if name in self.shown:
            before = self.examples[name].clips if name in self.examples else {}
            middle = {condition: every[len(every) // 2] for condition, every in clips.items()}
            donor = self.donors.get(name)
            self.examples[name] = Example(name, scene.record.label or "", donor, {**before, **middle})

    def done(self) -> Collected:
        kept = self.collection.without(self.failed)
        if not len(kept):
            index, reason = next(iter(self.failed.items()))
            name = self.collection.records[index].name
            raise DataError(f"none of {len(self.collection)} videos decodes; the first, {name}: {reason}")
        names = list(kept.names())
        features = {
            encoder: {
                condition: Features(_stacked(names, found, rows[settings.ORIGINAL]), kept)
                for condition, found in rows.items()
            }
            for encoder, rows in self.rows.items()
        }
        faster, foreground = np.array([self.scenes[name] for name in names], np.float64).T
        donors = np.array([self.donors.get(name, "") for name in names])
        return Collected(features, donors, faster, foreground, tuple(self.examples.values()))


def _stacked(
    names: Sequence[str], found: Mapping[str, NDArray[np.float32]], else_: Mapping[str, NDArray[np.float32]]
) -> NDArray[np.float32]:
    return np.stack([found[name] if name in found else else_[name] for name in names])
