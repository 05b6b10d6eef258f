"""Figures of the evidence: every setting has a colour, and dots stand where the numbers are."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import rows

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import figures

TITLES = {"moco": "MoCo", "mscl": "MSCL", "fima": "FIMA", "moco-symmetric": "MoCo, symmetric"}


def science(*cells: tuple[str, str, str, int, float]) -> dict[str, Any]:
    """What is recorded of cells (row, set, setting, steps, R@1); the linear probe finds half of it."""
    keys = ("row", "set", "setting", "steps")
    return {
        "titles": TITLES,
        "chance": {"R@1": 4, "linear top-1": 4},
        "cells": [
            dict(zip(keys, cell, strict=False)) | {"scores": {"R@1": cell[4], "linear top-1": cell[4] / 2}}
            for cell in cells
        ],
    }


def dots(axis: Any, marker: str) -> list[tuple[float, float]]:
    lines = [line for line in axis.lines if line.get_marker() == marker]
    return sorted((float(x), float(y)) for line in lines for x, y in line.get_xydata())


def test_every_setting_has_a_colour_and_longer_ones_are_three_times_as_long() -> None:
    assert set(figures.SETTINGS) == set(rows.SETTINGS)
    for short, long in figures.LONGER.items():
        one, other = (rows.config_of("moco", "cpu", rows.SETTINGS[name], 0) for name in (short, long))
        assert other.train.epochs == 3 * one.train.epochs


def test_scores_over_steps() -> None:
    found = science(
        ("moco", "unbiased", "any hue slow", 650, 20),
        ("moco", "unbiased", "any hue slow", 650, 30),
        ("moco", "unbiased", "any hue slow long", 1950, 50),
        ("moco", "unbiased", "as preset", 650, 99),  # nobody trained it for longer: no panel
        ("moco", "biased", "any hue slow long", 1950, 10),
        ("fima", "biased", "any hue slow", 650, 40),
    )
    axes = figures.steps_figure(found).axes
    assert [axis.get_title() for axis in axes] == ["unbiased, any hue slow", "biased, any hue slow", "", ""]
    assert dots(axes[0], "o") == [(650, 25), (1950, 50)]
    assert dots(axes[0], ".") == [(650, 20), (650, 30), (1950, 50)]
    assert dots(axes[3], "o") == [(650, 20), (1950, 5)]


def test_rows_stand_below_each_other_and_have_a_line_for_each_setting() -> None:
    found = science(
        ("moco", "unbiased", "as preset", 650, 10),
        ("moco", "unbiased", "any hue", 650, 20),
        ("moco", "unbiased", "any hue", 650, 40),
        ("fima", "unbiased", "any hue", 650, 60),
    )
    axis = figures.rows_figure(found).axes[0]
    means = sorted((y, x) for x, y in dots(axis, "o"))
    assert [x for _, x in means] == [10, 30, 60]
    assert np.all(np.diff([y for y, _ in means]) > 0.1)
    assert [label.get_text() for label in axis.get_yticklabels()] == ["MoCo", "FIMA"]
