"""What scripts of benchmarks/ import from the package is there."""

import ast
import contextlib
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "benchmarks").rglob("*.py"))


def missing(source: str) -> list[str]:
    """Names that a script takes from kinevec and that are not there."""
    lines = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    names = [(node.module, alias.name) for node in lines for alias in node.names if node.module]
    ours = [(module, name) for module, name in names if module.split(".")[0] == "kinevec"]
    return [f"{module}.{name}" for module, name in ours if not is_there(module, name)]


def is_there(module: str, name: str) -> bool:
    if hasattr(importlib.import_module(module), name):
        return True
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module(f"{module}.{name}")
        return True
    return False


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_imports_are_there(script: Path) -> None:
    assert missing(script.read_text("utf-8")) == []


def test_a_name_that_is_gone_is_found() -> None:
    source = "from kinevec import encoders\nfrom kinevec.train.checkpoint import ENCODER, load_anything\n"
    assert missing(source) == ["kinevec.train.checkpoint.load_anything"]
