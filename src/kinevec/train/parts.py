"""How a step is divided: every rank takes as many of its videos, and passes them in `train.accumulate` equal parts."""

from collections.abc import Iterator

from kinevec import ranks
from kinevec.config import Config
from kinevec.data.batch import Batch, Group
from kinevec.errors import ConfigError, DataError

LEAST = 2  # videos in a part: batch norm needs them


def count_parts(config: Config) -> int:
    """Forward passes that make up a step, on all ranks together.

    Raises:
        ConfigError: the batch does not divide into them.
    """
    parts, batch = ranks.world() * config.train.accumulate, config.train.batch
    if batch % parts or batch < LEAST * parts:
        near = max(LEAST, round(batch / parts)) * parts
        raise ConfigError(
            f"train.batch is {batch} videos per step; {ranks.world()} ranks with train.accumulate = "
            f"{config.train.accumulate} need a multiple of {parts}, at least {LEAST * parts}: set train.batch={near}"
        )
    return parts


def videos_per_step(config: Config, videos: int) -> int:
    """`train.batch`, or less where there are fewer videos than that.

    Raises:
        DataError: there are too few for the ranks.
    """
    parts = count_parts(config)
    if videos < LEAST * parts:
        raise DataError(
            f"{videos} videos are too few for {parts} parts of a step with {LEAST} each; "
            "use fewer ranks or a lower train.accumulate"
        )
    return min(config.train.batch, videos // parts * parts)


def cut(batch: Batch, parts: int) -> Iterator[Batch]:
    """A batch of N videos as so many batches of N/parts, in order; the failures stay with the first."""
    size = len(batch) // parts
    for first in range(0, parts * size, size):
        videos = slice(first, first + size)
        yield Batch(
            _cut_group(batch.rgb, videos),
            _cut(batch.difference, videos),
            _cut(batch.flow, videos),
            _cut(batch.local, videos),
            batch.index[videos],
            [] if first else batch.failures,
        )


def _cut(group: Group | None, videos: slice) -> Group | None:
    return None if group is None else _cut_group(group, videos)


def _cut_group(group: Group, videos: slice) -> Group:
    colors = (None if part is None else part[:, videos] for part in (group.matrix, group.sigma))
    return Group(group.clips[:, videos], group.boxes[:, videos], *colors)
