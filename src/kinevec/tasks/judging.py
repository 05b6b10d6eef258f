"""Judging an encoder."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from kinevec import encoders
from kinevec.cluster import Cluster
from kinevec.encoders import Loaded
from kinevec.errors import DataError, InputError
from kinevec.evaluate import evaluation
from kinevec.evaluate.cache import FeatureCache
from kinevec.evaluate.compare import Comparison
from kinevec.evaluate.compare import compare as compare_contents
from kinevec.evaluate.evaluation import Evaluation
from kinevec.evaluate.on_ray import OnRay
from kinevec.evaluate.protocols import FINETUNE, Settings
from kinevec.evaluate.result import read_result
from kinevec.evaluate.runs import check_repetitions, merged
from kinevec.show.confusion import write_confusion
from kinevec.tasks.videos import open_collection
from kinevec.tasks.watcher import Silent, Watcher, check_writable, counter
from kinevec.train.loop import FACTS

RESULT = "eval.json"
FEATURES = "features"  # in a run's folder

Place = str | Path


def evaluate(
    run: Place | Sequence[Place],
    data: Place,
    *,
    out: Place | None = None,
    settings: Settings | None = None,
    clips: int | None = None,
    untrained: bool = True,
    device: str = "auto",
    cluster: Cluster | None = None,
    cache: Place | Literal["auto"] | None = "auto",
    save: Place | None = None,
    figures: bool = False,
    against: Place | None = None,
    watcher: Watcher | None = None,
) -> Evaluation:
    """Scores an encoder on labelled videos, beside the untrained encoder and chance.

    Args:
        run: a run's folder, or another place that `kinevec.encoders.load` knows; several are runs of one
            configuration with different seeds, and come out as their mean.
        data: as for `pretrain`; where the data name no split, the same videos are held out as there.
        out: JSON file to write; None: `eval.json` in the run's folder, of several runs beside the first.
        settings: which protocols and how; None: retrieval, linear probe and nearest neighbours.
        clips: clips a video, where they are to be others than those of the settings.
        untrained: also score the encoder as it was before training.
        device: where to compute.
        cluster: compute the features there instead; all that is done with them is done here.
        cache: folder for features; "auto": `features` in the folder of each run; None: they are not kept.
        save: file for the fine-tuned classifier.
        figures: also write a confusion matrix of each classifier beside the JSON, as PNG.
        against: an earlier JSON; the differences to it come under `facts["against"]`.

    Raises:
        InputError: no place for the JSON, runs that are no repetitions of each other, or nothing to compare with.
        DataError: the videos have no labels; as for `evaluation.check`.
    """
    watcher = watcher or Silent()
    places = [run] if isinstance(run, str | Path) else list(run)
    settings = settings or Settings()
    settings = settings if clips is None else replace(settings, clips=clips)
    _check_save(save, places, settings)
    other = read_result(Path(against)) if against else None
    loaded = [encoders.load(place) for place in places]
    target = Path(out) if out else default_target(places)
    check_repetitions(loaded)
    check_writable(target)
    collection = open_collection(data, loaded[0].config, watcher)
    if not any(record.label for record in collection.records):
        raise DataError(
            f"{data}: none of {len(collection)} videos has a label, so there is nothing to score. Give one folder "
            "per class or a CSV with labels; to look at neighbours instead: kinevec demo --videos FOLDER"
        )
    found = [
        evaluation.evaluate(
            one,
            collection,
            settings=settings,
            untrained=untrained,
            device=device,
            extractor=OnRay(cluster) if cluster else None,
            cache=_cache(one, cache),
            save=Path(save) if save else None,
            progress=counter(watcher, "encoding"),
            on_finetune=counter(watcher, "fine-tuning"),
        )
        for one in loaded
    ]
    result = found[0] if len(found) == 1 else merged(found)
    if other is not None:
        compared = compare_contents(result.content, other).content
        result = replace(result, facts=result.facts | {"against": {"file": str(against), **compared}})
    result.write(target)
    if figures:
        _write_figures(result, target)
    return result


def compare(first: Place, second: Place) -> Comparison:
    """The differences of two evaluations on the same test videos, from their JSON files.

    Raises:
        InputError: one cannot be read, or they saw other test videos.
    """
    return compare_contents(read_result(Path(first)), read_result(Path(second)))


def default_target(places: Sequence[Place]) -> Path:
    """The JSON file that `evaluate` writes where none is named.

    Raises:
        InputError: the encoder lies in no folder.
    """
    first = Path(places[0])
    if not first.is_dir():
        raise InputError(f"{first} is no folder of a run: name the JSON file to write with --out")
    return (first.resolve().parent if len(places) > 1 else first) / RESULT


def _check_save(save: Place | None, places: Sequence[Place], settings: Settings) -> None:
    if save is not None and (FINETUNE not in settings.protocols or len(places) > 1):
        raise InputError(
            "a classifier is saved of one encoder that is fine-tuned: add finetune to --protocols"
        )
    if save is not None:
        check_writable(Path(save))


def _cache(loaded: Loaded, cache: Place | None) -> FeatureCache | None:
    if cache == "auto":
        run = Path(loaded.source)
        return FeatureCache(run / FEATURES) if (run / FACTS).is_file() else None
    return FeatureCache(Path(cache)) if cache is not None else None


def _write_figures(result: Evaluation, target: Path) -> None:
    for encoder, found in result.outcomes.items():
        for protocol, predicted in found.predicted.items():
            part = re.sub(r"[^\w-]+", "-", f"{encoder}-{protocol}")
            percent = result.scores[encoder][f"{protocol} top-1"]
            write_confusion(
                target.with_name(f"{target.stem}-confusion-{part}.png"),
                found.labels,
                predicted,
                f"{protocol}, {encoder} encoder: {percent:.1f} % of {len(found.videos)} test videos right",
            )
