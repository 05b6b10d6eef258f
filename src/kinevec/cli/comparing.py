"""Commands that set runs side by side."""

from pathlib import Path
from typing import Annotated

import typer

from kinevec.cli.app import app, console, say
from kinevec.cli.tables import print_table


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, such as runs/*.")],
    folder: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the curves: compare.png and compare.html.")
    ] = Path("compare"),
) -> None:
    """Set runs side by side: terms, losses, health, speed, scores, differing settings; and draw their curves.

    Reads configuration, log and, where a run was judged, eval.json and eval-….json of each run's folder; unfinished runs
    too. Scores on different videos stand apart. What is no run is named and left out,
    without a word if it is a JSON, PNG, HTML or CSV file. Cost: a few seconds, no videos and no encoder are read.
    """
    from rich.markup import escape
    from rich.table import Table

    from kinevec import tasks

    found = tasks.compare(runs, folder)
    for name, remark in found.remarks:
        console.print(f"{name}: {remark}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    for note in found.notes:
        console.print(f"{note}.", style="yellow", highlight=False, markup=False, soft_wrap=True)
    table = Table("", *(escape(run.name) for run in found.runs))
    section = ""
    for row in found.rows():
        if row.section != section:
            section = row.section
            table.add_section()
            if section.startswith("score"):  # of which data
                table.add_row(escape(section), style="bold")
        table.add_row(escape(row.name), *map(escape, row.values))
    print_table(table)
    for name in ("compare.png", "compare.html"):
        say(f"Curves: {folder / name}")
