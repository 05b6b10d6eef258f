"""Looking at what encoders see in a video."""

from collections.abc import Sequence
from pathlib import Path

from kinevec import encoders
from kinevec.data.decode import probe
from kinevec.show.look import Look, look
from kinevec.show.look_page import write_look
from kinevec.tasks.watcher import check_writable


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
        places: of encoders, as for `kinevec.encoders.load`; shown beside each other.
        out: folder for the pictures and the page.
        start, end: seconds; None: to the end of the video, or as much of it as a look holds.

    Returns:
        The page, and what stands in it.
    """
    folder = Path(out)
    probe(Path(video))  # before a folder is made for nothing
    loaded = [encoders.load(place) for place in places]
    check_writable(folder / "index.html")
    found = look(
        dict(zip(_names(places), loaded, strict=True)), Path(video), start=start, end=end, device=device
    )
    return write_look(found, folder), found


def _names(places: Sequence[str | Path]) -> list[str]:
    """The last part of each place; numbered where two are equal."""
    names: list[str] = []
    for place in places:
        name = Path(place).name or str(place)
        taken = sum(other.split(" #")[0] == name for other in names)
        names.append(f"{name} #{taken + 1}" if taken else name)
    return names
