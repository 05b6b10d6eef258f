"""Videos that could not be read while a run went on: said once each, counted, and too many of them refused."""

import logging
from collections import Counter
from collections.abc import Mapping

from kinevec import ranks
from kinevec.data.batch import Batch
from kinevec.data.source import Videos
from kinevec.errors import DataError

log = logging.getLogger(__name__)

FEW_CLIPS = 200  # no verdict on the share of failing clips before so many were asked for


class Failures:
    """Counts the clips that were replaced. Each rank counts its own; what is judged, said in the end, and kept in a
    checkpoint, is the sum over all ranks.

    Args:
        share: of failing clips at which the run stops.

    Attributes:
        counts: name of a video → how often it was replaced here; of a resumed run's past the first rank knows.
        said: names of the videos that were warned of.
    """

    def __init__(self, videos: Videos, share: float) -> None:
        self.videos = videos
        self.share = share
        self.counts: Counter[str] = Counter()
        self.said: set[str] = set()

    def add(self, batch: Batch) -> None:
        """Takes in a batch of this rank."""
        for place, reason in batch.failures:
            name = self.videos.record(place).name
            if name not in self.said:
                log.warning("%s: %s; another video takes its place", name, reason)
                self.said.add(name)
            self.counts[name] += 1

    def judge(self, failed: int, asked: int) -> None:
        """Stops a run in which too many clips fail; all ranks have to ask with the same numbers.

        Args:
            failed: clips of all ranks that were replaced, of so many `asked` for.

        Raises:
            DataError: too many fail.
        """
        if asked >= FEW_CLIPS and failed > self.share * asked:
            counts = self.of_all()
            worst = ", ".join(name for name, _ in counts.most_common(5))
            raise DataError(
                f"{failed} of {asked} videos asked for could not be read ({len(counts)} files: {worst}, "
                f"…), more than data.failed_share = {self.share}"
            )

    def of_all(self) -> Counter[str]:
        """The counts of all ranks, who have to ask together."""
        return sum(ranks.collected(self.counts), Counter())

    def report(self, epoch: int) -> None:
        """Says how many there were by the end of an epoch; all ranks have to ask for it."""
        counts = self.of_all()
        if counts and ranks.first():
            log.warning(
                "after epoch %d: %d clips of %d files were replaced because they could not be read",
                *(epoch, counts.total(), len(counts)),
            )

    def restore(self, counts: Mapping[str, int]) -> None:
        """Takes up the counts of a checkpoint."""
        self.said = set(counts)
        self.counts = Counter(counts if ranks.first() else {})
