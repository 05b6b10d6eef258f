"""Tables that nothing is cut from, however narrow the place they are printed in."""

from rich.table import Table

from kinevec.cli.app import out

ENDLESS = 100_000  # columns of a place in which any table fits
NARROW = 12  # columns that a column of words may be folded to
FRAME = 3  # columns between two of them


def number_columns(table: Table, *titles: str) -> None:
    """Adds columns whose content stays in one piece."""
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)


def print_table(table: Table) -> None:
    """Prints a table of results: as wide as it is where nobody watches, folded on a terminal.

    On a terminal words are folded, and numbers stay whole: where they do not fit, lines are longer than the
    terminal is wide, and it breaks them itself.
    """
    for column in table.columns:
        column.overflow = "fold"
    wide = sum(_width(table, place) + FRAME for place in range(len(table.columns))) + 1
    if not out.is_terminal:
        wide = max(wide, out.measure(table, options=out.options.update(width=ENDLESS)).maximum)
    # None where it follows the terminal, as reading `width` and setting it again would not.
    asked = out._width
    try:
        out.width = max(out.width, wide)
        out.print(table)
    finally:
        out._width = asked


def _width(table: Table, place: int) -> int:
    """What a column needs at the least."""
    column = table.columns[place]
    endless = out.options.update(width=ENDLESS)
    cells = [column.header, *column.cells]
    widest = max(out.measure(cell, options=endless).maximum for cell in cells)
    return widest if column.no_wrap else min(widest, NARROW)
