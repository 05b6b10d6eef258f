"""Where a model may be exported to; imports nothing heavy, so that a refusal comes at once."""

import os
from pathlib import Path

from kinevec.encoders.layout import CONFIG, WEIGHTS, is_exported
from kinevec.errors import OutputError

CARD = "README.md"
EVALUATION = "eval.json"
ONNX = "model.onnx"
PROGRAM = "model.pt2"
OURS = frozenset({CONFIG, WEIGHTS, CARD, EVALUATION, ONNX, PROGRAM})


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
