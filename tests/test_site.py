"""The documentation builds as a site without a warning, and its reference is complete."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kinevec import tasks

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; links that lead nowhere, pages that are in no menu and docstrings that do not parse are errors."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def test_every_task_is_in_the_reference(site: Path) -> None:
    page = (site / "api" / "tasks.html").read_text("utf-8")
    assert set(re.findall(r'<h2 id="kinevec\.tasks\.(\w+)"', page)) == set(tasks.__all__)


def test_arguments_that_share_an_entry_have_one_each(site: Path) -> None:
    page = re.sub(r"<[^>]+>", "", (site / "api" / "tasks.html").read_text("utf-8"))
    assert re.search(
        r"\bstart\s+\(float \| None, default:\s+None\s*\)\s+–\s+seconds; only this part of it", page
    )


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        fetched = re.findall(
            r'<(?:script|img|link|iframe)[^>]+(?:src|href)="(https?://[^"]+)"', page.read_text("utf-8")
        )
        assert not fetched, page
