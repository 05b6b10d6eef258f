"""The command that serves the page of an index."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from kinevec.cli import early
from kinevec.cli.app import app, console, say


@app.command()
def serve(
    index: Annotated[Path, typer.Argument(help="Folder of an index, made by `kinevec embed`.")],
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen at. Others than this machine's own can be reached from outside."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8765,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV that labels are saved to; default: labelled/labels.csv in the index."),
    ] = None,
    device: Annotated[
        str, typer.Option(help="Where to embed what is searched for: auto, cpu, cuda.")
    ] = "auto",
) -> None:
    """Search, look at, map and label the clips of an index on a page in the browser.

    Reads the index and its videos; gives out only small films of them, and nothing else. Writes labels into the
    index, and the list of them where --labels says. Works until Ctrl-C. Cost: 10 ms for each clip of a small
    video that is looked at for the first time, more for large ones; a worker process holds 80 MB, the one with the
    encoder 350 MB and more.
    """
    early.index(index)
    if labels is not None:
        early.into_file(labels)
    from kinevec import tasks

    def ready(address: str) -> None:
        say(f"Open the page: {address}")
        say("Ctrl-C ends it.")
        if show:
            webbrowser.open(address)

    if not tasks.is_loopback(host):
        warning = f"warning: {host} can be reached from outside. Whoever has the address with its key sees the clips "
        console.print(
            f"{warning}and can label them; the connection is not encrypted.", style="yellow", soft_wrap=True
        )
    tasks.serve(index, host=host, port=port, labels=labels, device=device, on_ready=ready)
    say("Ended.")
