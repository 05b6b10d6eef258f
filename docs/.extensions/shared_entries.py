"""Lets one entry of a docstring stand for several names, as in "start, stop: seconds; only this part of it"."""

import re
from typing import Any

from griffe import Extension, Object

ENTRY = re.compile(r"^( +)(\w+(?:, \w+)+): (.*(?:\n\1 +.*)*)$", re.M)


def separated(text: str) -> str:
    """Every such entry once for each of its names."""
    return ENTRY.sub(
        lambda found: "\n".join(f"{found[1]}{name}: {found[3]}" for name in found[2].split(", ")), text
    )


class SharedEntries(Extension):
    """Rewrites docstrings before they are parsed."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = separated(obj.docstring.value)
