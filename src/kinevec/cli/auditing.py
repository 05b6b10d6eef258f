"""The command that says what a score rests on."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from kinevec.cli.app import LabelledOption, app, named_options, progress_bars, say
from kinevec.cli.tables import number_columns, print_table
from kinevec.errors import LateError

if TYPE_CHECKING:
    from kinevec.evaluate.audit import Audit, Estimate
    from kinevec.evaluate.audit.settings import Side


@app.command()
def audit(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    data: LabelledOption,
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Folder of masks named like the videos: grey videos (depth, segmentation), folders of images, "
            ".npy; or a folder made by `kinevec synth`. Default: estimated from the frames."
        ),
    ] = None,
    mask_level: Annotated[
        int, typer.Option(help="Grey level of a mask above which a pixel is foreground, 0 to 254.")
    ] = 127,
    folder: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for audit.json and audit.html; default: the run."),
    ] = None,
    clips: Annotated[int, typer.Option(min=1, help="Clips per video, even in time.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Of orders, colours, noise and backgrounds.")] = 0,
    device: Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda, cuda:1.")] = "auto",
) -> None:
    """Is it motion or background? Score a run on videos that stand still, run backward, are only moving noise, …

    Reads labelled videos with a train and a test split (a quarter is held out where the data name no split).
    Writes a table, audit.json, and audit.html with examples of every change. Cost: decodes every video once and
    encodes nine versions of each clip with the trained and with the untrained encoder, about 0.4 seconds a video on
    one CPU core with the tiny encoder; and then some minutes to fit twenty linear probes where videos and classes
    are many.
    """
    from kinevec import config, tasks
    from kinevec.evaluate.audit import AuditConfig

    config.check(
        masks is not None or "mask_level" not in named_options(context),
        "--mask-level is about the files of --masks: name their folder too",
    )
    wanted = config.from_dict(AuditConfig, {"clips": clips, "seed": seed})
    try:
        with progress_bars() as bars:
            result = tasks.audit(
                run,
                data,
                masks=masks,
                mask_level=mask_level,
                out=folder,
                settings=wanted,
                device=device,
                watcher=bars,
            )
    except LateError as error:
        print_audit(error.result)
        raise
    print_audit(result)
    say(f"Look at it: {((folder or run) / 'audit.html').resolve().as_uri()}")


def print_audit(result: "Audit") -> None:
    """The figures, and below them the scores they are made from."""
    from kinevec.evaluate.audit.figures import FIGURES
    from kinevec.evaluate.audit.scores import METRICS

    data = result.facts["data"]
    table = Table(
        title=f"{data['test']} test videos, {data['train']} train videos, {data['classes']} classes"
    )
    table.add_column("percent [95 % interval]")
    pairs = [(encoder, metric) for encoder in result.figures for metric in METRICS]
    number_columns(table, *(f"{encoder}\n{metric}" for encoder, metric in pairs), "chance")
    reasons: dict[str, None] = {}
    for key, figure in FIGURES.items():
        found = {encoder: figures.get(key, {}) for encoder, figures in result.figures.items()}
        if any(found.values()):
            cells = (_cell(found[encoder].get(metric)) for encoder, metric in pairs)
            guesses = {metric: result.guess(key, metric) for metric in METRICS}
            table.add_row(figure.title, *cells, _chances(guesses.values()))
        for encoder, estimates in found.items():
            for metric, value in estimates.items():
                if value.undefined:  # mostly the same for every figure
                    reasons[f"No value of {encoder}, {metric}: {value.undefined}."] = None
    print_table(table)
    for reason in reasons:
        say(reason)
    say(_masks(result))
    if result.doubt:
        say(result.doubt)
    print_table(_scores(result))


def _masks(result: "Audit") -> str:
    """Where the foreground comes from, on which the figures of backgrounds depend."""
    masks, data = result.facts["masks"], result.facts["data"]
    return (
        f"Masks of the foreground are {masks['source']}. {masks['test_videos_swapped']} of {data['test']} test videos "
        "got another background."
    )


def _scores(result: "Audit") -> Table:
    from kinevec.evaluate.audit.scores import METRICS

    brackets = "; in brackets untrained" if len(result.scores) > 1 else ""
    table = Table(title=f"Scores in %: train and test changed / test alone changed{brackets}")
    table.add_column("")
    number_columns(table, *METRICS)
    first = next(iter(result.scores.values()))
    for condition in first:
        rows = [scores[condition] for scores in result.scores.values()]
        cells = []
        for metric in METRICS:
            trained, *others = (_pair(row, metric, condition) for row in rows)
            cells.append(trained + "".join(f" ({text})" for text in others))
        table.add_row(condition, *cells)
    table.add_row("chance", *(f"{result.chance[metric]:.1f}" for metric in METRICS), style="dim")
    return table


def _pair(sides: "Mapping[Side, Mapping[str, Estimate]]", metric: str, condition: str) -> str:
    """Score with both sides changed / with test alone changed; one number of the original."""
    from kinevec.evaluate.audit.settings import ORIGINAL, SIDES

    values = [sides[side][metric].value if side in sides else None for side in SIDES]
    texts = ["–" if value is None else f"{value:.1f}" for value in values]
    return texts[0] if condition == ORIGINAL else " / ".join(texts)


def _chances(guesses: "Iterable[float | None]") -> str:
    """One number where it is the same by every metric; nothing where a figure is reckoned above chance."""
    return " / ".join(dict.fromkeys(f"{guess:.0f}" for guess in guesses if guess is not None))


def _cell(value: "Estimate | None") -> str:
    if value is None:
        return ""
    if value.value is None or value.low is None or value.high is None:
        return "no value"
    return f"{value.value:.0f} [{value.low:.0f}, {value.high:.0f}]"
