"""Pairs of a name and a text, such as the facts of a page."""

from collections.abc import Mapping
from html import escape


def pair_list(style: str, pairs: Mapping[str, str]) -> str:
    """A list of descriptions of this CSS class, as HTML; "" where there are none."""
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in pairs.items()
    )
    return f'<dl class="{style}">{items}</dl>' if items else ""
