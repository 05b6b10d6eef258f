"""What commands are told about Ray reaches what they call."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kinevec import tasks
from kinevec.cli import app
from kinevec.cluster import Cluster, place
from kinevec.errors import ConfigError

PREPARE = ["prepare", "videos", "-o", "out"]
EMBED = ["embed", "untrained:tiny", "videos", "-o", "index"]
EVAL = ["eval", "untrained:tiny", "--data", "videos"]


class Reached(Exception):
    """A task was called."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the commands name is looked at before anything else."""
    (tmp_path / "videos").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("command", "task"), [(PREPARE, "prepare"), (EMBED, "embed"), (EVAL, "evaluate")], ids=lambda x: str(x)
)
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], None),
        (["--ray"], Cluster()),
        (["--ray", "--workers", "3"], Cluster(None, 3)),
        (["--ray-address", "auto"], Cluster("auto")),
    ],
)
def test_each_command_passes_the_cluster_on(
    command: list[str],
    task: str,
    options: list[str],
    expected: Cluster | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def reached(*given: object, **more: Any) -> None:
        assert more["cluster"] == expected
        raise Reached

    monkeypatch.setattr(tasks, task, reached)
    assert isinstance(CliRunner().invoke(app, [*command, *options]).exception, Reached)


@pytest.mark.parametrize("command", [EMBED, EVAL], ids=["embed", "eval"])
def test_gpus_and_workers_belong_to_ray(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def reached(*given: object, **more: Any) -> None:
        assert more["cluster"] == Cluster("head:6379", 8, 0.25)
        raise Reached

    monkeypatch.setattr(tasks, "embed", reached)
    monkeypatch.setattr(tasks, "evaluate", reached)
    asked = ["--ray-gpus", "0.25", "--workers", "8"]
    found = CliRunner().invoke(app, [*command, *asked, "--ray-address", "head:6379"])
    assert isinstance(found.exception, Reached)
    for option in (asked[:2], asked[2:]):
        found = CliRunner().invoke(app, [*command, *option])
        assert isinstance(found.exception, ConfigError)
        assert str(found.exception) == "--workers and --ray-gpus belong to --ray"


@pytest.mark.parametrize("command", [PREPARE, EMBED, EVAL], ids=["prepare", "embed", "eval"])
def test_without_ray_one_line_says_what_to_install(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place.importlib.util, "find_spec", lambda name: None)
    found = CliRunner().invoke(app, [*command, "--ray"])
    assert isinstance(found.exception, ConfigError)
    assert str(found.exception) == "working on Ray needs the package ray: pip install 'kinevec[ray]'"
    assert [path.name for path in Path.cwd().iterdir()] == ["videos"]
