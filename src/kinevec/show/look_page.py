"""A look as a folder: pictures, a film, the numbers, and a page that shows them together."""

import json
import math
import tempfile
from html import escape
from pathlib import Path
from string import Template

from kinevec.config import Clip
from kinevec.data.files import FILM, LOOK
from kinevec.data.whole import copy_all, write_text
from kinevec.show.figures import activation_strip, affinity_matrices, motion_strip
from kinevec.show.film import activation_film
from kinevec.show.html import part, signed
from kinevec.show.look import SIDE, Look, Sight

PAGE = "index.html"


def write_look(look: Look, folder: Path) -> Path:
    """Writes activation.png, activation.mp4, motion.png, affinity.png, look.json and the page that shows them.

    Returns:
        The page.

    Raises:
        OutputError: the folder cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="kinevec-look-") as aside:
        draw_look(look, Path(aside))
        return place_look(Path(aside), folder)


def place_look(drawn: Path, folder: Path) -> Path:
    """Copies a drawn look to where it is to be, and makes the folder; returns the page there.

    A full disk, or Ctrl-C, leaves what was there before.

    Raises:
        OutputError: the folder cannot be written.
    """
    # First the file that a folder of ours is known by, last the page that shows the others.
    copy_all(sorted(drawn.iterdir(), key=lambda path: (path.name != LOOK, path.name == PAGE)), folder)
    return folder / PAGE


def draw_look(look: Look, folder: Path) -> None:
    """Draws the files of a look into an empty folder.

    Raises:
        OutputError: the folder cannot be written.
    """
    activation_strip(look, folder / "activation.png")
    activation_film(look, folder / FILM)
    motion_strip(look, folder / "motion.png")
    affinity_matrices(look.seen, folder / "affinity.png")
    numbers = {
        name: {
            "activation_follows_speed": seen.on_motion,
            "same_place": seen.affinity.same_place,
            "same_time": seen.affinity.same_time,
        }
        for name, seen in look.seen.items()
    }
    stretch = {"from": float(look.times[0]), "to": float(look.times[-1]), "frames": len(look.numbers)}
    found = {
        name: {key: value if math.isfinite(value) else None for key, value in of.items()}
        for name, of in numbers.items()
    }
    content = {"video": str(look.video), "stretch": stretch, "encoders": found}
    write_text(folder / LOOK, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{_clip(look.seen[name].clip)}</td>'
        + "".join(f"<td>{signed(value, 2)}</td>" for value in of.values())
        + "</tr>"
        for name, of in numbers.items()
    )
    page = Template(part("look.html")).substitute(
        style=part("report.css"),
        title=escape(look.video.name),
        stretch=f"{len(look.numbers)} frames, {look.times[0]:.2f} to {look.times[-1]:.2f} s, as "
        f"{len(look.seen)} encoder{'s' if len(look.seen) != 1 else ''} see{'' if len(look.seen) != 1 else 's'} them.",
        mind="".join(f'<p class="mind">{escape(one)}</p>' for one in remarks(look)),
        rows=rows,
        full=f"{look.full:.2g} pixels a frame or more, of the {SIDE} that a picture here is wide",
        period="; ".join(f"{escape(name)}: every {seen.steps} steps" for name, seen in look.seen.items()),
    )
    write_text(folder / PAGE, page)


def remarks(look: Look) -> list[str]:
    """What to mind about the clips that encoders see, in sentences."""
    return [said for said in (differing_clips(look), uneven_clips(look)) if said]


def differing_clips(look: Look) -> str:
    """That encoders beside each other see clips that span other times; "" where they do not."""
    spans = {name: seen.clip.span for name, seen in look.seen.items()}
    if len(set(spans.values())) < 2:
        return ""
    words = ", ".join(f"{name} {span}" for name, span in spans.items())
    return (
        f"Mind: these encoders see clips of different length in time (frames of the video that a clip spans: {words}). Their "
        "steps last differently long, and their numbers differ for that reason too."
    )


def uneven_clips(look: Look) -> str:
    """How clips were laid where the stretch, or the video, is no multiple of them; "" where it is."""
    said: dict[str, list[str]] = {}
    for name, seen in look.seen.items():
        said.setdefault(_uneven(look, seen), []).append(name)
    together = len(said) == 1
    return " ".join(
        f"{'' if together else ', '.join(names) + ': '}{sentence}"
        for sentence, names in said.items()
        if sentence
    )


def _uneven(look: Look, seen: Sight) -> str:
    span, starts = seen.clip.span, seen.starts
    if look.whole < span:
        return (
            f"The video has {look.whole} frames and a clip spans {span}: the clip starts again with the video's first frame "
            "where its last is through."
        )
    shared = starts[-2] + span - starts[-1] if len(starts) > 1 else 0
    before = int(look.numbers[0]) - starts[0]
    after = starts[-1] + span - 1 - int(look.numbers[-1])
    beyond = [f"{n} {where}" for n, where in ((before, "before"), (after, "after")) if n > 0]
    parts = [f"the last of {len(starts)} overlaps the one before ({shared} frames)"] if shared > 0 else []
    parts += [f"they also see frames that are not shown ({', '.join(beyond)})"] if beyond else []
    return f"Clips do not fit in evenly: {', and '.join(parts)}." if parts else ""


def _clip(clip: Clip) -> str:
    return f"{clip.frames} frames at stride {clip.stride} (of {clip.span})"
