"""Commands that draw."""

import math
from pathlib import Path
from typing import Annotated

import typer

from kinevec.cli import early
from kinevec.cli.app import app, say


@app.command()
def show(
    encoder: Annotated[str, typer.Argument(help="Run's folder, exported model, or untrained:NAME.")],
    video: Annotated[Path, typer.Argument(help="A video file.")],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder to write to, new or of an earlier look; default: look-VIDEO beside you.",
        ),
    ] = None,
    beside: Annotated[
        list[str], typer.Option("--beside", help="A further encoder to show beside it. Repeatable.")
    ] = [],  # noqa: B006 (typer copies it)
    start: Annotated[float, typer.Option("--from", min=0.0, help="Seconds.")] = 0.0,
    end: Annotated[
        float | None, typer.Option("--to", help="Seconds; default: the end, or 300 frames on.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda, cuda:1.")] = "auto",
) -> None:
    """Show where encoders look in a video, what moves, and how features of frames and of motion agree.

    Writes activation maps (film and strip), flow, differences and foreground, affinity matrices, their numbers, and a
    page that shows them together. Cost: seconds with the tiny encoder.
    """
    early.video(video)
    from kinevec import tasks
    from kinevec.show.look_page import remarks

    page, found = tasks.show(
        [encoder, *beside], video, folder or Path(f"look-{video.stem}"), start=start, end=end, device=device
    )
    for name, seen in found.seen.items():
        followed = "–" if math.isnan(seen.on_motion) else f"{seen.on_motion:+.2f}"
        say(f"{name}: activation follows speed {followed}")
    for remark in remarks(found):
        say(remark)
    say(f"Open the page: {page.resolve().as_uri()}")
