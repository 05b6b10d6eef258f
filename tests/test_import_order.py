"""Imports run one way, in the order of the rooms: nothing imports what comes after it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "kinevec"

# What is imported belongs to the entry with the longest name that it begins with.
ORDER = (
    "errors",
    "config",
    "presets",
    "runtime",
    "ranks",
    "cluster",
    "data",
    "motion",
    "data.prepare",  # measures motion while it transcodes
    "views",
    "data.batch",  # says how views are to be coloured
    "data.loader",  # makes the views, since that happens in its workers
    "models",
    "methods",
    "train",
    "encoders",
    "evaluate",
    "exchange",
    "show",
    "search",  # its page shows activation maps
    "tasks",
    "demo",
    "cli",
    "__main__",
)


def place(name: str) -> int | None:
    """Place in the order of a module, or of a name in one, such as `data.files`; None where it is in no room."""
    covering = [entry for entry in ORDER if f"{name}.".startswith(f"{entry}.")]
    return ORDER.index(max(covering, key=len)) if covering else None


def imports(source: str) -> list[tuple[int, str]]:
    """(line, name) of everything imported from kinevec, wherever the import stands; relative ones keep their dots."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = f"{'.' * node.level}{node.module or ''}"
            names += [(node.lineno, f"{start}.{alias.name}") for alias in node.names]
    return [
        (line, name.removeprefix("kinevec."))
        for line, name in names
        if name == "kinevec" or name.startswith(("kinevec.", "."))
    ]


def at_once(source: str) -> str:
    """The part of a module that runs when it is imported: without functions, and without what only type checkers read."""
    tree = ast.parse(source)

    def waits(node: ast.stmt) -> bool:
        checking = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        return checking or isinstance(node, ast.FunctionDef)

    tree.body = [node for node in tree.body if not waits(node)]
    return ast.unparse(tree)


def violations(package: Path) -> list[str]:
    """What breaks the order in a package that is laid out as kinevec is."""
    wrong = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        mine = place(module)
        if module and mine is None:
            wrong.append(f"{module} stands in no room")
        source = path.read_text("utf-8")
        # What the package itself offers is imported when it is asked for: any module imports the package.
        for line, name in imports(source if module else at_once(source)):
            theirs = place(name)
            if not module:
                wrong.append(f"__init__:{line} imports {name}; the package itself imports nothing")
            elif theirs is None:
                wrong.append(f"{module}:{line} imports {name}, which stands in no room")
            elif mine is not None and theirs > mine:
                wrong.append(f"{module}:{line} imports {name}, which comes later")
    return wrong


def test_nothing_imports_what_comes_after_it() -> None:
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ("path", "source", "wrong"),
    [
        ("data/files.py", "from kinevec.errors import DataError", ""),
        ("data/files.py", "from kinevec.data.records import Record", ""),
        ("data/files.py", "import kinevec.models", "data.files:1 imports models, which comes later"),
        ("data/files.py", "def f():\n    from kinevec import tasks", "data.files:2 imports tasks, which"),
        ("data/files.py", "from kinevec.data import loader", "data.files:1 imports data.loader, which"),
        (
            "data/files.py",
            "from kinevec.data.loader import Batch",
            "data.files:1 imports data.loader.Batch, which",
        ),
        ("data/prepare/plan.py", "from kinevec.motion.flow import METHODS", ""),
        ("data/prepare/plan.py", "import kinevec.views", "data.prepare.plan:1 imports views, which comes"),
        ("data/loader.py", "from kinevec.views.pipeline import View", ""),
        (
            "data/source.py",
            "from kinevec.views.pipeline import View",
            "data.source:1 imports views.pipeline.View,",
        ),
        (
            "models/__init__.py",
            "from kinevec.methods import x",
            "models:1 imports methods.x, which comes later",
        ),
        ("models/__init__.py", "import numpy\nimport kinevecs", ""),
        ("train/loop.py", "from ..data import x", "train.loop:1 imports ..data.x, which stands in no room"),
        ("train/loop.py", "from kinevec import version", "train.loop:1 imports version, which stands in no"),
        ("train/loop.py", "import kinevec", "train.loop:1 imports kinevec, which stands in no room"),
        ("utils.py", "", "utils stands in no room"),
        (
            "__init__.py",
            "from kinevec.tasks import pretrain",
            "__init__:1 imports tasks.pretrain; the package",
        ),
        (
            "__init__.py",
            "def f():\n    import kinevec.tasks\nif TYPE_CHECKING:\n    import kinevec.tasks",
            "",
        ),
        (
            "__init__.py",
            "if True:\n    import kinevec.tasks",
            "__init__:2 imports tasks; the package",
        ),
    ],
)
def test_breaches_are_found(path: str, source: str, wrong: str, tmp_path: Path) -> None:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(source)
    found = violations(tmp_path)
    assert len(found) == bool(wrong)
    assert "".join(found).startswith(wrong)
