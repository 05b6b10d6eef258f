"""What the documentation says can be typed means what it says."""

import re
from pathlib import Path
from typing import Any

import pytest

from kinevec.config import Config, load

METHODS = (Path(__file__).parents[1] / "docs" / "methods.md").read_text("utf-8")

# Of each row: its terms, and what else makes it that row.
MSCL: dict[str, tuple[list[str], dict[str, Any]]] = {
    "MoCo": (["instance"], {"mscl": False}),
    "+ flow branch, cross-modal loss": (["instance", "flow", "cross"], {"near": False}),
    "+ LMCL": (["instance", "flow", "cross", "local"], {"rotated_steps": False}),
    "+ FRA": (["instance", "flow", "cross", "rotated", "local"], {"rotated_steps": True, "near": False}),
    "+ MDS": (
        ["instance", "flow", "cross", "rotated", "local"],
        {"rotated_steps": True, "near": True, "moving": True},
    ),
}
FIMA: dict[str, tuple[list[str], dict[str, Any]]] = {
    "MoCo": (["instance"], {"fima": False}),
    "+ L_VD": (["instance", "vanilla"], {}),
    "+ L_pix without decoder": (["instance", "pixel"], {"decoder": False, "foreground": False}),
    "+ motion decoder": (["instance", "pixel"], {"decoder": True, "foreground": False}),
    "+ foreground sampling": (["instance", "pixel"], {"decoder": True, "foreground": True}),
    "+ L_frame": (["instance", "pixel", "frame"], {"decoder": True, "foreground": True}),
}


def table(preset: str) -> dict[str, Config]:
    """The rows of the table of a preset's ablations, as configurations."""
    found = re.search(rf"^\|[^|\n]*\| from preset `{preset}` \|\n\|---\|---\|\n((?:\|.*\n)+)", METHODS, re.M)
    assert found is not None
    rows = {}
    for line in found[1].splitlines():
        name, changes = (cell.strip() for cell in line.strip("|").split("|"))
        quoted = re.fullmatch(r"`(.+)`", changes)
        assert quoted is not None or changes == "as the preset", line
        rows[name] = load(preset, quoted[1].split() if quoted else [])
    return rows


def facts(config: Config) -> dict[str, Any]:
    return {
        "mscl": config.terms.mscl,
        "fima": config.terms.fima,
        "rotated_steps": config.mscl.rotated_steps,
        "near": config.sampling.near,
        "moving": config.sampling.moving,
        "decoder": config.fima.decoder,
        "foreground": config.fima.foreground,
    }


@pytest.mark.parametrize(("preset", "expected"), [("mscl", MSCL), ("fima", FIMA)])
def test_the_rows_of_an_ablation_are_what_they_are_called(
    preset: str, expected: dict[str, tuple[list[str], dict[str, Any]]]
) -> None:
    rows = table(preset)
    assert list(rows) == list(expected)
    for name, (terms, more) in expected.items():
        assert rows[name].terms.names == terms, name
        assert facts(rows[name]) == facts(rows[name]) | more, name
    assert len({str(config) for config in rows.values()}) == len(rows)


def sentence(beginning: str) -> list[str]:
    """The changes in the first backticks after these words that hold any."""
    found = re.search(rf"{re.escape(beginning)}[^=]*?`([^`=]+=[^`]*)`", METHODS)
    assert found is not None
    return found[1].split()


def test_the_union_is_a_configuration() -> None:
    union = load("fima", sentence("MSCL's local term and FIMA's pixel term on one encoder"))
    assert union.terms.names == ["instance", "local", "pixel"]
    assert union.motions == {"flow", "difference"}
    assert union.mscl.neck == "linear"


def test_each_methods_motion_can_be_the_others() -> None:
    differences = load("mscl", sentence("MSCL on frame differences"))
    assert differences.motions == {"difference"}
    assert differences.terms.names == ["instance", "flow", "cross", "local"]
    flow = load("fima", sentence("FIMA on optical flow"))
    assert flow.motions == {"flow"}
    assert flow.terms == load("fima").terms


def test_every_preset_that_is_named_is_there() -> None:
    presets = re.findall(r"^\| (`.*`) \|", METHODS.partition("## Presets")[2].partition("\n## ")[0], re.M)
    for name in re.findall(r"`([^`]+)`", " ".join(presets)):
        assert load(name).terms.names
    assert len(presets) == 4
