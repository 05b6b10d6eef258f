"""Scripts that start worker processes, each of which imports the script anew."""

import ast
import inspect
import sys
from pathlib import Path

from kinevec.errors import UsageError


def check_script(without: str = "") -> None:
    """Refuses to start worker processes for a script that they would carry out once more.

    Args:
        without: what to set in order to do without such processes, such as "data.workers=0"; "": nothing can be.

    Raises:
        UsageError: so it is; names the line.
    """
    place = unguarded()
    if place:
        raise UsageError(
            f'{place}: worker processes import this script anew. Put the call below `if __name__ == "__main__":`'
            + (f", or set {without}" if without else "")
        )


def unguarded() -> str | None:
    """The line of the running script that led here, where importing the script would carry it out once more."""
    main = sys.modules["__main__"]
    file, spec = getattr(main, "__file__", None), getattr(main, "__spec__", None)
    if file is None or (spec is not None and spec.name.endswith("__main__")):  # never imported by workers
        return None
    frame = inspect.currentframe()
    while frame and not (frame.f_globals is vars(main) and frame.f_code.co_name == "<module>"):
        frame = frame.f_back
    if frame is None:
        return None
    line = frame.f_lineno
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    return None if any(_guards(node, line) for node in ast.walk(tree)) else f"{file}, line {line}"


def _guards(node: ast.AST, line: int) -> bool:
    """Whether a line stands below an `if` that asks for the name of the module."""
    if not isinstance(node, ast.If) or not node.lineno <= line <= (node.end_lineno or 0):
        return False
    return any(isinstance(part, ast.Name) and part.id == "__name__" for part in ast.walk(node.test))
