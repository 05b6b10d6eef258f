"""A clustering to look at: one page that needs no other file, with strips of frames, and a list for programs."""

import base64
import csv
import io
from collections import Counter
from html import escape
from pathlib import Path

import cv2
import numpy as np

from kinevec.data.decode import probe, read_clip
from kinevec.data.source import Progress
from kinevec.data.whole import write_text
from kinevec.errors import InputError, VideoError
from kinevec.search.catalogue import Entry, entry
from kinevec.search.clustering import Clustering
from kinevec.search.cut import nearest
from kinevec.search.index import Index
from kinevec.search.number import in_words
from kinevec.search.store import JOINED
from kinevec.show.html import part

FRAMES = 6  # of a strip, even in time
HEIGHT = 72  # pixels of a strip
GAP = 2  # pixels between its frames
QUALITY = 70  # of its JPEG
NAMED = 4  # labels that are counted beside a group

STYLE = """
body { max-width: 80rem; }
section { margin-top: 40px; } h2 small { color: var(--soft); font-weight: 400; font-size: .95rem; }
.strips { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 25rem), 1fr)); gap: 18px 14px; }
.strips img { width: 100%; border-radius: 6px; display: block; }
figcaption { margin-top: 4px; font-size: .85rem; line-height: 1.4; color: var(--soft); overflow-wrap: anywhere; }
.missing { background: var(--hole); border-radius: 6px; padding: 1rem; font-size: .85rem; }
"""


def strip(index: Index, clip: Entry) -> bytes:
    """A JPEG of some frames of a clip side by side.

    Raises:
        VideoError, InputError: the file cannot be read any more.
    """
    path = index.locate(clip.video)
    info = probe(path)
    moments = clip.start + (np.arange(FRAMES) + 0.5) / FRAMES * (clip.stop - clip.start)
    size = (HEIGHT, max(1, round(info.width * HEIGHT / info.height)))
    frames = read_clip(path, nearest(info.times, moments).tolist(), info=info, size=size).frames
    apart = np.pad(frames, ((0, 0), (0, 0), (0, GAP), (0, 0)), constant_values=128)
    picture = np.concatenate(list(apart), axis=1)[:, :-GAP, ::-1]
    _, content = cv2.imencode(".jpg", np.ascontiguousarray(picture), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return content.tobytes()


def write_sheet(index: Index, found: Clustering, path: Path, progress: Progress | None = None) -> None:
    """Writes the page.

    Raises:
        OutputError: it cannot be written.
    """
    done, total = 0, sum(map(len, found.examples))
    sections = []
    for group, clips in enumerate(found.examples):
        figures = []
        for clip in clips:
            figures.append(_figure(index, clip))
            done += 1
            if progress:
                progress(done, total)
        size = int((found.groups == group).sum())
        sections.append(
            f"<section><h2>Group {group} <small>{size:,} clips{_labels(index, group)}</small></h2>"
            f'<div class="strips">{"".join(figures)}</div></section>'
        )
    how = f"Of {escape(str(index.folder))}, by {found.mode}"
    if found.strengths is not None:
        how += f"; {in_words(found.strengths)}"
    style = part("report.css") + STYLE
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        'img-src data:; base-uri \'none\'; form-action \'none\'"><link rel="icon" href="data:,">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<title>Groups of clips</title><style>{style}</style></head><body><header><p class="brand">kinevec</p>'
        f"<h1>Groups of clips</h1><p>{len(found.clips):,} clips in {found.count} groups</p><p>{how}. Each strip shows "
        f"{FRAMES} moments of one clip, of those nearest to the centre of the group.</p></header>"
        f"<main>{''.join(sections)}</main></body></html>\n"
    )
    write_text(path, page)


def write_groups(index: Index, found: Clustering, path: Path) -> None:
    """Writes a line `clip,name,start,stop,label,group,nearness,x,y` for each clip, group by group, the nearest first.

    Raises:
        OutputError: it cannot be written.
    """
    rows = index.store.query(
        f"SELECT c.id, v.name, c.start, c.stop, coalesce(l.label, v.label, '') FROM {JOINED}"
    )
    known = {row[0]: row for row in rows}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["clip", "name", "start", "stop", "label", "group", "nearness", "x", "y"])
    for place in np.lexsort((-found.nearness, found.groups)):
        row = known.get(int(found.clips[place]))
        if row is None:  # removed meanwhile
            continue
        clip, name, start, stop, label = row
        xy = ["", ""] if found.plane is None else [f"{value:.5f}" for value in found.plane[place]]
        near = f"{found.nearness[place]:.5f}"
        writer.writerow([clip, name, f"{start:.3f}", f"{stop:.3f}", label, found.groups[place], near, *xy])
    write_text(path, text.getvalue())


def _figure(index: Index, clip: int) -> str:
    known = entry(index, clip)
    if known is None:
        return ""
    label = f" · {escape(known.label)}" if known.label else ""
    caption = f"clip {known.clip} · {escape(known.name)} · {known.start:.2f}–{known.stop:.2f} s{label}"
    try:
        data = base64.b64encode(strip(index, known)).decode()
        shown = f'<img alt="{escape(known.name)}" src="data:image/jpeg;base64,{data}">'
    except (VideoError, InputError) as error:
        reason = error.reason if isinstance(error, VideoError) else str(error)
        shown = f'<div class="missing">{escape(reason)}</div>'
    return f"<figure>{shown}<figcaption>{caption}</figcaption></figure>"


def _labels(index: Index, group: int) -> str:
    """What the labels say of a group, where there are any: they had no part in making it."""
    rows = index.store.query(
        f"SELECT coalesce(l.label, v.label) AS said FROM {JOINED} WHERE c.cluster = ? AND said <> ''",
        (group,),
    )
    counts = Counter(label for (label,) in rows).most_common(NAMED)
    return "; labels: " + ", ".join(f"{escape(label)} {count:,}" for label, count in counts) if counts else ""
