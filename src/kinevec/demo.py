"""The main job from end to end, with a report to open in a browser."""

import dataclasses
import json
import math
import shutil
import time
from pathlib import Path

from kinevec import config as configuration
from kinevec.config import Config
from kinevec.errors import OutputError
from kinevec.evaluate import evaluation
from kinevec.evaluate.evaluation import Evaluation
from kinevec.evaluate.retrieval import neighbours
from kinevec.runtime import provenance
from kinevec.show.report import Curve, Neighbour, Report, Row, write_report
from kinevec.tasks import Silent, Watcher, counter, open_collection, synth
from kinevec.train import loop
from kinevec.train.log import read_log
from kinevec.train.supply import FLOW, FRAMES

STEPS = 600  # of training, whatever the number of videos
MOST_VIDEOS = 600  # of a larger folder so many are drawn
ROWS = 8  # queries whose neighbours the report shows
NEIGHBOURS = 5


def demo(
    out: str | Path = "demo",
    *,
    videos: str | Path | None = None,
    steps: int = STEPS,
    watcher: Watcher | None = None,
) -> tuple[Path, Evaluation]:
    """The main job end to end: videos, pretraining, evaluation, and a report to open in a browser.

    Args:
        out: folder for everything; a demo made there before is replaced.
        videos: the user's own folder or list; None: procedural motion videos are made.
        steps: of training.

    Returns:
        The report, an HTML file, and what the evaluation found.
    """
    watcher = watcher or Silent()
    begun = time.perf_counter()
    folder = Path(out)
    run = folder / "run"
    if (
        run.exists()
        and not (run / loop.FACTS).is_file()
        and {path.name for path in run.iterdir()} - {FLOW, FRAMES}
    ):
        raise OutputError(f"{run}: exists and is not a run of kinevec; choose another folder")
    source = Path(videos) if videos else folder / "videos"
    if videos is None:
        synth(source, watcher=watcher)
    config = configuration.load("moco")
    everything = open_collection(source, config, watcher, most=MOST_VIDEOS)
    evaluation.check(everything)
    train = everything.only(lambda record: record.split == "train")
    config = _fitted(config, len(train), steps)
    if run.exists():
        shutil.rmtree(run)
    loop.pretrain(config, train, run, on_status=watcher.trained, on_decode=counter(watcher, "decoding"))
    result = evaluation.evaluate(run, everything, progress=counter(watcher, "encoding"))
    result.write(run / "eval.json")
    report = folder / "report.html"
    minutes = (time.perf_counter() - begun) / 60
    write_report(report, _demo_report(run, config, result, procedural=videos is None, minutes=minutes))
    return report, result


def _fitted(config: Config, videos: int, steps: int) -> Config:
    """The configuration for so many videos: about `steps` steps, and a queue well below their number."""
    epochs = max(1, math.ceil(steps / max(1, videos // min(config.train.batch, videos))))
    return dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, epochs=epochs, warmup_epochs=0.05 * epochs),
        method=dataclasses.replace(config.method, queue=max(1, min(config.method.queue, videos // 2))),
    )


def _demo_report(
    run: Path, config: Config, result: Evaluation, *, procedural: bool, minutes: float
) -> Report:
    entries = read_log(run)
    steps = [entry["step"] for entry in entries]
    data = result.facts["data"]
    summary = [
        f"A small 3-D network watched {data['train']} videos without labels for {steps[-1]} steps and learned to "
        "tell clips of the same video from clips of others (momentum contrast, MoCo).",
        f"It is judged on {data['test']} videos it never saw.",
    ]
    if procedural:
        summary.append(
            "In these videos only the motion of the object tells the class; its shape and colours and the "
            "background say nothing. Neighbours that share the query's background but not its label show what "
            "such training looks at first."
        )
    curves = [
        Curve(
            "Contrastive loss",
            "",
            steps,
            {"MoCo": [entry["loss"] for entry in entries]},
            "How hard it is to pick the other clip of the same video out of the queue. Lower is better; "
            f"guessing would give {math.log(config.method.queue + 1):.2f}.",
        ),
        Curve(
            "Spread of the embeddings",
            "",
            steps,
            {"MoCo": [entry["spread"] for entry in entries]},
            "1: the embeddings use all directions; 0: all videos look the same to the network (collapse).",
        ),
    ]
    made = provenance()
    facts = {
        "seed": str(config.train.seed),
        "encoder": config.model.name,
        "minutes": f"{minutes:.1f}",
        "machine": str(made["machine"]),
        "versions": f"kinevec {made['kinevec']}, torch {made['torch']}, Python {made['python']}",
        "commit": str(made["commit"] or "not a git checkout"),
        "made": str(made["made"]),
        "configuration": json.dumps(configuration.to_dict(config)),
    }
    return Report(
        title="kinevec demo",
        summary=summary,
        scores={name: {key: found[key] for key in result.telling} for name, found in result.scores.items()},
        chance={key: result.chance[key] for key in result.telling},
        curves=curves,
        rows=_neighbour_rows(result),
        facts=facts,
    )


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
