"""What all tests share: helpers beside them can be imported, and shared data is found where it is."""

import os
import sys
from pathlib import Path

# Tests compute small things, often beside each other: more threads gain nothing, and wait for each other
# ten times as long where the cores are busy. Set before PyTorch is loaded, and passed on to subprocesses.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

SHARED = HERE.parents[1] / "shared"


@pytest.fixture(scope="session")
def utd() -> Path:
    """Real labelled videos, where they lie beside the checkout."""
    folder = SHARED / "data" / "utd_mhad_depth"
    if not folder.is_dir():
        pytest.skip("the real videos are not here")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """Arrays from the authors' code, where they lie beside the checkout."""
    folder = SHARED / "golden"
    if not folder.is_dir():
        pytest.skip("the golden arrays are not here")
    return folder
