"""The command line: each command is a call of `kinevec.tasks`, spoken; the only place that prints."""

import logging
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from kinevec.errors import Interrupted, KinevecError

if TYPE_CHECKING:
    from kinevec.evaluate.evaluation import Evaluation
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
debug = False

DataOption = Annotated[
    Path,
    typer.Option(
        help="Folder of videos (one subfolder per class, or flat), or a CSV: path[,label][,group][,split]."
    ),
]
RunOption = Annotated[Path, typer.Option("--out", "-o", help="Folder to write the run to.")]
SetOption = Annotated[
    list[str],
    typer.Option("--set", help="Change one value of the configuration: section.key=value. Repeatable."),
]


def main() -> None:
    """Runs the command line; what goes wrong comes out as one line and an exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: files are tidied up
    try:
        app()
    except Interrupted as stop:
        console.print(str(stop), style="yellow", highlight=False, markup=False, soft_wrap=True)
        if sys.argv[1:2] == ["pretrain"]:
            again = [*sys.argv[1:], *([] if "--resume" in sys.argv else ["--resume"])]
            say(f"Go on: {shlex.join(['kinevec', *again])}")
        sys.exit(stop.exit_code)
    except KinevecError as error:
        _fail(error, str(error), error.exit_code)
    except OSError as error:  # a disk that fills up, a share that goes away
        _fail(error, str(error), 1)
    except Exception as error:
        _fail(error, f"{type(error).__name__}: {error} (not foreseen; --debug shows where)", 1)


@app.callback()
def options(
    show_debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug messages.")] = False,
) -> None:
    """Learn video embeddings that encode how things move, from unlabelled video."""
    global debug
    debug = show_debug
    logging.getLogger("kinevec").addHandler(Spoken())
    logging.getLogger("kinevec").setLevel(logging.DEBUG if debug else logging.INFO)


@app.command()
def prepare(
    videos: Annotated[Path, typer.Argument(help="Folder of videos, a CSV, or one video.")],
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder to write the prepared videos to.")],
    short_side: Annotated[int, typer.Option(help="Pixels; larger videos are scaled down to it.")] = 128,
    keyframe_every: Annotated[int, typer.Option(help="Frames; 1: every frame stands alone.")] = 16,
    fps: Annotated[float, typer.Option(help="Constant frame rate to resample to; 0: keep the times.")] = 0.0,
    store: Annotated[str, typer.Option(help="h264, or none: only check, measure and list.")] = "h264",
    quality: Annotated[int, typer.Option(help="H.264 constant rate factor; lower is better.")] = 20,
    motion: Annotated[
        str, typer.Option(help="Flow method of the motion statistics; none: leave out.")
    ] = "dis",
    official: Annotated[
        str | None,
        typer.Option(
            help="VIDEOS is a data set with official lists: ucf101, hmdb51, something-something-v2, diving48, "
            "kinetics-400 or utd-mhad. Labels and splits come from them."
        ),
    ] = None,
    lists: Annotated[
        Path | None,
        typer.Option(help="With --official: folder of its lists; default: in VIDEOS or the folder above."),
    ] = None,
    fold: Annotated[int, typer.Option(help="With --official: which of its splits, from 1.")] = 1,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="With --official: go on without videos that are not there."),
    ] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one per core.")] = 0,
) -> None:
    """Check, transcode, measure and list videos once, so that training reads them fast.

    Writes small H.264 files, manifest.parquet, and rejected.csv with every file left out and why. Can be
    stopped and run again: finished files are kept. Cost: about 300 frames a second on a core, 1000 with
    --motion none.
    """
    from kinevec import config, tasks
    from kinevec.data.prepare import PrepareConfig

    values = {
        "short_side": short_side,
        "keyframe_every": keyframe_every,
        "fps": fps,
        "store": store,
        "quality": quality,
        "motion": motion,
    }
    wanted = config.from_dict(PrepareConfig, values)
    chosen = tasks.Official(official, lists, fold, allow_missing) if official else None
    config.check(
        bool(chosen) or (lists, fold, allow_missing) == (None, 1, False),
        "--lists, --fold and --allow-missing belong to --official NAME, which is not given",
    )
    with _bars() as bars:
        summary = tasks.prepare(videos, folder, wanted, official=chosen, workers=workers, watcher=bars)
    for line in summary.lines():
        say(line)


@app.command()
def flow(
    data: Annotated[Path, typer.Argument(help="Folder made by `kinevec prepare`.")],
    method: Annotated[str, typer.Option(help="dis, dis-medium, farneback, …, or raft.")] = "dis",
    weights: Annotated[str, typer.Option(help="File of RAFT's weights (torchvision's).")] = "",
    gap: Annotated[int, typer.Option(help="Frames from the first to the second of a pair.")] = 8,
    short_side: Annotated[int, typer.Option(help="Pixels; larger frames are scaled down to it.")] = 128,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one per core.")] = 0,
) -> None:
    """Compute the optical flow of prepared videos once; pretraining with the same [flow] settings reads it.

    Writes DATA/flow. Can be stopped and run again: finished videos are kept. Cost: some 500 pairs of frames a
    second on a core and 5 GB per hour of video at a short side of 128 pixels; 2500 and 1 GB at 64.
    """
    from kinevec import config, tasks

    values = {"method": method, "weights": weights, "gap": gap, "short_side": short_side}
    wanted = config.from_dict(config.Flow, values)
    with _bars() as bars:
        summary = tasks.flow(data, wanted, workers=workers, watcher=bars)
    for line in summary.lines():
        say(line)


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
    2 CPU cores for some hundred videos; the papers' presets take GPU days.
    """
    from kinevec import tasks

    with _bars() as bars:
        folder = tasks.pretrain(preset, data, run, changes=changes, resume=resume, watcher=bars)
    say(f"The encoder is in {folder}. Judge it: {_command('eval', folder, '--data', data)}")


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

    with _bars() as bars:
        result = tasks.evaluate(run, data, out=json_file, clips=clips, device=device, watcher=bars)
    _print_scores(result)
    say(f"Written to {json_file or run / 'eval.json'}")


