"""A look as a folder: pictures, a film, the numbers, and a page that shows them together."""

import json
import math
from html import escape
from pathlib import Path

from kinevec.data.whole import write_text, writing
from kinevec.show.figures import activation_strip, affinity_matrices, motion_strip
from kinevec.show.film import activation_film
from kinevec.show.look import Look

PAGE = "index.html"

TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src 'self' file:; media-src 'self' file:; style-src 'unsafe-inline'">
<title>{title}</title><style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }}
body {{ max-width: 70rem; margin: 0 auto; padding: 1rem }}
img, video {{ max-width: 100%; height: auto; display: block; background: #fff }}
h2 {{ margin: 2rem 0 .3rem }} p {{ max-width: 46rem; margin: .3rem 0 .8rem }}
table {{ border-collapse: collapse }} th, td {{ padding: .2rem .8rem .2rem 0; text-align: right }}
th:first-child {{ text-align: left }}
</style></head><body>
<h1>{title}</h1>
<p>{stretch}</p>
<h2>Where each encoder looks</h2>
<p>Class-agnostic activation maps: the mean of the last feature map over its channels, from blue (the least of this
stretch) to red (the most). An encoder of motion is red where something moves.</p>
<video src="activation.mp4" controls autoplay loop muted playsinline></video>
<img src="activation.png" alt="activation maps over frames">
<h2>What moves</h2>
<p>The change from frame to frame (grey: none; made as strong as fits), optical flow (hue: direction, white: none), and the cells that
FIMA's foreground sampling would compare: those whose activation by frames and differences exceeds the median.</p>
<img src="motion.png" alt="frame differences, optical flow and foreground cells">
<h2>Do frames and motion agree?</h2>
<p>Cosines between features of the frames and of their differences. Left: cell with cell; a red diagonal means that
both name the same places. Middle: time step with time step. Right: the same by distance in time, median and
quartiles.</p>
<img src="affinity.png" alt="affinity matrices">
<h2>In numbers</h2>
<table><tr><th>encoder</th><th>activation follows speed</th><th>same place</th><th>same time</th></tr>{rows}</table>
<p>"Activation follows speed" is the correlation of both over all pixels, from −1 to 1. The other two say how much more
alike (in cosine) frames and motion are in equal cells, or at equal steps, than in different ones.</p>
</body></html>
"""


def write_look(look: Look, folder: Path) -> Path:
    """Writes activation.png, activation.mp4, motion.png, affinity.png, look.json and the page that shows them.

    Returns:
        The page.

    Raises:
        OutputError: the folder cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    activation_strip(look, folder / "activation.png")
    activation_film(look, folder / "activation.mp4")
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
    write_text(folder / "look.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    rows = "".join(
        f"<tr><th>{escape(name)}</th>"
        + "".join(f"<td>{_number(value)}</td>" for value in of.values())
        + "</tr>"
        for name, of in numbers.items()
    )
    text = TEMPLATE.format(
        title=escape(look.video.name),
        stretch=f"{len(look.numbers)} frames, {look.times[0]:.2f} to {look.times[-1]:.2f} s.",
        rows=rows,
    )
    write_text(folder / PAGE, text)
    return folder / PAGE


def _number(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−") if math.isfinite(value) else "–"
