"""Videos that could not be read while a run went on: said once each, counted, and too many of them refused."""

import logging
from collections import Counter
from collections.abc import Mapping

from kinevec.data.batch import Batch
from kinevec.data.source import Videos
from kinevec.errors import DataError

log = logging.getLogger(__name__)

FEW_CLIPS = 200  # no verdict on the share of failing clips before so many were asked for


class Failures:
    """Counts the clips that were replaced.

    Args:
        share: of failing clips at which the run stops.

    Attributes:
        counts: name of a video → how often it was replaced.
    """

    def __init__(self, videos: Videos, share: float) -> None:
        self.videos = videos
        self.share = share
        self.counts: Counter[str] = Counter()

    def add(self, batch: Batch, asked: int) -> None:
        """Takes in a batch, after `asked` clips in all.

        Raises:
            DataError: too many fail.
        """
        for place, reason in batch.failures:
            name = self.videos.record(place).name
            if name not in self.counts:
                log.warning("%s: %s; another video takes its place", name, reason)
            self.counts[name] += 1
        failed = self.counts.total()
        if asked >= FEW_CLIPS and failed > self.share * asked:
            worst = ", ".join(name for name, _ in self.counts.most_common(5))
            raise DataError(
                f"{failed} of {asked} videos asked for could not be read ({len(self.counts)} files: {worst}, "
                f"…), more than data.failed_share = {self.share}"
            )

    def report(self, epoch: int) -> None:
        """Says how many there were by the end of an epoch."""
        if self.counts:
            log.warning(
                "after epoch %d: %d clips of %d files were replaced because they could not be read",
                *(epoch, self.counts.total(), len(self.counts)),
            )

    def restore(self, counts: Mapping[str, int]) -> None:
        """Takes up the counts of a checkpoint."""
        self.counts = Counter(counts)
