"""torch.hub finds the entry points in a clone of the repository."""

import importlib.util
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from faults import numbered_video
from kinevec import encoders
from kinevec.exchange.export import export

ROOT = Path(__file__).parents[1]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return export(encoders.load("untrained:tiny"), tmp_path / "model")


def test_entry_points_are_listed_and_say_what_they_do() -> None:
    names = runpy.run_path(str(ROOT / "hubconf.py"))
    assert {name for name, value in names.items() if callable(value) and name[0] != "_"} == {
        "encoder",
        "model",
    }
    for name in names["dependencies"]:
        assert importlib.util.find_spec(name) is not None
    for name in ("encoder", "model"):
        assert "place: see above" in names[name].__doc__


def test_a_model_and_an_encoder_by_place(model: Path, tmp_path: Path) -> None:
    found = torch.hub.load(str(ROOT), "model", str(model), source="local", device="cpu", precision="fp32")
    video = numbered_video(tmp_path / "a.mp4", 9, (40, 40))
    assert found.embed([video], clips=1).vectors.shape == (1, 128)
    encoder = torch.hub.load(str(ROOT), "encoder", str(model), source="local")
    assert isinstance(encoder, torch.nn.Module)
    assert not encoder.training
    assert encoder(torch.zeros(1, 3, 4, 16, 16)).shape[:2] == (1, 128)
    assert found.identity == encoders.load("untrained:tiny").identity


def test_a_clone_that_is_not_installed_brings_its_own_package(tmp_path: Path) -> None:
    """A bare interpreter that sees this environment's other packages, but not this one."""
    (tmp_path / "hubconf.py").write_text((ROOT / "hubconf.py").read_text("utf-8"), "utf-8")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "kinevec").mkdir()
    (tmp_path / "src" / "kinevec" / "__init__.py").write_text("def load(place): return f'loaded {place}'")
    code = (
        "import importlib.util, runpy; real = importlib.util.find_spec; "
        "importlib.util.find_spec = lambda name: None if name == 'kinevec' else real(name); "
        f"names = runpy.run_path({str(tmp_path / 'hubconf.py')!r}); import sys; sys.path.reverse(); "
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f)]; print(names['model']('x'))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert found.stdout.strip() == "loaded x", found.stderr
