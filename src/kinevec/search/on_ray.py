"""Videos embedded on Ray: each worker loads the encoder once; vectors come back to the process with the index."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from torch import nn

from kinevec.cluster import Cluster, Lost, spread
from kinevec.config import Config
from kinevec.data.reasons import Unusable
from kinevec.errors import VideoError
from kinevec.evaluate.encode import ClipEncoder, settled
from kinevec.search.embed import VideoVectors, embed_video
from kinevec.search.executor import Job
from kinevec.search.settings import Settings


@dataclass(frozen=True)
class Embedding:
    """What a worker needs to know."""

    encoder: nn.Module
    config: Config
    settings: Settings
    device: str

    def __call__(self) -> Callable[[Job], VideoVectors | VideoError]:
        """Makes a worker ready.

        Raises:
            ConfigError: the device is not there.
        """
        encode = ClipEncoder(self.encoder, self.config, self.device)

        def embed(job: Job) -> VideoVectors | VideoError:
            try:
                return embed_video(job.record.path, self.settings, encode)
            except VideoError as error:
                return error

        return embed


@dataclass(frozen=True)
class OnRay:
    """The executor that embeds videos on Ray, in their order, so that the index is as it would be without.

    Args:
        encode: the encoder; "auto" as its precision means what it does on this machine.
    """

    cluster: Cluster
    settings: Settings
    encode: ClipEncoder

    def __call__(
        self, jobs: Sequence[Job], on_clips: Callable[[int], None]
    ) -> Iterator[tuple[Job, VideoVectors | VideoError]]:
        device = self.cluster.device
        made = Embedding(self.encode.encoder, settled(self.encode.config, device), self.settings, device.type)

        def look() -> bool:
            on_clips(0)  # it raises where it is asked to stop
            return False

        with closing(
            spread(made, jobs, self.cluster, path=lambda job: job.record.path, stop=look, ordered=True)
        ) as results:
            for job, result in results:
                if isinstance(result, Lost):
                    yield job, Unusable(job.record.path, "failed", str(result))
                else:
                    yield job, result
                on_clips(job.clips)
