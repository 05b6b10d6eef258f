"""Judging an encoder."""

import re
import shlex
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from kinevec import encoders
from kinevec.cluster import Cluster
from kinevec.data import Collection
from kinevec.data.lock import in_turn
from kinevec.data.source import Progress
from kinevec.data.whole import make_folder
from kinevec.encoders import Loaded
from kinevec.errors import DataError, InputError, LateError, OutputError, UsageError
from kinevec.evaluate import evaluation
from kinevec.evaluate.cache import FeatureCache
from kinevec.evaluate.classifier import is_classifier
from kinevec.evaluate.compare import Comparison, check_scores, check_videos
from kinevec.evaluate.compare import compare as compare_contents
from kinevec.evaluate.evaluation import Evaluation
from kinevec.evaluate.filed import RESULT, Filed, is_evaluation, place_for, read_evaluation
from kinevec.evaluate.on_ray import OnRay
from kinevec.evaluate.protocols import FINETUNE, Settings, hits_of
from kinevec.evaluate.runs import check_repetitions, merged
from kinevec.show.confusion import write_confusion
from kinevec.tasks.stopping import stoppable
from kinevec.tasks.videos import open_collection
from kinevec.tasks.watcher import Silent, Watcher, check_writable, counter
from kinevec.train.loop import FACTS

FEATURES = "features"  # in a run's folder

Place = str | Path


