"""The main job from end to end, with a report to open in a browser."""

import base64
import dataclasses
import json
import math
import shutil
import time
from collections.abc import Mapping
from html import escape
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory

from kinevec import config as configuration
from kinevec import encoders
from kinevec.config import Config
from kinevec.data.lock import alone
from kinevec.data.source import Collection
from kinevec.data.synthetic import SynthConfig
from kinevec.encoders import Loaded
from kinevec.errors import OutputError
from kinevec.evaluate import evaluation
from kinevec.evaluate.audit import Audit, AuditConfig, audit
from kinevec.evaluate.audit.scores import LINEAR
from kinevec.evaluate.evaluation import Evaluation
from kinevec.evaluate.retrieval import neighbours
from kinevec.runtime import provenance
from kinevec.show.audit_panels import figure_panels
from kinevec.show.figures import activation_strip
from kinevec.show.look import look
from kinevec.show.report import Curve, Neighbour, Report, Row, Section, write_report
from kinevec.tasks import Silent, Watcher, counter, open_collection, synth
from kinevec.train import loop
from kinevec.train.log import read_log

METHODS = {"MoCo": "moco", "MSCL": "mscl", "FIMA": "fima"}  # name → preset
STEPS = 200  # of training each, whatever the number of videos
LIGHT = (
    0.5  # on the backgrounds of the videos that are made: in full light 200 steps learn little of the motion
)
MOST_VIDEOS = 600  # of a larger folder so many are drawn
ROWS = 6  # queries whose neighbours the report shows
NEIGHBOURS = 4
LOOKS = 2  # test videos over which the report lays activation maps
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
    page = _demo_report(runs, configs, result, card, loaded, procedural=videos is None, minutes=minutes)
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


def _demo_report(
    runs: Mapping[str, Path],
    configs: Mapping[str, Config],
    result: Evaluation,
    card: Audit | None,
    loaded: Mapping[str, Loaded],
    *,
    procedural: bool,
    minutes: float,
) -> Report:
    data = result.facts["data"]
    steps = next(iter(loaded.values())).step or 0
    summary = [
        f"Small 3-D networks watched {data['train']} videos without labels for {steps} steps each. MoCo learns to "
        "tell clips of the same video from clips of others. MSCL and FIMA also learn from what moves in them: from "
        "optical flow, and from differences between frames.",
        f"All three are judged on {data['test']} videos they never saw, beside the same network untrained.",
    ]
    if procedural:
        summary.append(
            "In these videos only the motion of the object tells the class; its shape and colours and the "
            "background say nothing. Neighbours that share the query's background but not its label show what "
            "training without motion looks at first."
        )
    sections = [_activation(result, loaded)]
    if card is not None:
        sections.insert(0, _report_card(card))
    return Report(
        title="kinevec demo",
        summary=summary,
        scores={name: {key: found[key] for key in result.telling} for name, found in result.scores.items()},
        chance={key: result.chance[key] for key in result.telling},
        curves=_curves(runs, configs),
        rows=_neighbour_rows(result),
        facts=_facts(configs, minutes),
        intervals=result.intervals,
        sections=sections,
    )


def _curves(runs: Mapping[str, Path], configs: Mapping[str, Config]) -> list[Curve]:
    logs = {name: read_log(run) for name, run in runs.items()}
    steps = [entry["step"] for entry in next(iter(logs.values()))]
    guess = math.log(next(iter(configs.values())).method.queue + 1)
    return [
        Curve(
            "Contrastive loss",
            "",
            steps,
            {name: [entry["instance"] for entry in entries] for name, entries in logs.items()},
            "How hard it is to pick the other clip of the same video out of the queue: the term that all three share. "
            f"Lower is better; guessing would give {guess:.2f}.",
        ),
        Curve(
            "Spread of the embeddings",
            "",
            steps,
            {name: [entry["spread"] for entry in entries] for name, entries in logs.items()},
            "1: the embeddings use all directions; 0: all videos look the same to the network (collapse).",
        ),
    ]


def _report_card(card: Audit) -> Section:
    about = (
        "The same encoders, shown the videos with one thing at a time taken away (see <code>kinevec audit</code>): what of "
        "the score above chance is still there without motion, and what without appearance?"
    )
    style = resources.files("kinevec.show").joinpath("audit.css").read_text("utf-8")
    return Section(
        "audit",
        "Motion or background?",
        f'<p class="about">{about}</p>{figure_panels(card, (LINEAR,))}',
        style,
    )


def _activation(result: Evaluation, loaded: Mapping[str, Loaded]) -> Section:
    """Activation maps of all encoders over a few test videos of different classes."""
    collection = next(iter(result.features.values())).split("test").collection
    by_label = {record.label: record for record in reversed(collection.records)}
    content = ""
    for record in list(by_label.values())[:: max(1, len(by_label) // LOOKS)][:LOOKS]:
        with TemporaryDirectory() as aside:
            picture = Path(aside) / "strip.png"
            activation_strip(look(loaded, record.path), picture)
            data = base64.b64encode(picture.read_bytes()).decode()
        spoken = f"activation maps over {escape(record.name)}"
        title = f"<h3>{escape(record.label or '')} <span>{escape(record.name)}</span></h3>"
        content += f'{title}<img class="wide-picture" alt="{spoken}" src="data:image/png;base64,{data}">'
    about = (
        "The mean of each network's last feature map over its channels, from blue (the least of the video) to red (the "
        "most). An encoder of motion is red where something moves. <code>kinevec show</code> draws this for any video."
    )
    style = ".wide-picture { display: block; max-width: 100%; height: auto; margin: 8px 0 24px; border-radius: 8px; background: #fff; }\n"
    return Section("activation", "Where each encoder looks", f'<p class="about">{about}</p>{content}', style)


def _facts(configs: Mapping[str, Config], minutes: float) -> dict[str, str]:
    made = provenance()
    config = next(iter(configs.values()))
    return {
        "seed": str(config.train.seed),
        "encoder": config.model.name,
        "minutes": f"{minutes:.1f}",
        "machine": str(made["machine"]),
        "versions": f"kinevec {made['kinevec']}, torch {made['torch']}, Python {made['python']}",
        "commit": str(made["commit"] or "not a git checkout"),
        "made": str(made["made"]),
        **{
            f"configuration of {name}": json.dumps(configuration.to_dict(one))
            for name, one in configs.items()
        },
    }


def _neighbour_rows(result: Evaluation) -> list[Row]:
    """A few test videos, spread over the classes, and their nearest training videos by each encoder."""
    parts = {name: (value.split("test"), value.split("train")) for name, value in result.features.items()}
    test, train = next(iter(parts.values()))
    count = min(NEIGHBOURS, len(train.collection))
    found = {name: neighbours(a.videos, b.videos, count) for name, (a, b) in parts.items()}
    by_label: dict[str, list[int]] = {}
    for place, label in enumerate(test.labels):
        by_label.setdefault(label, []).append(place)
    turns = [
        places[turn] for turn in range(len(test.labels)) for places in by_label.values() if turn < len(places)
    ]
    rows = []
    for place in turns[:ROWS]:
        query = test.collection.records[place]
        nearest = {}
        for name, (order, similarity) in found.items():
            records = [train.collection.records[i] for i in order[place]]
            nearest[name] = tuple(
                Neighbour(record.path, record.name, record.label, float(cosine))
                for record, cosine in zip(records, similarity[place], strict=True)
            )
        rows.append(Row(query.path, query.name, query.label, nearest))
    return rows
