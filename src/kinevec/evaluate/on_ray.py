"""Features of videos on Ray: each worker loads the encoders once, and sends back a few numbers for each video."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import nn

from kinevec.cluster import Cluster, Lost, spread
from kinevec.config import Config
from kinevec.data.decode import VideoInfo
from kinevec.data.reasons import Unusable
from kinevec.errors import VideoError
from kinevec.evaluate.encode import ClipEncoder, settled
from kinevec.evaluate.features import Rows, clips_of, encoded


@dataclass(frozen=True)
class Extracting:
    """What a worker needs to know."""

    encoders: Mapping[str, nn.Module]
    config: Config
    clips: int
    crops: int
    device: str

    def __call__(self) -> Callable[[tuple[int, VideoInfo]], Rows | VideoError]:
        """Makes a worker ready.

        Raises:
            ConfigError: the device is not there.
        """
        encode = {
            name: ClipEncoder(encoder, self.config, self.device) for name, encoder in self.encoders.items()
        }

        def extract(job: tuple[int, VideoInfo]) -> Rows | VideoError:
            try:
                batch = clips_of(self.config, job[1], self.clips, self.crops)
            except VideoError as error:
                return error
            return encoded(encode, batch, job[1])

        return extract


@dataclass(frozen=True)
class OnRay:
    """The extractor that works on Ray; "auto" as precision means what it does on this machine."""

    cluster: Cluster

    @property
    def device(self) -> torch.device:
        return self.cluster.device

    def __call__(
        self,
        encoders: Mapping[str, nn.Module],
        config: Config,
        infos: Sequence[VideoInfo],
        clips: int,
        crops: int,
    ) -> Iterator[tuple[int, Rows | VideoError]]:
        here = {name: deepcopy(encoder).cpu() for name, encoder in encoders.items()}
        made = Extracting(here, settled(config, self.device), clips, crops, self.device.type)
        jobs = list(enumerate(infos))
        with closing(spread(made, jobs, self.cluster, path=lambda job: job[1].path)) as results:
            for (number, info), result in results:
                if isinstance(result, Lost):
                    yield number, Unusable(info.path, "failed", str(result))
                else:
                    yield number, result
