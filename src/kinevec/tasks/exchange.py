"""Giving encoders to others, and taking theirs."""

import json
import logging
from pathlib import Path
from typing import Any

from kinevec import encoders
from kinevec.encoders import Loaded
from kinevec.encoders.foreign import Brought, bring
from kinevec.exchange.export import export as write
from kinevec.exchange.target import EVALUATION, check_target
from kinevec.tasks.stopping import stoppable

log = logging.getLogger(__name__)


@stoppable("what the folder held is as it was, or all of it is new")
def export(place: str | Path, out: str | Path, *, onnx: bool = False, torch_export: bool = False) -> Path:
    """Writes an encoder as a folder that anyone can load: weights, configuration, model card.

    Args:
        place: a run, or any other place of an encoder; see `kinevec.encoders.load`. Its `eval.json` comes along,
            without paths and file names, where it was made of this encoder.
        out: the folder; an exported model that is there is replaced.
        onnx: also write `model.onnx`, compared with PyTorch.
        torch_export: also write `model.pt2`, a `torch.export` program, compared likewise.

    Returns:
        The folder.
    """
    _check(Path(out), onnx)
    loaded = encoders.load(place)
    evaluation = _evaluation(Path(place) / EVALUATION, loaded)
    return write(loaded, Path(out), evaluation=evaluation, onnx=onnx, torch_export=torch_export)


def convert(
    file: str | Path,
    out: str | Path,
    *,
    kind: str | None = None,
    frames: int | None = None,
    stride: int | None = None,
    size: int | None = None,
    partial: bool = False,
    onnx: bool = False,
) -> Brought:
    """Brings the weights of others into an encoder of ours and writes it as `export` does.

    Args:
        file: safetensors, or what `torch.save` wrote.
        out: as for `export`.
        kind: where the weights come from, a key of `kinevec.encoders.foreign.KINDS`; None: found out.
        frames, stride, size: of the clips, in place of those the weights were trained on.
        partial: go on where the encoder lacks weights; what it lacks stays random.
        onnx: as for `export`.

    Returns:
        The encoder, its kind, and what became of each entry.
    """
    _check(Path(out), onnx)
    found = bring(Path(file), kind, partial=partial, frames=frames, stride=stride, size=size)
    write(found.loaded, Path(out), onnx=onnx)
    return found


def _check(out: Path, onnx: bool) -> None:
    """Refuses what cannot be done before anything is read."""
    check_target(out)
    if onnx:
        from kinevec.exchange.programs import check_extra  # it imports the tracer

        check_extra()


def _evaluation(path: Path, loaded: Loaded) -> dict[str, Any] | None:
    """The content of `eval.json`, where it is there, readable, and of this encoder."""
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except OSError:
        return None
    except ValueError as error:
        log.warning("%s: left out, not JSON (%s)", path, error)
        return None
    run = content.get("run", {})
    same = run["identity"] == loaded.identity if "identity" in run else run.get("step") == loaded.step
    if not same:
        log.warning("%s: left out: it is of another encoder, or of another step of its training", path)
        return None
    return content
