"""What tests compare with: float64 NumPy oracles written from the equations, and golden arrays."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

_GOLDEN = Path(__file__).parents[2] / ".." / "shared" / "golden"


def golden(name: str) -> dict[str, NDArray]:
    """Arrays computed by the papers' released code; skips the test where they are not at hand."""
    path = _GOLDEN / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"needs the golden arrays of {path.name}")
    with np.load(path) as arrays:
        return dict(arrays)
