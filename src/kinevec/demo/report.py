"""What the report of a demo shows: scores, curves, figures of the audit, activation maps, and neighbours."""

import base64
import json
import logging
import math
from collections.abc import Mapping
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from kinevec import config as configuration
from kinevec.config import Config
from kinevec.encoders import Loaded
from kinevec.errors import UsageError, VideoError
from kinevec.evaluate.audit import Audit
from kinevec.evaluate.audit.scores import LINEAR
from kinevec.evaluate.evaluation import Evaluation
from kinevec.evaluate.retrieval import neighbours
from kinevec.runtime import provenance
from kinevec.show.audit_panels import figure_panels
from kinevec.show.figures import activation_strip
from kinevec.show.html import part
from kinevec.show.look import look
from kinevec.show.report import Curve, Neighbour, Report, Row, Section
from kinevec.train.log import read_log

log = logging.getLogger(__name__)

ROWS = 6  # queries whose neighbours the report shows
NEIGHBOURS = 4
LOOKS = 2  # test videos over which the report lays activation maps


def demo_report(
    runs: Mapping[str, Path],
    configs: Mapping[str, Config],
    result: Evaluation,
    card: Audit | None,
    loaded: Mapping[str, Loaded],
    *,
    procedural: bool,
    minutes: float,
) -> Report:
    """The report of a demo.

    Args:
        runs: name of a method → folder of its run; likewise its configuration, and its encoder in `loaded`.
        card: the audit; None where there are no labels.
        procedural: whether the videos were made.
        minutes: that all of it took.
    """
    data = result.facts["data"]
    first = next(iter(loaded.values()))
    steps, watched = first.step or 0, first.facts.get("videos", data["train"])
    summary = [
        f"Small 3-D networks watched {watched} videos without labels for {steps} steps each. MoCo learns to "
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
    style = part("audit.css")
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
    chosen = list(by_label.values())[:: max(1, len(by_label) // LOOKS)]
    shown = 0
    for record in [*chosen, *(record for record in by_label.values() if record not in chosen)]:
        if shown == LOOKS:
            break
        with TemporaryDirectory() as aside:
            picture = Path(aside) / "strip.png"
            try:
                activation_strip(look(loaded, record.path), picture)
            except (UsageError, VideoError) as error:  # a single frame, for one
                log.info("no activation maps of %s: %s", record.name, error)
                continue
            data = base64.b64encode(picture.read_bytes()).decode()
        shown += 1
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
