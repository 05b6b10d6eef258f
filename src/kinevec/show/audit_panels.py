"""The figures of the motion report card as bars with intervals, for its own page and for others."""

from collections.abc import Sequence
from html import escape

from kinevec.evaluate.audit import Audit, Estimate
from kinevec.evaluate.audit.figures import FIGURES
from kinevec.evaluate.audit.scores import LINEAR, METRICS, R1
from kinevec.show.curves import line_styles

MEANINGS = {R1: "label of the nearest training video", LINEAR: "label that a linear layer gives"}


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
