"""Commands that judge an encoder."""

from pathlib import Path
from typing import Annotated

import typer

from kinevec.cli.app import DataOption, app, progress_bars, say
from kinevec.cli.scores import print_scores


@app.command("eval")
def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    data: DataOption,
    json_file: Annotated[
        Path | None, typer.Option("--out", "-o", help="JSON file to write; default: eval.json in the run.")
    ] = None,
    clips: Annotated[int, typer.Option(min=1, help="Clips per video, even in time.")] = 10,
    device: Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda, cuda:1.")] = "auto",
) -> None:
    """Score a run by retrieval and linear probe, beside the untrained encoder and chance.

    Reads labelled videos with a train and a test split (a quarter is held out where the data name no split).
    Cost: decodes every video once; some 30 videos a second on 2 CPU cores with the tiny encoder.
    """
    from kinevec import tasks

    with progress_bars() as bars:
        result = tasks.evaluate(run, data, out=json_file, clips=clips, device=device, watcher=bars)
    print_scores(result)
    say(f"Written to {json_file or run / 'eval.json'}")