@stoppable("nothing earlier is lost; features of encoders that were through are kept, where they are to be")
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
        out: JSON file to write; None: `eval.json` in the run's folder, of several runs beside the first. Another
            evaluation that is there stays, and this one gets a name of its own (`kinevec.evaluate.filed`); the
            result's `filed` says which.
        settings: which protocols and how; None: retrieval, linear probe and nearest neighbours.
        clips: clips a video, where they are to be others than those of the settings.
        untrained: also score the encoder as it was before training.
        device: where to compute.
        cluster: compute the features there instead; all that is done with them is done here.
        cache: folder for features; "auto": `features` in the folder of each run; None: they are not kept.
        save: file for the fine-tuned classifier.
        figures: also write a confusion matrix of each classifier beside the JSON, as PNG.
        against: an earlier evaluation, see `kinevec.evaluate.filed.read_evaluation`; the differences to it come under
            `facts["against"]`.

    Raises:
        InputError: no place for the JSON, runs that are no repetitions of each other, or nothing to compare with.
        Interrupted: by Ctrl-C or SIGTERM.
        OutputError: `out` is a folder, or cannot be written.
        LateError: what could be told only after the work: a full disk, or test videos that one evaluation could read and
            the other not. What could be written is; the error carries the evaluation.
        DataError: the videos have no labels; as for `evaluation.check`.
    """
    watcher = watcher or Silent()
    places = [run] if isinstance(run, str | Path) else list(run)
    settings = settings or Settings()
    settings = settings if clips is None else replace(settings, clips=clips)
    _check_save(save, places, settings)
    other = read_evaluation(against) if against else None
    loaded = [encoders.load(place) for place in places]
    target = _json_file(Path(out)) if out else default_folder(places) / RESULT
    check_repetitions(loaded)
    check_writable(target)
    collection = open_collection(data, loaded[0].config, watcher)
    if not any(record.label for record in collection.records):
        raise DataError(
            f"{data}: none of {len(collection)} videos has a label, so there is nothing to score. Give one folder "
            "per class or a CSV with labels. Without labels: "
            f"{shlex.join(['kinevec', 'embed', str(places[0]), str(data), '-o', 'index'])}, then kinevec cluster index "
            "(groups) or kinevec serve index (look, search and label)"
        )
    if other is not None:
        check_videos(_tested(collection, other["data"].get("rejected", {})), other)
        check_scores(hits_of(settings), other)
    late: list[UsageError] = []  # told after all the work, whose result is kept

    def judged(one: Loaded, of: str) -> Evaluation:
        try:
            return evaluation.evaluate(
                one,
                collection,
                settings=settings,
                untrained=untrained,
                device=device,
                extractor=OnRay(cluster) if cluster else None,
                cache=_cache(one, cache),
                save=Path(save) if save else None,
                progress=counter(watcher, f"encoding{of}"),
                on_finetune=_on_finetune(watcher, of),
            )
        except LateError as error:
            late.append(error)
            kept: Evaluation = error.result
            return kept

    found = [judged(one, of) for one, of in zip(loaded, _of(places), strict=True)]
    result = found[0] if len(found) == 1 else merged(found)
    result = replace(result, facts=result.facts | {"data": {**result.facts["data"], "folder": str(data)}})
    if other is not None:
        try:
            compared = compare_contents(result.content, other).content
            result = replace(result, facts=result.facts | {"against": {"file": other["file"], **compared}})
        except InputError as error:
            late.append(error)
    try:
        make_folder(target.parent)
        with in_turn(target.parent):  # from the choice of a name until it is taken
            filed = Filed(target) if out else place_for(target.parent, result.content)
            result.write(filed.path)
        result = replace(result, filed=filed)
        if figures:
            _write_figures(result, filed.path)
    except OutputError as error:
        late.append(error)
    if late:
        raise LateError("; ".join(map(str, late)), result) from late[0]
    return result


def compare(first: Place, second: Place) -> Comparison:
    """The differences of two evaluations on the same test videos, from their JSON files or the folders of these.

    Args:
        first, second: see `kinevec.evaluate.filed.read_evaluation`.

    Raises:
        InputError: one cannot be read, or they saw other test videos.
    """
    return compare_contents(*(read_evaluation(place) for place in (first, second)))


def default_folder(places: Sequence[Place]) -> Path:
    """The folder that `evaluate` writes to where no file is named.

    Raises:
        InputError: the encoder lies in no folder.
    """
    first = Path(places[0])
    if not first.is_dir():
        raise InputError(f"{first} is no folder of a run: name the JSON file to write with --out")
    if len(places) == 1:
        return first
    return first.parent if first.name not in ("", "..") else first.resolve().parent


def _json_file(out: Path) -> Path:
    if out.is_dir():
        raise OutputError(f"{out} is a folder; name the JSON file to write, such as --out {out / RESULT}")
    if out.exists() and not is_evaluation(out):
        raise OutputError(f"{out} is there and is no evaluation; name another file to write")
    return out


def _tested(collection: Collection, without: Container[str]) -> dict[str, str]:
    """Names and labels of the test videos that are to be scored."""
    test = (record for record in collection.records if record.split == "test" and record.name not in without)
    return {record.name: record.label for record in test if record.label}


def _check_save(save: Place | None, places: Sequence[Place], settings: Settings) -> None:
    if save is not None and (FINETUNE not in settings.protocols or len(places) > 1):
        raise InputError(
            "a classifier is saved of one encoder that is fine-tuned: add finetune to --protocols"
        )
    if save is not None:
        check_writable(Path(save))
        if Path(save).exists() and not is_classifier(Path(save)):
            raise OutputError(f"{save} is there and is no fine-tuned classifier; name another file for it")


def _of(places: Sequence[Place]) -> list[str]:
    """How each of several runs is named in a progress line; one alone needs no name."""
    return [f" of {place}" for place in places] if len(places) > 1 else [""]


def _on_finetune(watcher: Watcher, of: str) -> Callable[[str], Progress]:
    return lambda what: counter(watcher, f"fine-tuning {what}{of}")


def _cache(loaded: Loaded, cache: Place | None) -> FeatureCache | None:
    if cache == "auto":
        run = Path(loaded.source)
        return FeatureCache(run / FEATURES) if (run / FACTS).is_file() else None
    return FeatureCache(Path(cache)) if cache is not None else None


def _write_figures(result: Evaluation, target: Path) -> None:
    """Draws a confusion matrix of each classifier beside the JSON."""
    for encoder, found in result.outcomes.items():
        for protocol, predicted in found.predicted.items():
            part = re.sub(r"[^\w-]+", "-", f"{encoder}-{protocol}")
            percent = result.scores[encoder][f"{protocol} top-1"]
            mean = f", mean of {len(predicted)} repetitions" if len(predicted) > 1 else ""
            write_confusion(
                target.with_name(f"{target.stem}-confusion-{part}.png"),
                found.labels,
                predicted,
                f"{protocol}, {encoder} encoder: {percent:.1f} % of {len(found.videos)} test videos right{mean}",
            )
