"""Where the clips of a run come from: frames, their optical flow, and how much their motion changes."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinevec import ranks
from kinevec.config import Config
from kinevec.data.manifest import Manifest
from kinevec.data.script import unguarded
from kinevec.data.source import FileSource, FrameStore, Progress, Source, Videos
from kinevec.errors import ConfigError, DataError, OutputError
from kinevec.motion.block import with_end
from kinevec.motion.cache import FlowCache, has_cache, open_cache
from kinevec.motion.frames import ComputedFlow, Flows
from kinevec.motion.store import FlowStore
from kinevec.runtime import cores

log = logging.getLogger(__name__)

FRAMES = "frames.raw"  # decoded frames, while a run goes on
FLOW = "flow.raw"  # their flow, likewise

Change = Callable[[int], NDArray[np.float32]]


@dataclass(frozen=True)
class Supply:
    """What the loader of a run reads.

    Attributes:
        videos: those that can be read.
        source: of their frames, in the same order.
        flows: of their optical flow; None where no term needs it.
        change: of the change of motion (F,) of each frame of a video; None where sampling does not need it.
    """

    videos: Videos
    source: Source
    flows: Flows | None = None
    change: Change | None = None

    @property
    def facts(self) -> dict[str, str]:
        """Where frames and flow are kept, in words for `run.json`."""
        kinds = {FlowStore: "run", FlowCache: "cache", ComputedFlow: "none"}
        flow = {"flow_store": kinds[type(self.flows)]} if self.flows is not None else {}
        return {"store": "frames" if isinstance(self.source, FrameStore) else "files"} | flow


def open_shared(
    config: Config, videos: Videos, folder: Path, on_decode: Progress | None, on_flow: Progress | None
) -> Supply:
    """`open_supply` by the first rank, for all of them: what it writes, the others map.

    Raises:
        OutputError: as for `open_supply`, or the others do not see what it wrote.
        TrainingError: something failed on another rank.
        ConfigError, DataError: as for `open_supply`.
    """
    supply = ranks.shared(lambda: open_supply(config, videos, folder, on_decode, on_flow))
    with ranks.together():
        for store in (supply.source, supply.flows):
            if isinstance(store, FrameStore | FlowStore) and not store.path.is_file():
                raise OutputError(
                    f"{store.path}: was written by rank 0 and is not seen by rank {ranks.rank()}; with several "
                    "machines, the run's folder must lie on a file system that all of them share"
                )
    return supply


def open_supply(
    config: Config, videos: Videos, folder: Path, on_decode: Progress | None, on_flow: Progress | None
) -> Supply:
    """Decodes everything once where that is asked for or fits, and computes flow once likewise.

    Args:
        folder: of the run; `FRAMES` and `FLOW` are written there, and are to be removed after it.

    Raises:
        OutputError: the folder has no room.
        ConfigError: the flow method is too slow for the loader.
        DataError: no video can be read; the cached flow was made otherwise; motion was not measured.
    """
    source: Source
    sizes: NDArray[Any]
    short_side = math.ceil(config.clip.size / math.sqrt(config.views.area[0]))
    _, size = FrameStore.plan(videos, short_side)
    room = config.data.store_limit_gb * 1e9
    if config.data.store == "frames" or (config.data.store == "auto" and size <= room):
        source, videos = FrameStore.build(videos, folder / FRAMES, short_side, on_decode)
        sizes = source.sizes
    else:
        source, sizes = FileSource(videos), videos.sizes
    flows = _open_flow(config, videos, source, sizes, folder / FLOW, on_flow)
    return Supply(videos, source, flows, _open_change(config, videos, flows))


def _open_flow(
    config: Config,
    videos: Videos,
    source: Source,
    sizes: NDArray[Any],
    path: Path,
    progress: Progress | None,
) -> Flows | None:
    needed = "flow" in config.motions or (config.sampling.moving and not isinstance(videos, Manifest))
    if not needed:
        return None
    store, flow = config.flow.store, config.flow
    if store == "cache" and not isinstance(videos, Manifest):
        raise DataError("flow.store is cache, but only a folder made by `kinevec prepare` has a flow cache")
    if isinstance(videos, Manifest) and (store == "cache" or (store == "auto" and has_cache(videos.folder))):
        return open_cache(videos.folder, videos, flow)
    room = config.data.store_limit_gb * 1e9
    learned = flow.method == "raft"  # one process has the device to itself
    if store == "run" or (store == "auto" and FlowStore.plan(videos.frames, sizes, flow) <= room):
        names = list(videos.names())
        lonely = learned or (config.data.workers == 0 and unguarded() is not None)
        scores, workers = config.sampling.moving, 1 if lonely else cores()
        return FlowStore.build(source, names, path, flow, progress, workers=workers, scores=scores)
    if learned:
        raise ConfigError(
            "flow by raft is not computed clip by clip: set flow.store=run, or run `kinevec flow`"
        )
    return ComputedFlow(source, flow)


def _open_change(config: Config, videos: Videos, flows: Flows | None) -> Change | None:
    if not config.sampling.moving:
        return None
    if isinstance(flows, FlowStore | FlowCache):  # the scores of this very flow
        return flows.change
    if isinstance(videos, Manifest):
        if config.flow.gap != 1:
            log.warning(
                "sampling.moving goes by how motion changes from each frame to the next, as `kinevec prepare` measured "
                "it, and not over %d frames (flow.gap): run `kinevec flow` on this folder for that, or set flow.gap=1",
                config.flow.gap,
            )
        return _Measured(videos)
    raise DataError(
        "sampling.moving needs to know how each video moves: train on a folder made by `kinevec prepare`, "
        "or set flow.store=run to measure when the run starts"
    )


@dataclass(frozen=True)
class _Measured:
    """Change of motion as `kinevec prepare` measured it, from each frame to the next."""

    videos: Manifest

    def __call__(self, index: int) -> NDArray[np.float32]:
        motion = self.videos.motion(index)
        if motion is None:
            raise DataError(
                f"{self.videos.folder}: was prepared without motion statistics, which sampling.moving needs; "
                "prepare it again without --motion none, or set sampling.moving=false"
            )
        change = motion[1]
        return with_end(change[:-2], len(change))  # of the last two frames none is known
