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
from kinevec.encoders.folder import CONFIG, WEIGHTS, describe, digest, is_exported
from kinevec.errors import OutputError
from kinevec.exchange.card import card

log = logging.getLogger(__name__)

CARD = "README.md"
EVALUATION = "eval.json"
ONNX = "model.onnx"
PROGRAM = "model.pt2"
OURS = frozenset({CONFIG, WEIGHTS, CARD, EVALUATION, ONNX, PROGRAM})
PRIVATE = frozenset({"command", "folder", "file", "outcomes"})  # entries of eval.json that stay at home


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
    with _whole_folder(out) as aside:
        weights = {name: value.cpu().contiguous() for name, value in loaded.encoder.state_dict().items()}
        (aside / WEIGHTS).write_bytes(safetensors.torch.save(weights, {"format": "pt"}))
        programs = _write_programs(loaded, aside, onnx=onnx, torch_export=torch_export)
        _write_json(aside / CONFIG, describe(loaded, digest(aside / WEIGHTS)))
        write_text(aside / CARD, card(loaded, out.name, programs, told))
        if told:
            _write_json(aside / EVALUATION, told)
    return out


def check_target(out: Path) -> Path:
    """Refuses to overwrite what is not an exported model.

    Returns:
        The folder, links resolved.

    Raises:
        OutputError: says what is there.
    """
    out = Path(os.path.realpath(out))
    if not out.exists():
        return out
    if not out.is_dir():
        raise OutputError(f"{out}: is a file; choose another folder")
    names = {path.name for path in out.iterdir()}
    if names and not is_exported(out):
        raise OutputError(f"{out}: exists and is not an exported model; choose another folder")
    if names - OURS:
        others = ", ".join(sorted(names - OURS)[:5])
        raise OutputError(
            f"{out}: an exported model to which files were added ({others}); choose another folder"
        )
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
    """A folder beside `out` to write to, which takes its place at the end, or leaves nothing."""
    aside, old = (out.with_name(f".{out.name}.{os.getpid()}.{end}") for end in ("part", "old"))
    try:
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            aside.mkdir()
            yield aside
            for path in aside.iterdir():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            if out.exists():
                out.rename(old)
            try:
                aside.rename(out)
            except OSError:
                if old.exists():
                    old.rename(out)
                raise
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
