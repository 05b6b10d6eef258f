"""Commands that search videos."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from kinevec.cli import early
from kinevec.cli.app import app, command, out, progress_bars, say
from kinevec.cli.on_ray import AddressOption, GpusOption, RayOption, WorkersOption, chosen_cluster

if TYPE_CHECKING:
    from kinevec.search.ranking import Results

IndexArgument = Annotated[Path, typer.Argument(help="Folder of an index, made by `kinevec embed`.")]
ModeOption = Annotated[
    str,
    typer.Option(
        help="both: the encoder as it is; appearance: what a still picture shows; motion: moves alike, and better "
        "so if it looks different."
    ),
]


@app.command()
def embed(
    encoder: Annotated[str, typer.Argument(help="Folder of a run.")],
    videos: Annotated[Path, typer.Argument(help="Folder of videos, a CSV, one video, or a prepared folder.")],
    index: Annotated[Path, typer.Option("--out", "-o", help="Folder of the index; an existing one grows.")],
    length: Annotated[
        float | None,
        typer.Option(
            help="Seconds of a clip; default: the encoder's frames at its own stride, by each video's frame rate."
        ),
    ] = None,
    hop: Annotated[
        float | None, typer.Option(help="Seconds from one clip's start to the next; default: half a clip.")
    ] = None,
    appearance: Annotated[
        bool | None,
        typer.Option(
            "--appearance/--no-appearance",
            help="Also keep what each clip looks like standing still, for --mode motion and appearance; doubles the "
            "encoder's work. Default: yes.",
        ),
    ] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Take out videos whose files are gone.")] = False,
    device: Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda, cuda:1.")] = "auto",
    ray: RayOption = False,
    ray_address: AddressOption = None,
    workers: WorkersOption = 0,
    ray_gpus: GpusOption = 0.0,
) -> None:
    """Cut videos into overlapping clips and embed them into an index that can be searched.

    Reads every new or changed video once, from start to end; writes vectors, a database and a copy of the encoder.
    Can be stopped and run again: finished videos are kept. Cost: some 50 clips a second on a CPU core with the tiny
    encoder, twice that with --no-appearance; 4 KB of disk a clip at 512 channels, half that with --no-appearance.
    """
    from kinevec import config

    early.encoder(encoder)
    early.videos(videos)
    early.into_folder(index)
    from kinevec import tasks

    cluster = chosen_cluster(ray, ray_address, workers, ray_gpus)
    config.check(bool(cluster) or not (workers or ray_gpus), "--workers and --ray-gpus belong to --ray")
    with progress_bars() as bars:
        added = tasks.embed(
            encoder,
            videos,
            index,
            length=length,
            hop=hop,
            appearance=appearance,
            prune=prune,
            device=device,
            cluster=cluster,
            watcher=bars,
        )
    for line in added.lines():
        say(line)
    say(f"Search it: {command('search', index, 'QUERY.mp4')}")


@app.command()
def search(
    index: IndexArgument,
    query: Annotated[Path | None, typer.Argument(help="A video; it need not be in the index.")] = None,
    start: Annotated[
        float | None, typer.Option("--from", help="Seconds: only the part of QUERY from here on.")
    ] = None,
    stop: Annotated[
        float | None, typer.Option("--to", help="Seconds: only the part of QUERY up to here.")
    ] = None,
    video: Annotated[
        str | None,
        typer.Option(help="Instead of QUERY: a video of the index; all of it, or with --at one clip."),
    ] = None,
    at: Annotated[float | None, typer.Option(help="Seconds in --video: the clip there.")] = None,
    clip: Annotated[
        int | None, typer.Option(help="Instead of QUERY: the number of a clip of the index.")
    ] = None,
    mode: ModeOption = "both",
    folder: Annotated[str, typer.Option(help="Only videos of this folder, as in their names.")] = "",
    label: Annotated[list[str], typer.Option(help="Only this label. Repeatable.")] = [],  # noqa: B006
    split: Annotated[list[str], typer.Option(help="Only this split. Repeatable.")] = [],  # noqa: B006
    text: Annotated[str, typer.Option(help="Only videos with this in their names.")] = "",
    after: Annotated[
        float | None, typer.Option(help="Only clips from these seconds of their video on.")
    ] = None,
    before: Annotated[
        float | None, typer.Option(help="Only clips up to these seconds of their video.")
    ] = None,
    cluster: Annotated[int | None, typer.Option(help="Only this group of `kinevec cluster`.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 10,
    offset: Annotated[int, typer.Option(min=0, help="Rows to skip.")] = 0,
    group: Annotated[
        bool, typer.Option(help="One row for clips of a video that overlap or are nearly the same.")
    ] = True,
    other_videos: Annotated[
        bool, typer.Option("--other-videos", help="Leave out the query's own video.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    device: Annotated[str, typer.Option(help="Where to embed QUERY: auto, cpu, cuda, cuda:1.")] = "auto",
) -> None:
    """Find the clips that move like a video, a part of it, or a clip of the index.

    Reads the index, and QUERY, which it embeds with the index's own encoder. Writes nothing. Cost: loading the encoder
    (seconds); then 20 ms for 100,000 clips of 512 channels, three times that with --mode motion.
    """
    early.index(index)
    if query is not None:
        early.video(query)
    from kinevec import tasks
    from kinevec.search.filters import Filter

    only = Filter(folder, tuple(label), tuple(split), text, after, before, cluster)
    found = tasks.search(
        index,
        query,
        start=start,
        stop=stop,
        video=video,
        at=at,
        clip=clip,
        mode=mode,  # type: ignore[arg-type]  # checked there
        only=only,
        offset=offset,
        limit=limit,
        group=group,
        other_videos=other_videos,
        device=device,
    )
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False))
    else:
        _print(found, offset)


@app.command()
def cluster(
    index: IndexArgument,
    folder: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for groups.html and groups.csv; default: the index's."),
    ] = None,
    groups: Annotated[
        int | None,
        typer.Option(
            min=2, help="Number of groups; default: the largest of 2 to 32 found again in other videos."
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            help="What counts: motion, appearance or both; default: motion, where the index can tell."
        ),
    ] = None,
    plane: Annotated[str, typer.Option("--map", help="How to lay out the map: pca, umap or none.")] = "pca",
    seed: Annotated[int, typer.Option(help="Same seed, same groups.")] = 0,
) -> None:
    """Group the clips of an index without labels, and show some of each group.

    Writes a page with strips of frames and a CSV, and keeps groups and map in the index. Cost: seconds for 10,000
    clips; UMAP takes minutes, and needs kinevec[map].
    """
    from kinevec import config

    config.check(plane in ("pca", "umap", "none"), f"--map is '{plane}'; it must be pca, umap or none")
    early.index(index)
    early.into_folder(folder or index)
    from kinevec import tasks
    from kinevec.search.number import in_words

    with progress_bars() as bars:
        result = tasks.cluster(
            index,
            folder,
            mode=mode,  # type: ignore[arg-type]  # checked there
            count=groups,
            plane=plane,  # type: ignore[arg-type]
            seed=seed,
            watcher=bars,
        )
    if result.found.strengths is not None:
        why = in_words(result.found.strengths)
        say(f"{why[0].upper()}{why[1:]}. Another number: {command('cluster', index, '--groups', 'N')}")
    say(f"{len(result.found.clips):,} clips in {result.found.count} groups by {result.found.mode}")
    say(f"Open the page: {result.page.resolve().as_uri()}")
    say(f"The list: {result.table}")


def _print(found: "Results", offset: int) -> None:
    if not found.hits:
        say(f"Nothing found. {found.why}")
        return
    labelled = any(hit.label for hit in found.hits)
    table = Table()
    for name in ("", "score", "clip", "from", "to", "video", *(["label"] if labelled else []), "also"):
        table.add_column(name, justify="left" if name in ("video", "label") else "right", overflow="fold")
    for rank, hit in enumerate(found.hits, offset + 1):
        label = [hit.label or ""] if labelled else []
        also = f"+{hit.folded}" if hit.folded else ""
        times = f"{hit.start:.2f}", f"{hit.stop:.2f}"
        table.add_row(f"{rank}", f"{hit.score:.3f}", f"{hit.clip}", *times, hit.name, *label, also)
    out.print(table, markup=False)
    if found.more:
        say(f"More: --offset {offset + len(found.hits)}")
