"""How scores look on the console."""

from typing import TYPE_CHECKING

from rich.table import Table

from kinevec.cli.app import out, say

if TYPE_CHECKING:
    from kinevec.evaluate.evaluation import Evaluation


def print_scores(result: "Evaluation") -> None:
    if not result.scores:
        say(
            "The videos have no labels: there are no scores. To look at neighbours: kinevec demo --videos FOLDER"
        )
        return
    data = result.facts["data"]
    table = Table(
        title=f"{data['test']} test videos, {data['train']} train videos, {data['classes']} classes (%)"
    )
    encoders = {**result.scores, "chance": result.chance}
    table.add_column("")
    for encoder in encoders:
        table.add_column(encoder, justify="right")
    for score in result.telling:
        table.add_row(score, *(f"{scores[score]:.1f}" for scores in encoders.values()))
    out.print(table)
