"""What needs the index's encoder: vectors of a part of a video, and where the encoder looks in a clip.

Runs in a worker process, which loads the encoder once.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinevec.data.decode import VideoInfo, probe, read_clip
from kinevec.search.cut import cut
from kinevec.search.index import Index
from kinevec.search.labels import write_labels
from kinevec.search.page.media import CLIP, take, write_film
from kinevec.search.query import query_file
from kinevec.show.activation import heat, overlay
from kinevec.views.geometry import decode_size
from kinevec.views.pipeline import centre_view


class Seeing:
    """The operations of a worker with an index.

    Args:
        folder: of the index.
        device: where to compute.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self.index = Index.open(folder)
        self.device = device

    def load(self) -> None:
        """Loads the encoder, so that the first search need not wait for it."""
        self.index.encoder(self.device)

    def query(self, path: str, start: float | None, stop: float | None) -> dict[str, Any]:
        """Vectors of a part of a video file: `raw`, `start`, `stop` and `clips` as in `kinevec.search.query.Query`."""
        found = query_file(self.index, Path(path), start, stop, device=self.device)
        raw = {kind: vector.tolist() for kind, vector in found.raw.items()}
        return {"raw": raw, "start": found.start, "stop": found.stop, "clips": found.clips}

    def activation(self, path: str, target: str, start: float, stop: float) -> None:
        """Writes the film of a clip with the encoder's activation painted over the square that it sees."""
        info = probe(Path(path))
        chosen = take(info, start, stop, CLIP)
        frames = read_clip(info.path, chosen.numbers.tolist(), info=info, size=chosen.size).frames
        side = min(chosen.size)
        top, left = ((whole - side) // 2 for whole in chosen.size)
        square = (slice(None), slice(top, top + side), slice(left, left + side))
        frames[square] = overlay(frames[square], self._heat(info, chosen.numbers, side, (start, stop)))
        write_film(Path(target), frames, chosen.ticks)

    def save(self, path: str) -> dict[str, Any]:
        """Writes the labels as a list; see `kinevec.search.labels.write_labels`."""
        made = write_labels(self.index, Path(path))
        return {"path": str(made.path), "parts": made.parts, "failed": made.failed}

    def _heat(
        self, info: VideoInfo, shown: NDArray[np.int64], side: int, within: tuple[float, float]
    ) -> NDArray[np.float32]:
        """(F, side, side) of the frames `shown`, from the frames that stand for the clip in the index."""
        encode = self.index.encoder(self.device)
        clip = encode.config.clip
        numbers = cut(info.times, clip, self.index.settings, within).numbers[0]
        size = decode_size(info.height, info.width, clip.size)
        seen = read_clip(info.path, numbers.tolist(), info=info, size=size).frames
        maps = encode.map(centre_view(seen, clip.size)[None])[0].transpose(0, 1).cpu().numpy()
        middle = (np.arange(len(maps)) + 0.5) * clip.frames / len(maps) - 0.5
        steps = np.interp(middle, np.arange(clip.frames), np.maximum.accumulate(numbers))
        return heat(maps, steps, shown.tolist(), side)
