"""What the report of a demo shows: scores, what they rest on, activation maps, neighbours, and curves."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kinevec import config as configuration
from kinevec.config import Config, differences
from kinevec.demo.sections import activation, report_card
from kinevec.demo.verdict import difference_section, pairs, result_in_words
from kinevec.encoders import Loaded
from kinevec.evaluate.audit import Audit
from kinevec.evaluate.evaluation import Evaluation, before_training
from kinevec.evaluate.facts import leaked
from kinevec.evaluate.outcomes import BEFORE, PER_CLASS, TOP1
from kinevec.evaluate.retrieval import neighbours
from kinevec.runtime import provenance
from kinevec.show.report import Curve, Neighbour, Report, Row
from kinevec.train.log import read_log

ROWS = 6  # queries whose neighbours the report shows
NEIGHBOURS = 4


def demo_report(
    runs: Mapping[str, Path],
    configs: Mapping[str, Config],
    result: Evaluation,
    card: Audit | None,
    loaded: Mapping[str, Loaded],
    *,
    procedural: bool,
    minutes: str,
) -> Report:
    """The report of a demo.

    Args:
        runs: name of a method → folder of its run; likewise its configuration, and its encoder in `loaded`.
        card: the audit; None where there are no labels.
        procedural: whether the videos were made.
        minutes: that all of it took, in words.
    """
    data = result.facts["data"]
    first = next(iter(loaded.values()))
    steps, watched = first.step or 0, first.facts.get("videos", data["train"])
    found = pairs(result) if result.scores else []
    summary = result_in_words(result, found) if found else []
    summary += _about(data, steps, watched, procedural=procedural)
    sections = [difference_section(found)] if found else []
    sections += [report_card(card)] if card is not None else []
    sections.append(activation(result, {**loaded, BEFORE: before_training(first)}))
    telling = _telling(result)
    return Report(
        title="kinevec demo",
        summary=summary,
        scores={name: {key: of[key] for key in telling} for name, of in result.scores.items()},
        chance={key: result.chance[key] for key in telling},
        curves=_curves(runs, configs),
        rows=_neighbour_rows(result),
        facts=_facts(configs, [run.name for run in runs.values()], minutes),
        intervals=result.intervals,
        sections=sections,
    )


def _about(data: Mapping[str, Any], steps: int, watched: int, *, procedural: bool) -> list[str]:
    """What was done, with which videos, and what to mind of them."""
    said = [
        f"Small 3-D networks watched {watched} videos without labels for {steps} steps each. MoCo learns to "
        "tell clips of the same video from clips of others. MSCL and FIMA also learn from what moves in them: from "
        "optical flow, and from differences between frames.",
        f"All three are judged on {data['test']} videos that were kept apart, beside the same network untrained.",
    ]
    if doubt := leaked(data):
        said.append(f"Mind: {doubt}.")
    if procedural:
        said.append(
            "In these videos only the motion of the object tells the class. Its shape, its colours and the background are "
            "drawn anew for every video: whatever an encoder keeps of them can only mislead. Neighbours that share the "
            "query's background but not its label show what training without motion looks at first."
        )
    return said


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


def _facts(configs: Mapping[str, Config], presets: Iterable[str], minutes: str) -> dict[str, str]:
    made = provenance()
    config = next(iter(configs.values()))
    return {
        "seed": str(config.train.seed),
        "encoder": config.model.name,
        "minutes": minutes,
        "machine": str(made["machine"]),
        "versions": f"kinevec {made['kinevec']}, torch {made['torch']}, Python {made['python']}",
        "commit": str(made["commit"] or "not a git checkout"),
        "made": str(made["made"]),
        **{
            f"configuration of {name}": f"preset {preset} with {'; '.join(differences(configuration.load(preset), one))}. Whole: "
            f"runs/{preset}/config.toml beside this page"
            for (name, one), preset in zip(configs.items(), presets, strict=True)
        },
    }


def _telling(result: Evaluation) -> list[str]:
    """The scores that say something: not those that guessing reaches, nor a mean over classes that is that over videos."""
    return [
        name
        for name in result.telling
        if not name.endswith(PER_CLASS)
        or any(of[name] != of[name.replace(PER_CLASS, TOP1)] for of in result.scores.values())
    ]


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
