"""The page as a file: its parts in their order, in the frame of report.html."""

import base64
import hashlib
import os
from html import escape
from pathlib import Path
from string import Template

from kinevec.errors import OutputError
from kinevec.show.curves import figure, line_styles
from kinevec.show.html import pair_list, part
from kinevec.show.report.content import Report, Row
from kinevec.show.report.neighbours import neighbour_part
from kinevec.show.report.scores import score_part
from kinevec.show.thumbnails import Videos


def write_report(path: Path, report: Report) -> None:
    """Writes the page to `path`, whole or not at all; an older page there is replaced.

    A video that does not decode is shown as a note that says why.

    Raises:
        OutputError: the page cannot be written there.
    """
    content = _page(report).encode("utf-8", "replace")  # names of files may hold bytes that are no text
    aside = path.with_name(f".{path.name[:50]}.{os.getpid()}")
    try:
        try:
            aside.write_bytes(content)
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)  # there only if something failed
    except OSError as error:
        raise OutputError(f"{path}: the report cannot be written: {error.strerror or error}") from error


def _page(report: Report) -> str:
    encoders = dict.fromkeys([*report.scores, *(name for row in report.rows for name in row.neighbours)])
    styles = line_styles(encoders)
    videos = Videos(file for row in report.rows for file in _files(row))
    parts = {
        "scores": ("Scores", score_part(report, styles)),
        **{section.key: (section.title, section.content) for section in report.sections},
        "neighbours": ("Nearest neighbours", neighbour_part(report.rows, styles, videos)),
        "training": ("Training", "".join(figure(curve, styles) for curve in report.curves)),
        "facts": ("How this was made", pair_list("facts", report.facts)),
    }
    shown = {key: part for key, part in parts.items() if part[1]}
    links = "".join(f'<a href="#{key}">{escape(title)}</a>' for key, (title, _) in shown.items())
    sections = "".join(
        f'<section id="{key}" aria-labelledby="{key}-title">\n<h2 id="{key}-title">{escape(title)}</h2>\n{content}\n</section>\n'
        for key, (title, content) in shown.items()
    )
    script = part("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Template(part("report.html")).substitute(
        title=escape(report.title),
        script_digest=digest,
        style=part("report.css") + "".join(s.style for s in report.sections) + videos.posters(),
        summary="".join(f"<p>{escape(sentence)}</p>\n" for sentence in report.summary),
        links=links,
        sections=sections,
        videos=videos.contents(),
        script=script,
    )


def _files(row: Row) -> list[Path]:
    return [row.query, *(near.path for found in row.neighbours.values() for near in found)]
