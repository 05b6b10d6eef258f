"""Writes the folder of an exported model, whole or not at all."""

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch

from kinevec.data.whole import write_text, writing
from kinevec.encoders import Loaded
from kinevec.encoders.folder import describe, digest
from kinevec.encoders.layout import CONFIG, OLD, PART, WEIGHTS, aside, left_aside
from kinevec.exchange.card import card
from kinevec.exchange.target import CARD, EVALUATION, ONNX, PROGRAM, check_target

log = logging.getLogger(__name__)

# Entries of eval.json that stay at home.
PRIVATE = frozenset({"command", "folder", "file", "outcomes", "against"})


def export(
    loaded: Loaded,
    out: Path,
    *,
    evaluation: Mapping[str, Any] | None = None,
    onnx: bool = False,
    torch_export: bool = False,
) -> Path:
    """Writes weights, configuration, model card and, where wanted, programs into one folder.

    Args:
        loaded: the encoder.
        out: the folder; an exported model that is there is replaced once the new one is whole.
        evaluation: the content of `eval.json`; it is written without paths and file names.
        onnx: also `model.onnx`, compared with PyTorch.
        torch_export: also `model.pt2`, a `torch.export` program, compared likewise.

    Returns:
        The folder.

    Raises:
        OutputError: something else is there, or it cannot be written.
        InputError: a package is missing.
        WorkError: a program computes something else.
    """
    out = check_target(out)
    told = publishable(evaluation) if evaluation else None
    with _whole_folder(out) as new:
        weights = {name: value.cpu().contiguous() for name, value in loaded.encoder.state_dict().items()}
        (new / WEIGHTS).write_bytes(safetensors.torch.save(weights, {"format": "pt"}))
        programs = _write_programs(loaded, new, onnx=onnx, torch_export=torch_export)
        _write_json(new / CONFIG, describe(loaded, digest(new / WEIGHTS)))
        write_text(new / CARD, card(loaded, out.name, programs, told))
        if told:
            _write_json(new / EVALUATION, told)
    return out


def publishable(content: Any) -> Any:
    """JSON of an evaluation without commands, paths and the names of videos; rejected ones are counted."""
    if isinstance(content, Mapping):
        kept = {key: value for key, value in content.items() if key not in PRIVATE}
        return {
            key: len(value) if key == "rejected" and isinstance(value, list | dict) else publishable(value)
            for key, value in kept.items()
        }
    if isinstance(content, list):
        return [publishable(value) for value in content]
    if isinstance(content, str) and (content.startswith("~") or os.path.isabs(content)):
        return Path(content).name
    return content


def _write_programs(loaded: Loaded, folder: Path, *, onnx: bool, torch_export: bool) -> dict[str, float]:
    """File → the largest difference from PyTorch, as a share of the largest value."""
    if not (onnx or torch_export):
        return {}
    from kinevec.exchange import programs  # the tracer takes a second to import

    if onnx:
        programs.check_extra()
    module, traced = programs.trace(loaded)
    found = {}
    if onnx:
        found[ONNX] = programs.write_onnx(module, traced, folder / ONNX)
    if torch_export:
        found[PROGRAM] = programs.write_program(module, traced, folder / PROGRAM)
    for name, difference in found.items():
        log.info("%s agrees with PyTorch to %.0e of the largest value", name, difference)
    return found


def _write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write to, which takes its place at the end, or leaves nothing.

    Killed at any moment, it leaves a whole model under the name, or the one before aside, where `encoders.load` finds
    it and the next export puts it back.
    """
    new, old = (aside(out, os.getpid(), end) for end in (PART, OLD))
    try:
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            _tidy(out)
            new.mkdir()
            yield new
            for path in new.iterdir():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            if out.exists():
                out.rename(old)
            try:
                new.rename(out)
            except OSError:
                if old.exists():
                    old.rename(out)
                raise
            with contextlib.suppress(OSError):
                old.rename(new)  # first: half removed, it must not be taken for a model that can be put back
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _tidy(out: Path) -> None:
    """Puts the model back that an export had moved aside when it was killed, and removes what else such left."""
    for path, (process, end) in left_aside(out).items():
        if process != os.getpid() and _lives(process):
            continue
        if end == OLD and not out.exists():
            path.rename(out)
            log.warning("%s: an export into it was killed; the model before it is back", out)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _lives(process: int) -> bool:
    """Whether a process of this number runs here."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
