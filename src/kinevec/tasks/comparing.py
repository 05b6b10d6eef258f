"""Setting runs side by side."""

from collections.abc import Iterable
from pathlib import Path

from kinevec.data.whole import make_folder
from kinevec.show.compare import Comparison, write_page, write_picture
from kinevec.show.runs import read_runs
from kinevec.tasks.watcher import check_writable

PICTURE = "compare.png"
PAGE = "compare.html"


def compare(runs: Iterable[str | Path], out: str | Path | None = None) -> Comparison:
    """Reads the folders of runs, and draws their curves.

    Args:
        runs: their folders; those that are damaged or unfinished are named in the result's remarks. JSON, PNG, HTML and
            CSV files among them are passed over.
        out: folder for `compare.png` and `compare.html`; None: nothing is drawn.

    Raises:
        InputError: none of them is a run.
        OutputError: the folder cannot be written.
    """
    comparison = Comparison.of(read_runs([Path(run) for run in runs]))
    if out is not None:
        target = Path(out)
        check_writable(target / PICTURE)
        make_folder(target)
        write_picture(target / PICTURE, comparison)
        write_page(target / PAGE, comparison)
    return comparison
