"""The flow of a small set of videos, computed once when a run starts and mapped into memory."""

import io
import logging
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import DataLoader, Dataset

from kinevec import config
from kinevec.data.script import check_script
from kinevec.data.source import Progress, Rejected, Source
from kinevec.errors import DataError, OutputError, VideoError, WorkError
from kinevec.motion.block import Block, Shape, block_bytes, write_block
from kinevec.motion.flow import Flow
from kinevec.motion.frames import flow_fields, measurable_size
from kinevec.runtime import clean_processes, quiet_worker

log = logging.getLogger(__name__)

_AHEAD = 2  # videos that each process may be ahead of the writing


class FlowStore:
    """The flow of all videos of a source in one file, 8 bits a component; see `kinevec.motion.frames.Flows`.

    Every process maps the file itself, and all share its pages. A component is off by at most 1/254 of the
    fastest motion in its frame (`kinevec.motion.encoding`).

    Attributes:
        rejected: videos that could not be read to their end; to read their flow raises VideoError.
    """

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        frames: NDArray[np.int64],
        sizes: NDArray[np.int64],
        reasons: dict[int, str],
    ) -> None:
        self.path = path
        self.names = tuple(names)
        self.frames = frames  # (N,) of the videos, not of their flow
        self.sizes = sizes  # (N, 3): fields, height and width; no fields where a video was rejected
        self.reasons = reasons
        self.starts = np.concatenate([[0], np.cumsum(block_bytes(*sizes.T))])
        self._bytes: NDArray[np.uint8] | None = None

    @staticmethod
    def plan(frames: ArrayLike, sizes: ArrayLike, flow: config.Flow) -> int:
        """Bytes that the flow of videos takes.

        Args:
            frames: (N,) number of frames of each.
            sizes: (N, 2) height and width of their frames.
        """
        counts, shapes = np.asarray(frames), np.asarray(sizes)
        measured = (measurable_size(int(h), int(w), flow.short_side) for h, w in shapes)
        fields = (flow_fields(int(count), flow.gap) for count in counts)
        return sum(int(block_bytes(s, *size)) for s, size in zip(fields, measured, strict=True))

    @classmethod
    def build(
        cls,
        source: Source,
        names: Sequence[str],
        path: Path,
        flow: config.Flow,
        progress: Progress | None = None,
        *,
        workers: int = 1,
        scores: bool = False,
    ) -> "FlowStore":
        """Computes the flow of all videos of a source into `path`; the result does not depend on `workers`.

        Args:
            source: of the videos; must be picklable where there are several workers.
            names: (N,) of the videos, for what is said about them.
            workers: processes; one is this process. More are started anew, so a script needs the usual
                `if __name__ == "__main__"`.
            scores: also measure the change of motion, for `change`.

        Raises:
            OutputError: the file cannot be written (disk full?).
            DataError: not one video can be read.
            WorkError: a worker died.
        """
        frames = np.array([source.frames(index) for index in range(len(source))], dtype=np.int64)
        sizes = np.zeros((len(source), 3), np.int64)
        sizes[:, 1:] = 1
        reasons: dict[int, str] = {}
        videos = _Videos(source, flow, scores)
        try:
            with path.open("wb") as file, closing(_computed(videos, workers)) as results:
                for index, result in enumerate(results):
                    if isinstance(result, str):
                        reasons[index] = result
                        log.warning("no flow of %s: %s", names[index], result)
                    else:
                        block, sizes[index] = result
                        file.write(block)
                    if progress:
                        progress(index + 1, len(source))
        except BaseException as error:
            path.unlink(missing_ok=True)
            if not isinstance(error, OSError):
                raise
            written = int(block_bytes(*sizes.T).sum()) / 1e9
            raise OutputError(
                f"{path}: cannot write the flow of {len(source):,} videos ({written:.1f} GB were written): "
                f"{error.strerror or error}; free some space, lower flow.short_side, or set flow.store=none"
            ) from error
        if len(reasons) == len(source):
            path.unlink()
            raise DataError(f"the flow of none of {len(source):,} videos can be computed; {reasons[0]}")
        return cls(path, names, frames, sizes, reasons)

    def __len__(self) -> int:
        return len(self.frames)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_bytes": None}  # a worker maps the file itself

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        return tuple(Rejected(self.names[index], reason) for index, reason in self.reasons.items())

    def read(self, index: int, numbers: Sequence[int]) -> Flow:
        """Flow (T, 2, h, w) of the frames with these numbers of video `index`.

        Raises:
            VideoError: the video was rejected.
        """
        return self._block(index).read(numbers)

    def change(self, index: int) -> NDArray[np.float32]:
        """Change of motion (F,) of each frame of video `index`; see `motion.statistics.color_differential`.

        Raises:
            VideoError: the video was rejected.
            ValueError: `build` was not asked for scores.
        """
        return self._block(index).change_of(int(self.frames[index]))

    def _block(self, index: int) -> Block:
        if index in self.reasons:
            raise VideoError(self.names[index], self.reasons[index])
        if self._bytes is None:
            self._bytes = np.memmap(self.path, dtype=np.uint8, mode="r")
        _, height, width = (int(size) for size in self.sizes[index])
        return Block.of(self._bytes[self.starts[index] : self.starts[index + 1]], height, width)


class _Videos(Dataset[tuple[bytes, Shape] | str]):
    """The block of each video, or why there is none."""

    def __init__(self, source: Source, flow: config.Flow, scores: bool) -> None:
        self.source = source
        self.flow = flow
        self.scores = scores

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[bytes, Shape] | str:
        block = io.BytesIO()
        try:
            shape = write_block(block, self.source, index, self.flow, scores=self.scores)
        except VideoError as error:
            return error.reason
        return block.getvalue(), shape


def _computed(videos: _Videos, workers: int) -> Generator[tuple[bytes, Shape] | str, None, None]:
    """The results in order."""
    many = workers > 1
    if many:
        check_script("data.workers=0")
    loader: DataLoader[Any] = DataLoader(
        videos,
        batch_size=None,
        num_workers=workers if many else 0,
        collate_fn=_as_it_is,
        prefetch_factor=_AHEAD if many else None,
        multiprocessing_context=clean_processes(__name__) if many else None,
        worker_init_fn=quiet_worker,
        generator=torch.Generator(),  # else it draws from the global one
    )
    try:
        yield from loader
    except RuntimeError as error:
        if "exited unexpectedly" not in str(error):
            raise
        raise WorkError(
            f"a process that computes flow died ({error}); use fewer of them if memory was short"
        ) from error


def _as_it_is(result: Any) -> Any:
    return result
