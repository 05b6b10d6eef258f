"""The motion report card as one page: figures as bars, examples that move, and the scores behind them.

The page is a single file without scripts that asks nothing of the network; its content security policy forbids
the rest.
"""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinevec.data.whole import write_text
from kinevec.evaluate.audit import Audit, Estimate, Example
from kinevec.evaluate.audit.figures import FIGURES
from kinevec.evaluate.audit.scores import LINEAR, METRICS, R1
from kinevec.evaluate.audit.settings import BACKGROUND, BEFORE, CONDITIONS, SIDES
from kinevec.show.curves import line_styles

# In percent. From MOST on "most", below LITTLE "little", where the whole interval lies on that side of HALF.
MOST, LITTLE, HALF = 67, 33, 50
QUALITY = 80  # of JPEG
MEANINGS = {R1: "label of the nearest training video", LINEAR: "label that a linear layer gives"}


def write_audit(path: Path, audit: Audit) -> None:
    """Writes the page to `path`, whole or not at all.

    Raises:
        OutputError: the page cannot be written there.
    """
    title = "Motion report card"
    style = _text("report.css") + _text("audit.css") + _pictures(audit.examples)
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
    page = Template(_text("audit.html"))
    write_text(path, page.substitute(title=title, style=style, summary=sentences, sections=sections))


def summary(audit: Audit) -> list[str]:
    """What the figures of the linear probe say, in plain sentences; the first says what was done."""
    data, encoder = audit.facts["data"], audit.facts["encoder"]
    name, figures = next(iter(audit.figures.items()))
    others = {other: found for other, found in audit.figures.items() if other != name}
    sentences = [
        f"{encoder['source']}, judged on {data['test']} test videos of {data['classes']} classes as they are, and with "
        "one thing at a time taken away."
    ]
    if figures["static"][LINEAR].value is None:
        reason = figures["static"][LINEAR].undefined
        return [*sentences, f"What its score rests on cannot be said: {reason}."]
    rest = {
        "static": "of what a linear probe reads from it above chance is still there when nothing moves",
        "appearance_free": "is still there when only moving noise is left",
        "reversal": "is lost when the test videos run backward",
        "background": "is lost when they get another background",
    }
    for key, words in rest.items():
        value = figures.get(key, {}).get(LINEAR)
        if value is None or not (spoken := _spoken(value)):
            continue
        beside = {
            _named(other): _spoken(found[key][LINEAR]) for other, found in others.items() if key in found
        }
        note = "".join(f"; {who}: {its}" for who, its in beside.items() if its)
        amount = _amount(value)
        said = f"{amount} {words}" if amount else f"How much {words} cannot be told from these videos"
        sentences.append(f"{said} ({spoken}{note}).")
    return sentences


def _named(encoder: str) -> str:
    return "before training" if encoder == BEFORE else encoder


def _amount(estimate: Estimate) -> str:
    """Most, little or a part, where the interval bears it out; else ""."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or low is None or high is None:
        return ""
    if value >= MOST and low > HALF:
        return "Most"
    if value < LITTLE and high < HALF:
        return "Little"
    return "A part" if low > 0 and high < 100 and high - low <= HALF else ""


def _spoken(estimate: Estimate) -> str:
    """The value and its interval; "" where there is none."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or low is None or high is None:
        return ""
    return f"{value:.0f} %, {low:.0f} to {high:.0f}"


def _text(name: str) -> str:
    return resources.files("kinevec.show").joinpath(name).read_text("utf-8")


def figure_panels(audit: Audit, metrics: Sequence[str] = METRICS) -> str:
    """The figures of all encoders as bars, as HTML; needs report.css and audit.css.

    Args:
        metrics: by which of them.
    """
    styles = line_styles(audit.figures)
    panels = ""
    reasons: dict[
        str, dict[str, None]
    ] = {}  # why there is no value → of whom; mostly the same for every figure
    for key, figure in FIGURES.items():
        lines = ""
        for encoder, figures in audit.figures.items():
            for metric, value in figures.get(key, {}).items():
                if metric in metrics:
                    lines += _line(f"{encoder}, {metric}", value, styles[encoder], audit.guess(key, metric))
                    if value.undefined:
                        reasons.setdefault(value.undefined, {})[f"{encoder}, {metric}"] = None
        if lines:
            panels += f'<div class="panel"><h3>{escape(figure.title)}</h3><p>{escape(figure.question)}</p>{lines}</div>'
    meanings = "; ".join(f"{metric}: {meaning}" for metric, meaning in MEANINGS.items() if metric in metrics)
    note = (
        f"Each bar goes from 0 to 100 %, with its 95 % interval over the test videos. {meanings}. In what survives "
        "or is lost, chance is 0 and the score of the unchanged videos is 100; elsewhere the mark "
        '<i class="key chance"></i>is what a guess reaches.'
    )
    missing = "".join(
        f'<p class="about note">No value of {escape("; of ".join(whose))}: {escape(reason)}.</p>'
        for reason, whose in reasons.items()
    )
    return f'<div class="figures">{panels}</div>{missing}<p class="about note">{note}</p>'


def _line(name: str, value: Estimate, style: str, chance: float | None) -> str:
    """One bar with its number, where there is one."""
    head = f'<span><i class="key {style}"></i>{escape(name)}</span>'
    if value.value is None or value.low is None or value.high is None:
        return f'<div class="line none">{head}<span>no value</span></div>'
    spoken = f"{value.value:.0f} %<small>{value.low:.0f} to {value.high:.0f}</small>"
    mark = "" if chance is None else f'<i class="mark" style="left:{chance:.2f}%"></i>'
    bar = (
        f'<i class="{style}" style="width:{value.value:.2f}%"></i>'
        f'<i class="whisker" style="left:{value.low:.2f}%;width:{value.high - value.low:.2f}%"></i>{mark}'
    )
    return f'<div class="line">{head}<span><b>{spoken}</b></span><div class="bar" aria-hidden="true">{bar}</div></div>'


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
    head = "".join(
        f'<th scope="col">{escape(encoder)}, {metric}<br>{words}</th>'
        for encoder in audit.scores
        for metric in METRICS
        for words in ("train and test", "test alone")
    )
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
        f'<p class="about">{about}</p><div class="wide" role="region" aria-label="scores" tabindex="0"><table class="scores"><thead><tr><td></td>{head}</tr></thead>'
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
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(str(text))}</dd></div>" for name, text in pairs.items()
    )
    return f'<dl class="facts">{items}</dl>'
