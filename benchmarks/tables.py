"""Writes the result tables of README and docs from results/*.json.

    python benchmarks/tables.py           rewrite them
    python benchmarks/tables.py --check   exit 1 where one is out of date

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; NAME is a file of results/ without `.json`.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MARK = re.compile(r"<!-- table: (\S+) -->\n.*?<!-- end -->", re.DOTALL)
COLUMNS = ("R@1", "R@5", "R@10", "linear top-1", "linear per class")


def baseline_table(result: dict[str, Any]) -> str:
    """Mean ± standard deviation over seeds of a preset, the untrained encoder and chance, in percent."""
    seeds = result["seeds"]
    if len({seed["provenance"]["commit"] for seed in seeds.values()}) > 1:
        raise SystemExit(
            f"{result['data']} {result['preset']}: seeds of different commits do not belong together"
        )
    first = next(iter(seeds.values()))
    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * len(COLUMNS)]
    for encoder, name in (("trained", result["preset"]), ("untrained", "untrained encoder")):
        mean, std = result["mean"][encoder], result["std"][encoder]
        lines.append(f"| {name} | " + " | ".join(f"{mean[c]:.1f} ± {std[c]:.1f}" for c in COLUMNS) + " |")
    lines.append("| chance | " + " | ".join(f"{first['chance'][c]:.1f}" for c in COLUMNS) + " |")
    minutes = sum(seed["minutes"] for seed in seeds.values()) / len(seeds)
    data = first["data"]
    lines.append("")
    lines.append(
        f"{data['test']} test videos, {data['train']} train videos, {data['classes']} classes; mean ± standard deviation "
        f"of {len(seeds)} seeds; last epoch, nothing selected on test; {minutes:.0f} minutes of pretraining a seed on "
        f"{first['provenance']['machine']}; commit {first['provenance']['commit']}."
    )
    return "\n".join(lines)


def filled(text: str) -> str:
    """The text with every table written anew."""

    def table(match: re.Match[str]) -> str:
        result = json.loads((ROOT / "results" / f"{match[1]}.json").read_text("utf-8"))
        return f"<!-- table: {match[1]} -->\n{baseline_table(result)}\n<!-- end -->"

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
