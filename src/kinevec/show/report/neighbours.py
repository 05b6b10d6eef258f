"""The neighbours of a report: rows of videos that play, each beside the query that it was found for."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from kinevec.show.report.content import Neighbour, Row
from kinevec.show.thumbnails import MAX_SECONDS, Videos


def neighbour_part(rows: Sequence[Row], styles: Mapping[str, str], videos: Videos) -> str:
    """The queries of a report with their neighbours as HTML; "" where there are none.

    Args:
        styles: encoder name → CSS class of its colour.
        videos: of all rows.
    """
    if not rows:
        return ""
    labelled = any(row.label is not None for row in rows)
    about = (
        "Every row starts with a query video. Beside it stand, for each encoder, the videos it finds most similar, "
        "nearest first, with the cosine similarity of their features (1: same direction, 0: unrelated). "
    )
    about += (
        'A green frame and <span class="sign">✓</span> mark those that have the same label as the query. '
        if labelled
        else "Without labels your eyes are the judge: do they move like the query? "
    )
    about += f"Each video loops up to {MAX_SECONDS:.0f} seconds at its real speed, small and without sound."
    return (
        f'<p class="about">{about}</p><div class="rows" style="--shape:{videos.shape:.3f}">'
        '<button type="button" id="playing" hidden></button>'
        + "".join(_row(place, row, styles, videos) for place, row in enumerate(rows, 1))
        + "</div>"
    )


def _row(place: int, row: Row, styles: Mapping[str, str], videos: Videos) -> str:
    query = _tile(videos, row.query, row.name, row.label, "", "")
    strips = ""
    for encoder, found in row.neighbours.items():
        right = [row.label is not None and near.label == row.label for near in found]
        count = f" <span>{sum(right)} of {len(found)} right</span>" if row.label is not None and found else ""
        tiles = "".join(_near(videos, row, near) for near in found) or '<p class="empty">None.</p>'
        spoken = escape(f"nearest to {row.name} by {encoder}")
        strips += (
            f'<h4><i class="key {styles[encoder]}"></i>{escape(encoder)}{count}</h4>'
            f'<div class="strip" role="group" aria-label="{spoken}">{tiles}</div>'
        )
    return f'<article><div class="query"><h3>Query {place}</h3>{query}</div><div class="found">{strips}</div></article>\n'


def _near(videos: Videos, row: Row, near: Neighbour) -> str:
    similarity = f'<span class="number">{near.similarity:.2f}</span>'.replace("-", "−")
    if row.label is None or near.label is None:
        return _tile(videos, near.path, near.name, near.label, "", similarity)
    if near.label == row.label:
        sign = '<span class="sign" aria-hidden="true">✓</span><span class="spoken">same label as the query: </span>'
        return _tile(videos, near.path, near.name, near.label, "right", sign + similarity)
    spoken = '<span class="spoken">another label than the query: </span>'
    return _tile(videos, near.path, near.name, near.label, "wrong", spoken + similarity)


def _tile(videos: Videos, path: Path, name: str, label: str | None, style: str, note: str) -> str:
    """A video with its label (or else its name) below it; `style` and `note` are HTML already."""
    text = (
        f"<b>{escape(label)}</b><small>{escape(name)}</small>"
        if label is not None
        else f"<b>{escape(name)}</b>"
    )
    return (
        f'<figure class="tile {style}" title="{escape(name)}">{videos.element(path, name)}'
        f"<figcaption>{note}{text}</figcaption></figure>"
    )
