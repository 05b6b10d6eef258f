"""Commands that train."""

from pathlib import Path
from typing import Annotated

import typer

from kinevec.cli.app import DataOption, app, command, progress_bars, say
from kinevec.cli.scores import print_scores

RunOption = Annotated[Path, typer.Option("--out", "-o", help="Folder to write the run to.")]
SetOption = Annotated[
    list[str],
    typer.Option("--set", help="Change one value of the configuration: section.key=value. Repeatable."),
]


@app.command()
def pretrain(
    preset: Annotated[str, typer.Argument(help="Preset (see `kinevec presets`) or a TOML file.")],
    data: DataOption,
    run: RunOption,
    changes: SetOption = [],  # noqa: B006 (typer copies it)
    resume: Annotated[bool, typer.Option(help="Go on from the checkpoint in the run's folder.")] = False,
) -> None:
    """Train an encoder on unlabelled videos.

    Reads the videos of the train split (all but a quarter where the data name no split). Writes weights,
    checkpoint, configuration and logs to the run's folder. Cost: the preset 'moco' takes some minutes on
    2 CPU cores for some hundred videos; the papers' presets take GPU days. Under `torchrun` all its processes
    train together.
    """
    from kinevec import ranks, tasks

    with progress_bars() as bars:
        folder = tasks.pretrain(preset, data, run, changes=changes, resume=resume, watcher=bars)
    if not ranks.follows():
        say(f"The encoder is in {folder}. Judge it: {command('eval', folder, '--data', data)}")


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything the demo makes.")] = Path(
        "demo"
    ),
    videos: Annotated[
        Path | None, typer.Option(help="Your own videos; default: procedural ones are made.")
    ] = None,
    steps: Annotated[
        int, typer.Option(min=1, help="Training steps of each method, rounded up to whole epochs.")
    ] = 200,
) -> None:
    """Do the main job end to end and write a report: MoCo, MSCL and FIMA on the same videos, side by side.

    Writes videos, runs, scores, a small audit and report.html. Cost: about 10 minutes on 2 CPU cores. Without labels
    there are no scores, but neighbours to look at.
    """
    from kinevec import demo as job

    with progress_bars() as bars:
        report, result = job.demo(folder, videos=videos, steps=steps, watcher=bars)
    print_scores(result)
    say(f"Open the report: {report.resolve().as_uri()}")


@app.command()
def presets() -> None:
    """List the presets."""
    from kinevec import config

    for name, meaning in config.presets().items():
        say(f"{name:14} {meaning}")
