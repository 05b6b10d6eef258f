"""Commands that judge an encoder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinevec.cli.app import LABELLED, app, named_options, progress_bars
from kinevec.cli.on_ray import AddressOption, GpusOption, RayOption, WorkersOption, chosen_cluster
from kinevec.cli.scores import print_difference, print_per_class, print_scores, say_filed
from kinevec.errors import InputError, LateError

if TYPE_CHECKING:
    from kinevec.evaluate.evaluation import Evaluation

ALL = "retrieval, linear, knn, few-shot, finetune"
PROTOCOL_OPTIONS = {  # → the setting that they decide, which bears on some protocols only
    "neighbours": "k",
    "temperature": "temperature",
    "shots": "shots",
    "draws": "draws",
    "seeds": "seeds",
    "tuning": "finetune",
    "changes": "finetune",
}


@app.command("eval")
def evaluate(
    context: typer.Context,
    encoders: Annotated[
        list[str],
        typer.Argument(
            help="Folder of a run, or untrained:NAME. Several runs: seeds of one configuration, judged as their "
            "mean. Or the JSON of an earlier evaluation, to be compared with --against."
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(help=LABELLED),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="JSON file to write; default: eval.json in the run, or beside runs; where that holds another "
            "evaluation, eval-PROTOCOLS-DATA.json.",
        ),
    ] = None,
    protocols: Annotated[str, typer.Option(help=f"Separated by commas, of: {ALL}.")] = "retrieval,linear,knn",
    clips: Annotated[int, typer.Option(min=1, help="Clips per video, even in time.")] = 10,
    crops: Annotated[
        int, typer.Option(help="Views of each clip: 1, the centre, or 3 along the longer side.")
    ] = 1,
    neighbours: Annotated[int, typer.Option("--k", min=1, help="Neighbours that vote in knn.")] = 20,
    temperature: Annotated[float, typer.Option(help="Of the votes in knn.")] = 0.07,
    shots: Annotated[str, typer.Option(help="few-shot: labelled videos per class, as in 1,5.")] = "1,5",
    draws: Annotated[
        int, typer.Option(min=1, help="few-shot: choices of the labelled videos, per seed.")
    ] = 10,
    seeds: Annotated[
        int, typer.Option(min=1, help="Seeds of linear, few-shot and finetune: 0, 1, … so many.")
    ] = 1,
    tuning: Annotated[
        str,
        typer.Option(
            "--finetune",
            help="Schedule: ucf101 or hmdb51 (as published: 150 epochs of SGD), or small (40 epochs of AdamW, for CPUs).",
        ),
    ] = "ucf101",
    changes: Annotated[
        list[str],
        typer.Option(
            "--finetune-set", help="Change one of its values, as in epochs=20, freeze=true. Repeatable."
        ),
    ] = [],  # noqa: B006 (typer copies it)
    save: Annotated[
        Path | None, typer.Option(help="File (.safetensors) for the fine-tuned classifier of the first seed.")
    ] = None,
    untrained: Annotated[
        bool, typer.Option(help="Judge the untrained encoder too; fine-tuning it is training from scratch.")
    ] = True,
    against: Annotated[
        Path | None,
        typer.Option(
            help="Another evaluation, its JSON or a folder with an eval.json: show the differences and how sure they "
            "are. Of a file with several encoders name one, as in demo/eval.json#MSCL."
        ),
    ] = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="Print a table of the classes.")] = False,
    figures: Annotated[
        bool, typer.Option("--figures", help="Draw confusion matrices beside the JSON (PNG).")
    ] = False,
    cache: Annotated[
        Path | None, typer.Option(help="Folder to keep features in; default: features/ in the run.")
    ] = None,
    keep: Annotated[
        bool,
        typer.Option("--keep-features/--no-keep-features", help="Keep features for the next evaluation."),
    ] = True,
    device: Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda, cuda:1.")] = "auto",
    ray: RayOption = False,
    ray_address: AddressOption = None,
    workers: WorkersOption = 0,
    ray_gpus: GpusOption = 0.0,
) -> None:
    """Score an encoder on labelled videos, beside the untrained encoder and chance.

    Reads videos with a train and a test split (a quarter is held out where the data name no split). Writes the
    scores with intervals, and what was found of every test video, as JSON; features are kept, at most 2 GB.
    Cost: decodes every video once; some 30 videos a second on 2 CPU cores with the tiny encoder. Fine-tuning
    trains for so many epochs, twice with the untrained encoder: ucf101 is meant for a GPU.
    """
    from kinevec import config, tasks
    from kinevec.evaluate.compare import ABOUT
    from kinevec.evaluate.finetune_config import finetune_config
    from kinevec.evaluate.protocols import Settings
    from kinevec.tasks import judging

    written = [name for name in encoders if name.endswith(".json") or ".json#" in name]
    if len(encoders) == 1 and written:
        if against is None:
            raise InputError(f"{encoders[0]} is an evaluation; name another one with --against")
        if others := [option for name, option in named_options(context).items() if name != "against"]:
            raise InputError(f"{encoders[0]} is an evaluation: {', '.join(others)} would be of encoders")
        print_difference(judging.compare(encoders[0], against).content)
        return
    if written:
        raise InputError(
            f"{written[0]} is an evaluation, which is not judged again; compare it with --against"
        )
    if data is None:
        raise InputError("name labelled videos with --data")
    for name in ("clips", "crops", "seed"):
        given = any(change.partition("=")[0].strip() == name for change in changes)
        option = "--seeds" if name == "seed" else f"--{name}"
        config.check(not given, f"{name} of fine-tuning is that of the other protocols: use {option}")
    named = tuple(word.strip() for word in protocols.split(",") if word.strip())
    settings = Settings(
        protocols=named,
        clips=clips,
        crops=crops,
        k=neighbours,
        temperature=temperature,
        shots=_numbers(shots),
        draws=draws,
        seeds=tuple(range(seeds)),
        finetune=finetune_config(tuning, changes),
    )
    for name, option in named_options(context).items():
        if name in PROTOCOL_OPTIONS:
            about = ABOUT[PROTOCOL_OPTIONS[name]]
            config.check(
                bool(about & set(named)),
                f"{option} is about {' and '.join(sorted(about))}, which --protocols {protocols} lacks: add it there",
            )
    cluster = chosen_cluster(ray, ray_address, workers, ray_gpus)
    config.check(bool(cluster) or not (workers or ray_gpus), "--workers and --ray-gpus belong to --ray")
    try:
        with progress_bars() as bars:
            result = tasks.evaluate(
                encoders,
                data,
                out=json_file,
                settings=settings,
                untrained=untrained,
                device=device,
                cluster=cluster,
                cache=(cache or "auto") if keep else None,
                save=save,
                figures=figures,
                against=against,
                watcher=bars,
            )
    except LateError as error:
        _show(error.result, per_class)
        raise
    _show(result, per_class)


def _show(result: "Evaluation", per_class: bool) -> None:
    """All that was found, and where it was written."""
    print_scores(result)
    if per_class:
        print_per_class(result)
    if "against" in result.facts:
        print_difference(result.facts["against"])
    if result.filed is not None:
        say_filed(result.filed)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError as error:
        raise InputError(f"--shots is '{text}'; write numbers separated by commas, as in 1,5") from error
