"""Videos, three methods trained on them alike, evaluation, audit, and the report of it all."""

import dataclasses
import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from kinevec import config as configuration
from kinevec import encoders
from kinevec.config import Config
from kinevec.data.lock import alone, in_turn
from kinevec.data.source import Collection
from kinevec.data.synthetic import SynthConfig
from kinevec.demo.report import demo_report
from kinevec.errors import CheckpointError, KinevecError, OutputError
from kinevec.evaluate import evaluation
from kinevec.evaluate.apart import apart
from kinevec.evaluate.audit import AuditConfig, audit
from kinevec.evaluate.audit.masks import masks_of
from kinevec.evaluate.evaluation import Evaluation
from kinevec.evaluate.filed import RESULT, place_for
from kinevec.evaluate.protocols import BASIC, Settings
from kinevec.show.report import write_report
from kinevec.tasks import Silent, Watcher, counter, open_collection, synth
from kinevec.tasks.stopping import stoppable
from kinevec.train import loop
from kinevec.train.checkpoint import has_checkpoint, load_checkpoint
from kinevec.train.loop import clear_unsaved
from kinevec.train.resume import check_entries, known_of

log = logging.getLogger(__name__)

METHODS = {"MoCo": "moco", "MSCL": "mscl", "FIMA": "fima"}  # name → preset
STEPS = 200  # of training each, whatever the number of videos
LIGHT = (
    0.5  # on the backgrounds of the videos that are made: in full light 200 steps learn little of the motion
)
MOST_VIDEOS = 600  # of a larger folder so many are drawn
AUDIT_CLIPS = 2  # a video


def demo(
    out: str | Path = "demo",
    *,
    videos: str | Path | None = None,
    steps: int = STEPS,
    watcher: Watcher | None = None,
) -> tuple[Path, Evaluation]:
    """The main job end to end with all three methods: videos, pretraining, evaluation, audit, and a report.

    Args:
        out: folder for everything. Where a demo was made, or begun, with the same videos and steps, this one goes on
            with its runs. Nothing is removed but what a run wrote that ended before its first checkpoint.
        videos: the user's own folder or list; None: procedural motion videos are made.
        steps: of training each, rounded up to whole epochs.

    Returns:
        The report, an HTML file, and what the evaluation found.

    Raises:
        OutputError: another process makes a demo there, or the folder holds the runs of another demo.
        Interrupted: by Ctrl-C or SIGTERM; what was done is kept.
    """
    folder = Path(out)
    kept = stoppable(f"videos and runs are kept in {folder}, and the same demo goes on with them")
    with alone(folder, "making a demo here"), kept:
        return _made(folder, Path(videos) if videos else None, steps, watcher or Silent())


def _made(folder: Path, videos: Path | None, steps: int, watcher: Watcher) -> tuple[Path, Evaluation]:
    begun = time.perf_counter()
    runs = {name: folder / "runs" / preset for name, preset in METHODS.items()}
    source = videos or folder / "videos"
    if videos is None:
        synth(source, SynthConfig(light=LIGHT), watcher=watcher)
    everything = open_collection(source, configuration.load("moco"), watcher, most=MOST_VIDEOS)
    evaluation.check(everything)
    train = everything.only(lambda record: record.split == "train")
    configs = {
        name: _fitted(configuration.load(preset), len(train), steps) for name, preset in METHODS.items()
    }
    earlier = {name: _earlier(configs[name], run, train) for name, run in runs.items()}
    for name, config in configs.items():
        if earlier[name] == "finished":
            log.info("%s: is trained already", runs[name])
        else:
            _train(name, config, train, runs[name], watcher, resume=earlier[name] == "begun")
    loaded = {name: encoders.load(run) for name, run in runs.items()}
    (first, chosen), *rest = loaded.items()
    encoding = counter(watcher, "encoding")
    settings = Settings(protocols=BASIC)
    result = evaluation.evaluate(
        chosen, everything, name=first, beside=dict(rest), settings=settings, progress=encoding
    )
    data = {**result.facts["data"], "folder": str(source)}
    result = dataclasses.replace(result, facts=result.facts | {"data": data})
    result.write(folder / RESULT)
    if result.scores:
        _file(apart(result, loaded, settings), runs)
    card = None
    if result.scores:
        card = audit(
            chosen,
            everything,
            AuditConfig(clips=AUDIT_CLIPS, examples=0),
            name=first,
            beside=dict(rest),
            masks=masks_of(source),
            progress=counter(watcher, "auditing"),
        )
        card.write(folder / "audit.json")
    report = folder / "report.html"
    minutes = f"{(time.perf_counter() - begun) / 60:.1f}" + (
        ", with runs that were begun before" if any(earlier.values()) else ""
    )
    page = demo_report(runs, configs, result, card, loaded, procedural=videos is None, minutes=minutes)
    write_report(report, page)
    return report, result


@contextmanager
def _ours(run: Path) -> Iterator[None]:
    """Of a run that this demo cannot go on with it says what to do."""
    try:
        yield
    except CheckpointError as error:
        raise OutputError(
            f"{run} cannot be gone on with: {error}. A demo with other videos or steps, or by another version of kinevec, wants "
            "a folder of its own: --out, or make demo OUT=…"
        ) from error


def _earlier(config: Config, run: Path, train: Collection) -> Literal["", "begun", "finished"]:
    """How far a run has come that lies there; one of another configuration is refused before anything is trained."""
    if not has_checkpoint(run):
        clear_unsaved(run)
        return ""
    with _ours(run):
        state = load_checkpoint(run, config)
        check_entries(run, state)
    finished = state["step"] >= state["facts"].get("steps", math.inf) and state["videos"] == known_of(train)
    return "finished" if finished and _is_whole(run, state) else "begun"


def _is_whole(run: Path, state: Mapping[str, Any]) -> bool:
    """Whether the encoder is that of the checkpoint, which a process that was killed between the two did not write."""
    with suppress(KinevecError):
        return not state["damaged"] and encoders.load(run).step == state["step"]
    return False


def _train(
    name: str, config: Config, train: Collection, run: Path, watcher: Watcher, *, resume: bool
) -> None:
    training = counter(watcher, f"training {name}")
    with _ours(run):
        loop.pretrain(
            config,
            train,
            run,
            resume=resume,
            on_status=lambda status: training(status.step, status.total),
            on_decode=counter(watcher, f"decoding for {name}"),
            on_flow=counter(watcher, f"computing flow for {name}"),
        )


def _file(evaluations: Mapping[str, Evaluation], runs: Mapping[str, Path]) -> None:
    """Writes the evaluation of each run to its folder, as `kinevec eval` does, for `kinevec compare` and --against."""
    for name, found in evaluations.items():
        with in_turn(runs[name]):
            found.write(place_for(runs[name], found.content).path)


def _fitted(config: Config, videos: int, steps: int) -> Config:
    """The configuration for so many videos: about `steps` steps, and a queue well below their number."""
    epochs = max(1, math.ceil(steps / max(1, videos // min(config.train.batch, videos))))
    return dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, epochs=epochs, warmup_epochs=0.05 * epochs),
        method=dataclasses.replace(config.method, queue=max(1, min(config.method.queue, videos // 2))),
    )
