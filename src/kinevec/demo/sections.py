"""Parts of the report of a demo that ask what the encoders go by: the small audit, and maps of where they look."""

import base64
import logging
from collections.abc import Mapping
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from kinevec.encoders import Loaded
from kinevec.errors import UsageError, VideoError
from kinevec.evaluate.audit import Audit, Estimate
from kinevec.evaluate.audit.scores import LINEAR
from kinevec.evaluate.audit.settings import ORIGINAL
from kinevec.evaluate.evaluation import Evaluation
from kinevec.show.audit_panels import figure_panels
from kinevec.show.audit_summary import said_of
from kinevec.show.figures import activation_strip
from kinevec.show.html import part, signed
from kinevec.show.look import Look, look
from kinevec.show.report import Section

log = logging.getLogger(__name__)

LOOKS = 2  # test videos over which the report lays activation maps


def report_card(card: Audit) -> Section:
    """What the audit says of each encoder, and its figures."""
    scores = ", ".join(
        f"{name} {_percent(found[ORIGINAL]['queries'][LINEAR])}" for name, found in card.scores.items()
    )
    about = (
        "The same encoders, shown the videos with one thing at a time taken away (see <code>kinevec audit</code>): what of "
        "the score above chance is still there without motion, and what without appearance? The audit takes "
        f"{card.facts['protocol']['clips']} clips of a video and fits its own linear probe to their mean, so that what it "
        f"finds on the videos as they are differs from the scores above: {escape(scores)}. An encoder whose "
        "score is not clearly above chance has nothing to lose, and no value here."
    )
    said = "".join(
        f"<p><b>{escape(name)}</b>: {escape(' '.join(said_of(figures)))}</p>"
        for name, figures in card.figures.items()
    )
    return Section(
        "audit",
        "Motion or background?",
        f'<p class="about">{about}</p><div class="said">{said}</div>{figure_panels(card, (LINEAR,))}',
        part("audit.css")
        + ".said { max-width: 46em; margin: 14px 0 20px; } .said p { margin-bottom: 6px; }\n",
    )


def activation(result: Evaluation, loaded: Mapping[str, Loaded]) -> Section:
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
                found = look(loaded, record.path)
                activation_strip(found, picture)
            except (UsageError, VideoError) as error:  # a single frame, for one
                log.info("no activation maps of %s: %s", record.name, error)
                continue
            data = base64.b64encode(picture.read_bytes()).decode()
        shown += 1
        spoken = f"activation maps over {escape(record.name)}"
        title = f"<h3>{escape(record.label or '')} <span>{escape(record.name)}</span></h3>"
        content += f'{title}<img class="wide-picture" alt="{spoken}" src="data:image/png;base64,{data}">'
        content += f'<p class="about follows">Activation follows speed: {escape(_following(found))}.</p>'
    about = (
        "The mean of each network's last feature map over its channels, from blue (the least of the video) to red (the "
        "most). An encoder that looks at motion is red where something moves, and the number below says how far it is: the "
        "correlation of activation with speed over all pixels, 1 at best. After so few steps, and on a map of so few "
        "cells, do not expect it: a linear probe can read motion from features whose map is red elsewhere. "
        "<code>kinevec show</code> draws this for any video."
    )
    style = (
        ".wide-picture { display: block; max-width: 100%; height: auto; margin: 8px 0; border-radius: 8px; background: #fff; }\n"
        ".follows { margin-bottom: 24px; }\n"
    )
    return Section("activation", "Where each encoder looks", f'<p class="about">{about}</p>{content}', style)


def _following(found: Look) -> str:
    return ", ".join(f"{name} {signed(seen.on_motion, 2)}" for name, seen in found.seen.items())


def _percent(score: Estimate) -> str:
    return "–" if score.value is None else f"{score.value:.0f} %"
