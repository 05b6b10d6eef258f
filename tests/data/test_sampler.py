"""The order of an epoch: the same for all ranks, who take even and disjoint parts of it."""

import numpy as np
import pytest

from kinevec.data.loader import EpochSampler


def epoch_of(sampler: EpochSampler, epoch: int = 0, skip: int = 0) -> list[list[int]]:
    sampler.epoch, sampler.skip = epoch, skip
    batches = list(sampler)
    assert {key[0] for batch in batches for key in batch} <= {epoch}
    return [[place for _, place in batch] for batch in batches]


@pytest.mark.parametrize(
    ("videos", "batch", "world"), [(24, 3, 2), (25, 4, 3), (7, 2, 2), (50, 1, 7), (5, 4, 2)]
)
@pytest.mark.parametrize(("epoch", "skip"), [(0, 0), (3, 1)])
def test_ranks_together_see_the_batches_of_one(
    videos: int, batch: int, world: int, epoch: int, skip: int
) -> None:
    alone = EpochSampler(videos, batch * world, seed=5)
    ranks = [EpochSampler(videos, batch, seed=5, rank=rank, world=world) for rank in range(world)]
    assert {len(sampler) for sampler in ranks} == {len(alone)} == {videos // (batch * world)}
    parts = [epoch_of(sampler, epoch, skip) for sampler in ranks]
    whole = epoch_of(alone, epoch, skip)
    assert len(whole) == max(0, len(alone) - skip)
    for step, together in enumerate(whole):
        assert [place for part in parts for place in part[step]] == together
        assert all(len(part[step]) == batch for part in parts)
    seen = [place for one in whole for place in one]
    assert len(set(seen)) == len(seen)


def test_the_order_comes_from_seed_and_epoch_alone() -> None:
    first = epoch_of(EpochSampler(1000, 10, seed=1), 2)
    assert first == epoch_of(EpochSampler(1000, 10, seed=1), 2)
    assert first != epoch_of(EpochSampler(1000, 10, seed=2), 2)
    assert first != epoch_of(EpochSampler(1000, 10, seed=1), 3)
    assert sorted(np.ravel(first)) == list(range(1000))
    assert first[4:] == epoch_of(EpochSampler(1000, 10, seed=1), 2, skip=4)


@pytest.mark.parametrize("rank", [-1, 2])
def test_there_is_no_such_rank(rank: int) -> None:
    with pytest.raises(ValueError, match=f"rank {rank} of 2"):
        EpochSampler(10, 2, 0, rank=rank, world=2)
