"""Looking at what encoders see in a video."""

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kinevec import encoders
from kinevec.data.decode import probe
from kinevec.data.files import LOOK
from kinevec.data.records import some
from kinevec.errors import OutputError
from kinevec.show.look import Look, look
from kinevec.show.look_page import draw_look, place_look
from kinevec.tasks.stopping import stoppable
from kinevec.tasks.watcher import check_writable


@stoppable("nothing was written")
def show(
    places: Sequence[str | Path],
    video: str | Path,
    out: str | Path,
    *,
    start: float = 0.0,
    end: float | None = None,
    device: str = "auto",
) -> tuple[Path, Look]:
    """Draws where encoders look in a video, what moves in it, and how features of frames and of motion agree.

    Args:
        places: of encoders, as for `kinevec.encoders.load`; shown beside each other. One of `untrained:NAME` has no
            clips of its own and sees those of the first that has.
        out: folder for the pictures and the page: a new or empty one, or one that an earlier look was written to.
            Such a folder is never read as data.
        start, end: seconds; None: to the end of the video, or as much of it as a look holds.

    Returns:
        The page, and what stands in it.

    Raises:
        OutputError: `out` holds other things, or cannot be written.
        Interrupted: by Ctrl-C or SIGTERM.
    """
    folder = Path(out)
    _check_ours(folder)
    probe(Path(video))  # before a folder is made for nothing
    loaded = encoders.load_beside(places)
    check_writable(folder / "index.html")
    found = look(
        dict(zip(_names(places), loaded, strict=True)), Path(video), start=start, end=end, device=device
    )
    with tempfile.TemporaryDirectory(prefix="kinevec-look-") as aside:
        draw_look(found, Path(aside))
        return place_look(Path(aside), folder), found


def _check_ours(folder: Path) -> None:
    """Refuses a folder of other things, whose files would be replaced or mixed with ours."""
    if not folder.is_dir() or (folder / LOOK).is_file():
        return
    others = sorted(path.name for path in folder.iterdir())
    if others:
        raise OutputError(
            f"{folder}: holds {some(others)}, and no earlier look; name a new folder, such as --out {folder / 'look'}"
        )


def _names(places: Sequence[str | Path]) -> list[str]:
    """The last part of each place; numbered where two are equal."""
    names: list[str] = []
    for place in places:
        name = Path(place).name or str(place)
        tries = itertools.chain([name], (f"{name} #{number}" for number in itertools.count(2)))
        names.append(next(one for one in tries if one not in names))
    return names
