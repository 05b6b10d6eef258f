"""The motion report card as one page: figures as bars, examples that move, and the scores behind them.

The page is a single file without scripts that asks nothing of the network; its content security policy forbids
the rest.
"""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinevec.data.whole import write_text
from kinevec.evaluate.audit import Audit, Estimate, Example
from kinevec.evaluate.audit.scores import METRICS
from kinevec.evaluate.audit.settings import BACKGROUND, CONDITIONS, SIDES
from kinevec.show.audit_panels import figure_panels
from kinevec.show.audit_summary import summary
from kinevec.show.html import pair_list, part

QUALITY = 80  # of JPEG


def write_audit(path: Path, audit: Audit) -> None:
    """Writes the page to `path`, whole or not at all.

    Raises:
        OutputError: the page cannot be written there.
    """
    title = "Motion report card"
    style = part("report.css") + part("audit.css") + _pictures(audit.examples)
    parts = {
        "figures": ("What the score rests on", figure_panels(audit)),
        "examples": ("What the encoder was shown", _examples(audit.examples)),
        "scores": ("Scores under every change", _scores(audit)),
        "facts": ("How this was made", _facts(audit)),
    }
    sections = "".join(
        f'<section id="{key}" aria-labelledby="{key}-title">\n<h2 id="{key}-title">{name}</h2>\n{content}\n</section>\n'
        for key, (name, content) in parts.items()
        if content
    )
    sentences = "".join(f"<p>{escape(sentence)}</p>\n" for sentence in summary(audit))
    page = Template(part("audit.html"))
    write_text(path, page.substitute(title=title, style=style, summary=sentences, sections=sections))


def _order(example: Example) -> list[str]:
    return [condition for condition in CONDITIONS if condition in example.clips]


def _pictures(examples: Sequence[Example]) -> str:
    """CSS rules, one for each clip: its frames side by side."""
    return "".join(
        f".e{i}c{j}{{background-image:url(data:image/jpeg;base64,{_strip(example.clips[condition])})}}\n"
        for i, example in enumerate(examples)
        for j, condition in enumerate(_order(example))
    )


def _strip(clip: NDArray[np.uint8]) -> str:
    """(T, S, S, 3) → base64 of a JPEG of T frames in a row."""
    row = np.concatenate(list(clip), axis=1)[..., ::-1]
    _, content = cv2.imencode(".jpg", np.ascontiguousarray(row), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return base64.b64encode(content.tobytes()).decode()


def _examples(examples: Sequence[Example]) -> str:
    result = ""
    for i, example in enumerate(examples):
        views = ""
        for j, condition in enumerate(_order(example)):
            meaning = CONDITIONS[condition]
            if condition == BACKGROUND and example.background_of:
                meaning += f" ({example.background_of})"
            place = f'e{i}c{j}" style="--frames:{len(example.clips[condition])}" role="img"'
            views += (
                f'<div class="view"><div class="play {place} aria-label="{escape(condition)}, moving"></div>'
                f"<p>{escape(condition)}<small>{escape(meaning)}</small></p>"
                f'<div class="frames {place} aria-label="{escape(condition)}, frame by frame"></div></div>'
            )
        result += f'<article class="example"><h3>{escape(example.label)} <span>{escape(example.name)}</span></h3>{views}</article>\n'
    about = "The middle clip of some test videos under every change, as the encoder sees it: moving, and frame by frame."
    return f'<p class="about">{about}</p>{result}' if result else ""


def _scores(audit: Audit) -> str:
    count = len(audit.scores)
    sides = ("train and test", "test alone")
    heads = (
        "".join(
            f'<th scope="colgroup" colspan="{len(METRICS) * len(sides)}">{escape(encoder)}</th>'
            for encoder in audit.scores
        ),
        "".join(f'<th scope="colgroup" colspan="{len(sides)}">{metric}</th>' for metric in METRICS) * count,
        "".join(f'<th scope="col">{words}</th>' for words in sides) * len(METRICS) * count,
    )
    head = "".join(f"<tr><td></td>{cells}</tr>" for cells in heads)
    first = next(iter(audit.scores.values()))
    rows = ""
    for condition in first:
        cells = "".join(
            _cell(scores[condition].get(side, {}).get(metric))
            for scores in audit.scores.values()
            for metric in METRICS
            for side in SIDES
        )
        rows += f'<tr><th scope="row">{escape(condition)}</th>{cells}</tr>'
    blank = "".join(
        f"<td>{audit.chance[metric]:.1f}</td>" for _ in audit.scores for metric in METRICS for _ in SIDES
    )
    about = (
        "Percent of the test videos, with 95 % intervals. Train and test changed: how much of the class is still "
        "in the features, for whoever looks for it there. Test alone changed: does the encoder still recognise it?"
    )
    return (
        f'<p class="about">{about}</p><div class="wide" role="region" aria-label="scores" tabindex="0"><table class="scores"><thead>{head}</thead>'
        f'<tbody>{rows}<tr><th scope="row">chance</th>{blank}</tr></tbody></table></div>'
    )


def _cell(value: Estimate | None) -> str:
    if value is None or value.value is None or value.low is None or value.high is None:
        return "<td>–</td>"
    return f"<td>{value.value:.1f} <small>{value.low:.0f}–{value.high:.0f}</small></td>"


def _facts(audit: Audit) -> str:
    facts = audit.facts
    data, masks, made = facts["data"], facts["masks"], facts["provenance"]
    seen = data["test_seen_in_training"]
    share = masks["foreground_share_median"]
    encoder = facts["encoder"]
    steps = "" if encoder["step"] is None else f", step {encoder['step']:,}"
    pairs: Mapping[str, Any] = {
        "Encoder": f"{encoder['source']} ({encoder['name']}{steps})",
        "Trained with": ", ".join(encoder["terms"]),
        "Videos": f"{data['train']} train, {data['test']} test, {data['classes']} classes; {len(data['rejected'])} "
        "left out",
        "Test videos seen in pretraining": "not known" if seen is None else seen,
        "Clips": f"{facts['protocol']['clips']} a video; faster by {facts['protocol']['faster_by_median']:.2g} "
        "(median)",
        "Foreground": f"{masks['source']}; found in {masks['videos_with_foreground']} videos"
        + ("" if share is None else f", {100 * share:.0f} % of the picture (median)")
        + f"; {masks['test_videos_swapped']} test videos got another background",
        "Intervals": facts["protocol"]["intervals"],
        "Made": f"{made['made']}, kinevec {made['kinevec']}, commit {made['commit'] or 'not known'}",
        "Machine": made["machine"],
    }
    return pair_list("facts", {name: str(text) for name, text in pairs.items()})
