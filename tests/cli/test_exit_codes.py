"""Exit codes are those of the family tree of errors, whatever command raises them."""

import pickle
import re
import sys
from pathlib import Path

import pytest

from kinevec import cli, errors

TREE = re.findall(r"[├└]── (\w+)(?:.*exit code (\d+))?", errors.__doc__ or "")
DOCS = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text("utf-8")


def code_of(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(sys, "argv", ["kinevec", "export"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def test_every_error_ends_with_the_code_that_the_tree_says(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
    ours = kinds - {"Path", "Any", "KinevecError"}
    assert {name for name, _ in TREE} == ours
    said = {name: int(code) for name, code in TREE if code}
    for name in ours:
        kind = getattr(errors, name)
        error = kind("a.mp4", "broken") if name in ("VideoError", "LateError") else kind("why")
        expected = next(said[parent.__name__] for parent in kind.__mro__ if parent.__name__ in said)
        assert code_of(error, monkeypatch) == expected, name
        assert f"\n| {expected} | " in DOCS


@pytest.mark.parametrize("error", [OSError(28, "No space left"), RuntimeError("not foreseen"), MemoryError()])
def test_what_the_system_or_a_mistake_raises_is_failed_work(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert code_of(error, monkeypatch) == 1


def test_a_late_error_crosses_process_borders_with_its_result() -> None:
    error = pickle.loads(pickle.dumps(errors.LateError("no space left", {"a": 1})))
    assert (str(error), error.result) == ("no space left", {"a": 1})


@pytest.mark.parametrize(
    ("words", "again"),
    [
        (["pretrain", "moco", "--data", "a b"], "Go on: kinevec pretrain moco --data 'a b' --resume"),
        (["pretrain", "moco", "--resume"], "Go on: kinevec pretrain moco --resume"),
        (["demo", "-o", "a b"], "Go on: kinevec demo -o 'a b'"),
        (["eval", "run"], ""),
    ],
)
def test_what_was_stopped_says_how_it_goes_on(
    words: list[str], again: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop() -> None:
        raise errors.Interrupted("stopped at step 3")

    monkeypatch.setattr(cli, "app", stop)
    monkeypatch.setattr(sys, "argv", ["kinevec", *words])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().out.strip() == again


@pytest.mark.parametrize(
    ("place", "found", "called"),
    [
        (".venv/bin/kinevec", None, ".venv/bin/kinevec"),
        (".venv/bin/kinevec", "/bin/kinevec", "kinevec"),
        ("kinevec/__main__.py", None, "kinevec"),
    ],
)
def test_it_is_called_by_its_place_where_the_shell_would_not_find_it(
    place: str, found: str | None, called: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [place, "demo"])
    monkeypatch.setattr(cli.shutil, "which", lambda name: found)
    assert cli._ourselves() == called


def test_an_option_that_is_none_and_a_key_that_stops() -> None:
    from typer.testing import CliRunner

    assert CliRunner().invoke(cli.app, ["search", "--nix"]).exit_code == 2
    assert CliRunner().invoke(cli.app, ["searchh"]).exit_code == 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kinevec.cli.early.index", _stopped)
        assert CliRunner().invoke(cli.app, ["search", "x"]).exit_code == 130


def _stopped(folder: Path) -> None:
    raise KeyboardInterrupt
