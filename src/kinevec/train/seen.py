"""Which videos a run was trained on: written into its folder, and asked when it is judged."""

import json
import logging
import zlib
from collections.abc import Sequence
from pathlib import Path

from kinevec.data.manifest import read_listing
from kinevec.data.records import Record
from kinevec.data.source import Videos
from kinevec.data.whole import write_text
from kinevec.errors import KinevecError

log = logging.getLogger(__name__)

VIDEOS = "videos.json"


def write_seen(run: Path, videos: Videos) -> None:
    """Writes `videos.json`: the paths of the files, or the manifest that lists them and which of its rows.

    Raises:
        OutputError: it cannot be written.
    """
    write_text(run / VIDEOS, json.dumps(videos.listing(), indent=0) + "\n")


def count_seen(run: Path, records: Sequence[Record]) -> int | None:
    """How many of these videos the run was trained on; None where that cannot be said any more.

    Of prepared videos the originals are known too; of others only the files themselves.

    Args:
        run: its folder, or a file in it, such as `best.safetensors`.
    """
    listed = (run.parent if run.is_file() else run) / VIDEOS
    if not listed.is_file():
        return None
    try:
        listing = json.loads(listed.read_text("utf-8"))
        if isinstance(listing, list):
            seen = set(listing)
            return sum(str(record.path.resolve()) in seen for record in records)
        return int(read_listing(listing).holds([record.path for record in records]).sum())
    except (OSError, ValueError, TypeError, LookupError, zlib.error, KinevecError) as error:
        log.warning("cannot say which videos %s was trained on: %s", run, error)
        return None
