"""Scripts whose calls would be carried out anew by every worker process are told what to do."""

import importlib.machinery
import sys
from pathlib import Path
from types import ModuleType

import pytest

from kinevec.config import Config, Data, Method
from kinevec.data.prepare.workers import run_jobs
from kinevec.data.script import check_script, unguarded
from kinevec.errors import UsageError

CALL = "from kinevec.data.script import unguarded\n"
GUARDED = f"""{CALL}
def main():
    global found
    found = unguarded()

if 1 > 0 and __name__ == "__main__":
    x = 1
    main()
"""
INSIDE = f"""{CALL}
with open(__file__):
    if "__main__" == __name__:
        found = unguarded()
"""
BARE = f"""{CALL}
if __name__ == "__main__":
    pass
def main():
    return unguarded()
found = (
    main()
)
"""
OTHER_QUESTION = f"""{CALL}
if len("__name__") > 1:
    found = unguarded()
"""


def ran(source: str, path: Path, monkeypatch: pytest.MonkeyPatch, spec: str = "") -> ModuleType:
    """The module of a script that was run."""
    path.write_text(source)
    main = ModuleType("__main__")
    main.__file__ = str(path)
    main.__spec__ = importlib.machinery.ModuleSpec(spec, None) if spec else None
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "__main__", main)
        exec(compile(source, path, "exec"), vars(main))
    return main


@pytest.mark.parametrize(
    ("source", "line"),
    [(GUARDED, 0), (INSIDE, 0), (BARE, 8), (OTHER_QUESTION, 4)],
    ids=["guarded", "inside", "bare", "other question"],
)
def test_a_call_below_no_guard_is_found(
    source: str, line: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "script.py"
    found = ran(source, path, monkeypatch).found
    assert found == (f"{path}, line {line}" if line else None)


def test_what_workers_do_not_import_needs_no_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        ran(BARE, tmp_path / "script.py", monkeypatch, "tools.script").found is not None
    )  # python -m tools.script
    assert ran(BARE, tmp_path / "__main__.py", monkeypatch, "tools.__main__").found is None  # python -m tools
    assert unguarded() is None  # pytest
    check_script("x=0")


def test_everything_that_starts_processes_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kinevec.data.loader import make_loader
    from kinevec.data.synthetic import SynthConfig, write_synthetic_videos
    from kinevec.motion import store
    from kinevec.train.loop import check_request

    config = Config(data=Data(workers=1), method=Method(queue=8))

    def at(action: str) -> str:
        known = {
            "loader": lambda: make_loader(None, None, workers=1, pin=False),  # type: ignore[arg-type]
            "request": lambda: check_request(config, tmp_path / "run", resume=False),
            "jobs": lambda: next(run_jobs(print, [1], 1, None)),  # type: ignore[arg-type]
            "flow": lambda: next(store._computed(None, 2)),  # type: ignore[arg-type]
            "videos": lambda: write_synthetic_videos(
                tmp_path / "made", SynthConfig(videos_per_class=1, test_share=0), workers=2
            ),
        }
        with pytest.raises(UsageError) as caught:
            known[action]()
        return str(caught.value)

    monkeypatch.setattr("builtins.at", at, raising=False)
    for name in ("loader", "request", "jobs", "flow", "videos"):
        path = tmp_path / f"{name}.py"
        said = ran(f"said = at({name!r})", path, monkeypatch).said
        assert said.startswith(
            f"{path}, line 1: worker processes import this script anew. Put the call below `if "
        )
        ends = '"__main__":`' if name in ("jobs", "videos") else "or set data.workers=0"
        assert said.endswith(ends)
