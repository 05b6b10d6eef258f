"""Commands that make and prepare videos."""

from pathlib import Path
from typing import Annotated

import typer

from kinevec.cli import early
from kinevec.cli.app import app, command, progress_bars, say
from kinevec.cli.on_ray import AddressOption, RayOption, chosen_cluster


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
    ray: RayOption = False,
    ray_address: AddressOption = None,
) -> None:
    """Check, transcode, measure and list videos once, so that training reads them fast.

    Writes small H.264 files, manifest.parquet, and rejected.csv with every file left out and why. Can be
    stopped and run again: finished files are kept. Cost: about 300 frames a second on a core, 1000 with
    --motion none.
    """
    early.videos(videos)
    early.into_folder(folder)
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
    cluster = chosen_cluster(ray, ray_address, workers)
    with progress_bars() as bars:
        summary = tasks.prepare(
            videos, folder, wanted, official=chosen, workers=workers, cluster=cluster, watcher=bars
        )
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
    from kinevec import config

    values = {"method": method, "weights": weights, "gap": gap, "short_side": short_side}
    wanted = config.from_dict(config.Flow, values)
    early.prepared(data)
    from kinevec import tasks

    with progress_bars() as bars:
        summary = tasks.flow(data, wanted, workers=workers, watcher=bars)
    for line in summary.lines():
        say(line)


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
    light: Annotated[
        float, typer.Option(help="Of the background, 0 to 1; in less light motion is learnt sooner.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Same seed, same videos.")] = 0,
) -> None:
    """Make procedural motion videos: ten classes that differ only in how an object moves.

    Writes H.264 files and labels.csv with a train and a test split. Cost: seconds.
    """
    from kinevec import config
    from kinevec.data import SynthConfig

    values = {
        "videos_per_class": videos_per_class,
        "test_share": test_share,
        "size": size,
        "frames": frames,
        "background": background,
        "light": light,
        "seed": seed,
    }
    wanted = config.from_dict(SynthConfig, values)
    early.into_folder(folder)
    from kinevec import tasks

    with progress_bars() as bars:
        listed = tasks.synth(folder, wanted, watcher=bars)
    say(
        f"The videos are listed in {listed}. Train on them: {command('pretrain', 'moco', '--data', folder, '-o', 'runs/a')}"
    )
