"""The worker processes: `python -m kinevec.search.page.work media`, and `… seeing INDEX DEVICE`."""

import sys
from pathlib import Path

from kinevec.search.page import media
from kinevec.search.page.worker import answer


def main(kind: str, *rest: str) -> None:
    """Carries out requests of one kind until the server ends."""
    if kind == "media":
        answer({"measure": media.measure, "clip": media.make_clip, "preview": media.make_preview})
        return
    from kinevec.search.page.seeing import Seeing  # loads PyTorch

    seeing = Seeing(Path(rest[0]), rest[1])
    answer({"load": seeing.load, "query": seeing.query, "activation": seeing.activation, "save": seeing.save})


if __name__ == "__main__":
    main(*sys.argv[1:])
