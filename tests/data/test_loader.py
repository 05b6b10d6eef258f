"""The same seed gives the same batches, whatever makes them; failing videos are replaced and named."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kinevec.config import Clip, Config, Data, Train, Views
from kinevec.data.decode import Clip as Frames
from kinevec.data.loader import SUBSTITUTES, Batch, make_loader
from kinevec.errors import DataError, VideoError


class Memory:
    """Made-up videos: every pixel of frame t of video i is 10·i + t; some cannot be read."""

    def __init__(self, videos: int = 11, broken: tuple[int, ...] = ()) -> None:
        self.videos = videos
        self.broken = broken

    def __len__(self) -> int:
        return self.videos

    def frames(self, index: int) -> int:
        return 9

    def read(self, index: int, numbers: list[int]) -> Frames:
        if index in self.broken:
            raise VideoError(Path(f"{index}.mp4"), "made to fail")
        values: NDArray[np.uint8] = (10 * index + np.array(numbers)).astype(np.uint8)
        frames = np.broadcast_to(values[:, None, None, None], (len(numbers), 24, 32, 3))
        return Frames(np.ascontiguousarray(frames), tuple(numbers), np.array(numbers) / 10)


CONFIG = Config(
    clip=Clip(frames=3, stride=2, size=16),
    views=Views(jitter=0, grayscale=0, blur=0),
    train=Train(batch=4, epochs=2, warmup_epochs=0, seed=5),
    data=Data(),
)


def batches(
    source: Memory,
    config: Config = CONFIG,
    *,
    workers: int = 0,
    epoch: int = 0,
    skip: int = 0,
    color_here: bool = True,
) -> list[Batch]:
    loader, sampler = make_loader(source, config, batch=4, workers=workers, color_here=color_here, pin=False)
    sampler.epoch, sampler.skip = epoch, skip
    return list(loader)


def same(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x.clips, y.clips) and torch.equal(x.boxes, y.boxes) and torch.equal(x.index, y.index)
        for x, y in zip(a, b, strict=True)
    )


def test_a_batch_holds_two_clips_of_each_video() -> None:
    (batch, _) = batches(Memory())
    assert batch.clips.shape == (2, 4, 3, 16, 16, 3)
    assert batch.clips.dtype == torch.uint8
    assert batch.boxes.shape == (2, 4, 4)
    assert len(batch) == 4
    for view in range(2):
        for place, index in enumerate(batch.index.tolist()):
            times = batch.clips[view, place, :, 0, 0, 0].long() - 10 * index
            assert times.diff().tolist() == [2, 2]
            assert 0 <= int(times[0]) <= 4


def test_an_epoch_shows_every_video_at_most_once() -> None:
    seen = torch.cat([batch.index for batch in batches(Memory(12))]).tolist()
    assert sorted(seen) == list(range(12))
    assert len(torch.cat([batch.index for batch in batches(Memory(11))])) == 8  # the rest is left out


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than cores
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_number_of_workers_changes_nothing(workers: int) -> None:
    colored = replace(CONFIG, views=Views())
    source = Memory(broken=(3, 4))
    plain = batches(source, colored)
    others = batches(source, colored, workers=workers)
    assert same(plain, others)
    assert [batch.failures for batch in plain] == [batch.failures for batch in others]


def test_seed_and_epoch_change_everything() -> None:
    other_seed = replace(CONFIG, train=replace(CONFIG.train, seed=6))
    first = batches(Memory())
    assert same(first, batches(Memory()))
    assert not torch.equal(first[0].index, batches(Memory(), other_seed)[0].index)
    assert not torch.equal(first[0].index, batches(Memory(), epoch=1)[0].index)


def test_a_sample_does_not_depend_on_its_batch() -> None:
    """Same epoch, same video, another batch size: the same views."""
    loader, _ = make_loader(Memory(), CONFIG, batch=2, workers=0, color_here=True, pin=False)
    pairs = {int(i): batch.clips[:, n] for batch in loader for n, i in enumerate(batch.index)}
    for batch in batches(Memory()):
        for n, i in enumerate(batch.index.tolist()):
            if i in pairs:
                assert torch.equal(pairs[i], batch.clips[:, n])


def test_skipped_batches_are_those_already_seen() -> None:
    assert same(batches(Memory(), skip=1), batches(Memory())[1:])


def test_failing_videos_are_replaced_and_named() -> None:
    first = batches(Memory(12, broken=(3, 7)))
    assert same(first, batches(Memory(12, broken=(3, 7))))
    failures = [failure for batch in first for failure in batch.failures]
    assert {place for place, _ in failures} == {3, 7}
    assert {reason for _, reason in failures} == {"made to fail"}
    read = torch.cat([batch.index for batch in first])
    assert len(read) == 12
    assert not {3, 7} & set(read.tolist())


def test_nothing_but_failures_stops_with_a_reason() -> None:
    with pytest.raises(
        DataError, match=f"{SUBSTITUTES} videos in a row cannot be read; the last one: made to fail"
    ):
        batches(Memory(4, broken=(0, 1, 2, 3)))


def test_colours_are_handed_over_where_the_device_applies_them() -> None:
    colored = replace(CONFIG, views=Views())
    here = batches(Memory(), colored)[0]
    there = batches(Memory(), colored, color_here=False)[0]
    assert here.matrix is None
    assert here.sigma is None
    assert there.matrix is not None
    assert there.sigma is not None
    assert there.matrix.shape == (2, 4, 3, 4)
    assert there.sigma.shape == (2, 4)
    assert torch.equal(here.boxes, there.boxes)  # the same draws
