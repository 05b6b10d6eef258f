"""Pieces that pages share."""

import math
from collections.abc import Mapping
from html import escape
from importlib import resources


def pair_list(style: str, pairs: Mapping[str, str]) -> str:
    """A list of descriptions of this CSS class, as HTML; "" where there are none."""
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in pairs.items()
    )
    return f'<dl class="{style}">{items}</dl>' if items else ""


def signed(value: float, digits: int = 1) -> str:
    """A number with its sign, and with that of minus; "–" where there is none, and no minus before 0."""
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−") if math.isfinite(value) else "–"


def part(name: str) -> str:
    """A template, style or script of this package by the name of its file."""
    return resources.files("kinevec.show").joinpath(name).read_text("utf-8")