@app.command()
def synth(
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder to write the videos to.")],
    videos_per_class: Annotated[int, typer.Option(help="Videos of each of the ten motions.")] = 40,
    test_share: Annotated[float, typer.Option(help="Share of the videos that go to the test split.")] = 0.25,
    size: Annotated[int, typer.Option(help="Height and width in pixels, even.")] = 96,
    frames: Annotated[int, typer.Option(help="Frames of a video, at 24 a second.")] = 48,
    background: Annotated[
        str, typer.Option(help="unbiased, or biased: it tells the class in train and misleads in test.")
    ] = "unbiased",
    seed: Annotated[int, typer.Option(help="Same seed, same videos.")] = 0,
) -> None:
    """Make procedural motion videos: ten classes that differ only in how an object moves.

    Writes H.264 files and labels.csv with a train and a test split. Cost: seconds.
    """
    from kinevec import config, tasks
    from kinevec.data import SynthConfig

    values = {
        "videos_per_class": videos_per_class,
        "test_share": test_share,
        "size": size,
        "frames": frames,
        "background": background,
        "seed": seed,
    }
    wanted = config.from_dict(SynthConfig, values)
    with _bars() as bars:
        listed = tasks.synth(folder, wanted, watcher=bars)
    say(
        f"The videos are listed in {listed}. Train on them: {_command('pretrain', 'moco', '--data', folder, '-o', 'runs/a')}"
    )


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything the demo makes.")] = Path(
        "demo"
    ),
    videos: Annotated[
        Path | None, typer.Option(help="Your own videos; default: procedural ones are made.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 600,
) -> None:
    """Do the main job end to end and write a report: videos, pretraining, evaluation, neighbours.

    Cost: about 4 minutes on 2 CPU cores. Without labels there are no scores, but neighbours to look at.
    """
    from kinevec import demo as job

    with _bars() as bars:
        report, result = job.demo(folder, videos=videos, steps=steps, watcher=bars)
    _print_scores(result)
    say(f"Open the report: {report.resolve().as_uri()}")


@app.command()
def presets() -> None:
    """List the presets."""
    from kinevec import config

    for name, meaning in config.presets().items():
        say(f"{name:14} {meaning}")


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
        left = time.strftime("%H:%M:%S", time.gmtime(status.seconds_left))
        note = (
            f"epoch {status.epoch}, {status.clips_per_second:.0f} clips/s, waiting {status.waiting:.0%}, "
            f"{values}, {left} left"
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


@contextmanager
def _bars() -> Iterator[Bars]:
    if not console.is_terminal:
        yield Bars(None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[note]}", style="dim"),
    )
    with Progress(*columns, console=console) as progress:
        yield Bars(progress)


def _command(*words: str | Path) -> str:
    """A command of ours that can be pasted into a shell."""
    return shlex.join(["kinevec", *map(str, words)])


def say(text: str) -> None:
    """Prints one line of results."""
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def _print_scores(result: "Evaluation") -> None:
    if not result.scores:
        say(
            "The videos have no labels: there are no scores. To look at neighbours: kinevec demo --videos FOLDER"
        )
        return
    data = result.facts["data"]
    table = Table(
        title=f"{data['test']} test videos, {data['train']} train videos, {data['classes']} classes (%)"
    )
    encoders = {**result.scores, "chance": result.chance}
    table.add_column("")
    for encoder in encoders:
        table.add_column(encoder, justify="right")
    for score in result.telling:
        table.add_row(score, *(f"{scores[score]:.1f}" for scores in encoders.values()))
    out.print(table)


def _fail(error: Exception, words: str, code: int) -> None:
    if debug:
        raise error
    console.print(f"error: {words}", style="bold red", highlight=False, markup=False, soft_wrap=True)
    sys.exit(code)
