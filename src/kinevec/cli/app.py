"""What all commands share: the application, the consoles, and the bars of progress."""

import logging
import platform
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from kinevec.train.meter import Status

app = typer.Typer(
    help="Learn video embeddings that encode how things move, from unlabelled video.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
console = Console(stderr=True)  # progress, warnings and errors; results go to standard output
out = Console()
QUIET_SECONDS = 20  # between two lines of progress where there is no terminal

DataOption = Annotated[
    Path,
    typer.Option(
        help="Folder of videos (one subfolder per class, or flat), or a CSV: path[,label][,group][,split]."
    ),
]


LABELLED = "Labelled videos: a folder with one subfolder per class, or a CSV: path,label[,group][,split]."
LabelledOption = Annotated[Path, typer.Option("--data", help=LABELLED)]


def tell_version(wanted: bool) -> None:
    """Says which kinevec, PyTorch and Python these are, and ends; nothing of them is imported for it."""
    if not wanted:
        return
    parts = []
    for name in ("kinevec", "torch"):
        try:
            parts.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            parts.append(f"{name} of unknown version")
    say(f"{', '.join(parts)}, Python {platform.python_version()}")
    raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug messages.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=tell_version, is_eager=True, help="Say the version and end.")
    ] = False,
) -> None:
    """Learn video embeddings that encode how things move, from unlabelled video."""
    logging.getLogger("kinevec").addHandler(Spoken())
    logging.getLogger("kinevec").setLevel(logging.DEBUG if debug else logging.INFO)


class Spoken(logging.Handler):
    """Says log messages on the console above the bars, one line each, however long."""

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else "dim"
        text = f"{record.levelname.lower()}: {record.getMessage()}"
        console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


class Bars:
    """Draws the progress of a task: bars on a terminal, now and then a line elsewhere."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self.tasks: dict[str, TaskID] = {}
        self.said = time.monotonic()

    def counted(self, what: str, done: int, total: int) -> None:
        self._show(what, done, total, "")

    def trained(self, status: "Status") -> None:
        values = " ".join(f"{name} {value:.3g}" for name, value in status.values.items())
        values += "".join(
            f" {name} {status.health[name]:.2g}" for name in ("spread", "rank") if name in status.health
        )
        ailing = "".join(f"{name.upper()}, " for name in status.ailing)  # what it means was said above
        left = timedelta(seconds=round(status.seconds_left))
        note = (
            f"epoch {status.epoch}, {status.clips_per_second:.0f} clips/s, waiting {status.waiting:.0%}, "
            f"{values}, {ailing}{left} left"
        )
        self._show("training", status.step, status.total, note)

    def _show(self, what: str, done: int, total: int, note: str) -> None:
        if self.progress is not None:
            if what not in self.tasks:
                self.tasks[what] = self.progress.add_task(what, total=total, note=note)
            self.progress.update(self.tasks[what], completed=done, note=note)
        elif done == total or time.monotonic() - self.said > QUIET_SECONDS:
            self.said = time.monotonic()
            line = f"{what}: {done} of {total}{'; ' + note if note else ''}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def named_options(context: typer.Context) -> dict[str, str]:
    """The options that were given on the command line: parameter → how it is spelled."""
    found = {}
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE" and parameter.param_type_name == "option":
            found[str(parameter.name)] = max(parameter.opts, key=len)
    return found


@contextmanager
def progress_bars() -> Iterator[Bars]:
    if not console.is_terminal:
        yield Bars(None)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[note]}", style="dim"),
    )
    with Progress(*columns, console=console) as progress:
        yield Bars(progress)


def command(*words: str | Path) -> str:
    """A command of ours that can be pasted into a shell."""
    return shlex.join(["kinevec", *map(str, words)])


def say(text: str) -> None:
    """Prints one line of results."""
    out.print(text, highlight=False, markup=False, soft_wrap=True)
