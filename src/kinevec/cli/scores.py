"""How scores look on the console."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

from kinevec.cli.app import say
from kinevec.cli.tables import number_columns, print_table

if TYPE_CHECKING:
    from kinevec.evaluate.evaluation import Evaluation
    from kinevec.evaluate.filed import Filed

ROOMY = 2  # encoders; beside more of them, intervals stand below the scores


def print_scores(result: "Evaluation") -> None:
    if not result.scores:
        say("The videos have no labels, so that there are no scores.")
        return
    data, runs = result.facts["data"], len(result.facts.get("runs", []))
    table = Table(
        title=(f"mean of {runs} runs: " if runs else "")
        + f"{data['test']} test videos, {data['train']} train videos, {data['classes']} classes (%)",
        caption=r"\[low, high]: 95 % interval over the test videos"
        + (f"; ±: standard deviation over {'runs' if runs else 'repetitions'}" if _repeated(result) else ""),
    )
    intervals = result.intervals
    gap = " " if len(result.scores) <= ROOMY else "\n"
    table.add_column("", no_wrap=True)
    number_columns(table, *result.scores, "chance")
    for score in result.telling:
        cells = []
        for encoder, scores in result.scores.items():
            spread = result.outcomes[encoder].spread.get(score) if encoder in result.outcomes else None
            low, high = intervals.get(encoder, {}).get(score, (None, None))
            cells.append(
                f"{scores[score]:.1f}"
                + (f" ± {spread:.1f}" if spread is not None else "")
                + (rf"{gap}\[{low:.1f}, {high:.1f}]" if low is not None else "")
            )
        table.add_row(score, *cells, f"{result.chance[score]:.1f}")
    print_table(table)


def say_filed(filed: "Filed") -> None:
    """Where an evaluation was written, and what became of the one that was there."""
    say(
        f"Written to {filed.path}"
        + (f" (in place of the same of {filed.replaces})" if filed.replaces else "")
    )
    if filed.beside:
        say(
            f"{filed.beside} is another evaluation (of other data, or by other protocols or settings) and was kept"
        )


def print_per_class(result: "Evaluation") -> None:
    """A table of the classes, of the encoder that was asked for."""
    from kinevec.evaluate.result import per_class

    rows = per_class(result.outcomes[result.judged])
    table = Table(title=f"classes, {result.judged} encoder (%)")
    names = list(next(iter(rows.values())))
    table.add_column("", no_wrap=True)
    number_columns(table, *names)
    for label, row in rows.items():
        table.add_row(_plain(label), f"{row['videos']}", *(f"{row[name]:.1f}" for name in names[1:]))
    print_table(table)


def print_difference(against: Mapping[str, Any]) -> None:
    """A table of `Comparison.content`."""
    from kinevec.evaluate.significance import FLIPS

    least = 1 / FLIPS  # no p is told from a smaller one by so many random flips
    table = Table(
        title="difference in percentage points",
        caption=r"\[low, high]: 95 % interval over the test videos; p: by flipping signs",
    )
    table.add_column("", no_wrap=True)
    number_columns(table, "first", "second", "difference", "p")
    for name, row in against["differences"].items():
        table.add_row(
            name,
            f"{row['first']:.1f}",
            f"{row['second']:.1f}",
            rf"{_signed(row['points'])} \[{_signed(row['low'])}, {_signed(row['high'])}]",
            f"{row['p']:.4f}" if row["p"] > least else f"≤ {least:.4f}",
        )
    print_table(table)
    say(f"first: {against['first']}")
    say(f"second: {against['second']}")
    for note in against["notes"]:
        say(f"Note: {note}")


def _signed(points: float) -> str:
    return f"{round(points, 1) + 0.0:+.1f}"  # 0 has no minus


def _repeated(result: "Evaluation") -> bool:
    return any(found.spread for found in result.outcomes.values())


def _plain(text: str) -> str:
    """Text in which the console sees no markup."""
    return text.replace("[", r"\[")
