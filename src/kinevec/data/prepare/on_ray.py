"""Videos prepared on Ray: the machines share the videos and the output folder, and send back what they measured."""

import socket
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

from kinevec.cluster import Cluster, Lost, spread
from kinevec.data.prepare.folder import Folder
from kinevec.data.prepare.plan import PrepareConfig
from kinevec.data.prepare.transcode import Job, Outcome, Transcoder
from kinevec.data.whole import writing
from kinevec.errors import OutputError


@dataclass(frozen=True)
class Preparing:
    """What a worker needs to know."""

    folder: Folder
    config: PrepareConfig

    def __call__(self) -> Callable[[Job], Outcome]:
        """Makes a worker ready; its unfinished files lie apart from those of all others, since one that is taken
        for lost may still be writing.

        Raises:
            OutputError: it does not see the output folder, or cannot write there.
        """
        if not (self.folder.root / "prepare.json").is_file():
            raise OutputError(
                f"{socket.gethostname()} does not see {self.folder.root}, which is there on the machine that asks: "
                "videos and output must lie at the same paths on all machines"
            )
        own = replace(self.folder, worker=uuid4().hex)
        with writing(own.parts):
            own.parts.mkdir()
        task = Transcoder(own, self.config)
        return lambda job: task(job, lambda: False)


def run_on_ray(
    task: Transcoder, jobs: Sequence[Job], cluster: Cluster, stop: threading.Event
) -> Generator[tuple[Job, Outcome | Lost], None, None]:
    """As `workers.run_jobs`, on Ray. See `kinevec.cluster.spread`."""
    made = Preparing(task.folder, task.config)
    return spread(made, jobs, cluster, path=lambda job: job.source, stop=stop.is_set)
