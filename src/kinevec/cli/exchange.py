"""Commands that give encoders to others, and take theirs."""

from pathlib import Path
from typing import Annotated

import typer

from kinevec.cli import early
from kinevec.cli.app import app, command, say

OutOption = Annotated[
    Path,
    typer.Option(
        "--out", "-o", help="Folder to write the model to; an exported model that is there is replaced."
    ),
]
OnnxOption = Annotated[
    bool,
    typer.Option("--onnx", help="Also write model.onnx and compare it with PyTorch (needs kinevec[onnx])."),
]


@app.command()
def export(
    run: Annotated[
        str,
        typer.Argument(
            help="A run's folder, or another place of an encoder: an exported folder, a file of weights, "
            "untrained:NAME, org/name on the Hugging Face hub."
        ),
    ],
    folder: OutOption,
    onnx: OnnxOption = False,
    torch_export: Annotated[
        bool,
        typer.Option("--torch-export", help="Also write model.pt2, a torch.export program, compared too."),
    ] = False,
) -> None:
    """Write an encoder as a folder that anyone can load: weights, configuration, model card.

    Reads the encoder and, where it is there, eval.json. Writes model.safetensors, config.json, README.md, and eval.json
    without paths and file names. Cost: a second; with --onnx or --torch-export some 10 seconds to a minute.
    """
    early.encoder(run)
    early.model(folder)
    from kinevec import tasks

    written = tasks.export(run, folder, onnx=onnx, torch_export=torch_export)
    say(f"Written to {written}. In Python: kinevec.load({str(folder)!r}).embed(['a.mp4', 'b.mp4'])")


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="Weights of others: .safetensors, .pth, .pt, .pth.tar.")],
    folder: OutOption,
    kind: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Where they come from: mscl, fima, torchvision, i3d, mmaction, pytorchvideo; default: found out.",
        ),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(help="Frames of a clip; default: as the weights were trained.")
    ] = None,
    stride: Annotated[
        int | None, typer.Option(help="Video frames from one frame of a clip to the next; likewise.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Height and width of a clip in pixels; likewise.")] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Go on where weights are missing; they stay random.")
    ] = False,
    onnx: OnnxOption = False,
) -> None:
    """Bring the papers' released checkpoints, torchvision's and other libraries' weights into an encoder of ours.

    Reads one file, of which nothing is run. Writes a folder as `kinevec export` does, and says what it could not map.
    Cost: seconds.
    """
    early.weights(file)
    early.model(folder)
    from kinevec import tasks

    found = tasks.convert(
        file, folder, kind=kind, frames=frames, stride=stride, size=size, partial=partial, onnx=onnx
    )
    say(f"{found.kind}: {found.loaded.words}")
    say(found.conversion.report())
    if found.conversion.dropped:
        say(f"left out on purpose: {found.conversion.dropped_words()}")
    say(f"Written to {folder}. Judge it: {command('eval', folder, '--data', 'VIDEOS')}")
