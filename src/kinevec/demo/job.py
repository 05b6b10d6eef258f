"""Videos, three methods trained on them alike, evaluation, audit, and the report of it all."""

import dataclasses
import math
import shutil
import time
from pathlib import Path

from kinevec import config as configuration
from kinevec import encoders
from kinevec.config import Config
from kinevec.data.lock import alone
from kinevec.data.source import Collection
from kinevec.data.synthetic import SynthConfig
from kinevec.demo.report import demo_report
from kinevec.errors import OutputError
from kinevec.evaluate import evaluation
from kinevec.evaluate.audit import AuditConfig, audit
from kinevec.evaluate.evaluation import Evaluation
from kinevec.show.report import write_report
from kinevec.tasks import Silent, Watcher, counter, open_collection, synth
from kinevec.train import loop

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
        out: folder for everything; a demo made there before is replaced.
        videos: the user's own folder or list; None: procedural motion videos are made.
        steps: of training each.

    Returns:
        The report, an HTML file, and what the evaluation found.

    Raises:
        OutputError: another process makes a demo there, or the folder holds other runs than those of a demo.
    """
    folder = Path(out)
    with alone(folder, "making a demo here"):
        return _made(folder, Path(videos) if videos else None, steps, watcher or Silent())


def _made(folder: Path, videos: Path | None, steps: int, watcher: Watcher) -> tuple[Path, Evaluation]:
    begun = time.perf_counter()
    runs = {name: folder / "runs" / preset for name, preset in METHODS.items()}
    _clear(folder / "runs")
    source = videos or folder / "videos"
    if videos is None:
        synth(source, SynthConfig(light=LIGHT), watcher=watcher)
    everything = open_collection(source, configuration.load("moco"), watcher, most=MOST_VIDEOS)
    evaluation.check(everything)
    train = everything.only(lambda record: record.split == "train")
    configs = {
        name: _fitted(configuration.load(preset), len(train), steps) for name, preset in METHODS.items()
    }
    for name, config in configs.items():
        _train(name, config, train, runs[name], watcher)
    loaded = {name: encoders.load(run) for name, run in runs.items()}
    (first, chosen), *rest = loaded.items()
    encoding = counter(watcher, "encoding")
    result = evaluation.evaluate(chosen, everything, name=first, beside=dict(rest), progress=encoding)
    result.write(folder / "eval.json")
    card = None
    if result.scores:
        card = audit(
            chosen,
            everything,
            AuditConfig(clips=AUDIT_CLIPS, examples=0),
            name=first,
            beside=dict(rest),
            progress=counter(watcher, "auditing"),
        )
        card.write(folder / "audit.json")
    report = folder / "report.html"
    minutes = (time.perf_counter() - begun) / 60
    page = demo_report(runs, configs, result, card, loaded, procedural=videos is None, minutes=minutes)
    write_report(report, page)
    return report, result


def _clear(runs: Path) -> None:
    """Removes the runs of a demo made before; refuses to remove anything else."""
    if not runs.exists():
        return
    others = {path.name for path in runs.iterdir()} - set(METHODS.values()) if runs.is_dir() else {runs.name}
    if others:
        raise OutputError(
            f"{runs}: holds more than the runs of a demo ({', '.join(sorted(others))}); choose another folder"
        )
    shutil.rmtree(runs)


def _train(name: str, config: Config, train: Collection, run: Path, watcher: Watcher) -> None:
    training = counter(watcher, f"training {name}")
    loop.pretrain(
        config,
        train,
        run,
        on_status=lambda status: training(status.step, status.total),
        on_decode=counter(watcher, f"decoding for {name}"),
        on_flow=counter(watcher, f"computing flow for {name}"),
    )


def _fitted(config: Config, videos: int, steps: int) -> Config:
    """The configuration for so many videos: about `steps` steps, and a queue well below their number."""
    epochs = max(1, math.ceil(steps / max(1, videos // min(config.train.batch, videos))))
    return dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, epochs=epochs, warmup_epochs=0.05 * epochs),
        method=dataclasses.replace(config.method, queue=max(1, min(config.method.queue, videos // 2))),
    )
