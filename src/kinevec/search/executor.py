"""Who embeds videos: this process, one after the other, or anything else that fits `Executor`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from kinevec.data.prepare.check import Stamp
from kinevec.data.records import Record
from kinevec.errors import CheckpointError, VideoError
from kinevec.evaluate.encode import ClipEncoder
from kinevec.search.embed import VideoVectors, embed_video
from kinevec.search.settings import Settings


@dataclass(frozen=True)
class Job:
    """A video that is to be embedded."""

    record: Record  # its path is absolute
    stamp: Stamp
    hash: str
    clips: int


class Executor(Protocol):
    """Embeds videos, here or elsewhere, in any order."""

    def __call__(
        self, jobs: Sequence[Job], on_clips: Callable[[int], None]
    ) -> Iterator[tuple[Job, VideoVectors | VideoError]]:
        """Yields each job with its vectors, or with what is wrong with its file.

        Args:
            on_clips: is told how many more clips are done; it may raise `Interrupted`, which is to be let through.
        """


@dataclass(frozen=True)
class Here:
    """The executor that embeds one video after the other in this process."""

    settings: Settings
    encode: ClipEncoder

    def __call__(
        self, jobs: Sequence[Job], on_clips: Callable[[int], None]
    ) -> Iterator[tuple[Job, VideoVectors | VideoError]]:
        for job in jobs:
            told = 0

            def tell(done: int, total: int) -> None:
                nonlocal told
                on_clips(done - told)
                told = done

            try:
                yield job, embed_video(job.record.path, self.settings, self.encode, on_batch=tell)
            except VideoError as error:
                on_clips(job.clips - told)
                yield job, error
            except CheckpointError as error:
                raise CheckpointError(f"{job.record.path}: {error}") from error
