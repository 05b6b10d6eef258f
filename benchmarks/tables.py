"""Writes the result tables of README and docs from results/*.json.

    python benchmarks/tables.py           rewrite them
    python benchmarks/tables.py --check   exit 1 where one is out of date

A table stands between `<!-- table: NAME ... -->` and `<!-- end -->`; NAME is a file of results/ without `.json`.
Several results of `baseline.py` make one table. `NAME as KIND` writes the table of another kind than the result's own.
"""

import json
import re
import sys
from pathlib import Path

from method_tables import flow_table, judged_table, step_table, terms_table
from science_tables import (
    audit_table,
    background_table,
    calibration_table,
    lead_table,
    looks_table,
    science_table,
    search_table,
)
from speed_tables import loader_table, scale_table
from step_tables import speed_table

ROOT = Path(__file__).resolve().parents[1]
MARK = re.compile(r"<!-- table: ([^>]+?) -->\n.*?<!-- end -->", re.DOTALL)


# The "kind" of a result → its table; results of `baseline.py` name none.
TABLES = {
    "loader_speed": loader_table,
    "manifest_scale": scale_table,
    "step": step_table,
    "speed": speed_table,
    "flow": flow_table,
    "terms": terms_table,
    "science": science_table,
    "science search": search_table,
    "science background": background_table,
    "science leads": lead_table,
    "science looks": looks_table,
    "science audit": audit_table,
    "science calibration": calibration_table,
}


def filled(text: str) -> str:
    """The text with every table written anew."""

    def table(match: re.Match[str]) -> str:
        listed, _, view = match[1].partition(" as ")
        names = listed.split()
        results = [json.loads((ROOT / "results" / f"{name}.json").read_text("utf-8")) for name in names]
        kind = view or results[0].get("kind")
        written = TABLES[kind](results[0]) if kind else judged_table(results)
        return f"<!-- table: {match[1]} -->\n{written}\n<!-- end -->"

    return MARK.sub(table, text)


def main() -> int:
    """Rewrites or checks all pages; returns the exit code."""
    stale = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        old = page.read_text("utf-8")
        new = filled(old)
        if new != old:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(new, "utf-8")
    if stale and "--check" in sys.argv:
        print(f"tables out of date in {', '.join(stale)}: run python benchmarks/tables.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
