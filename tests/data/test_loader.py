"""The same seed gives the same batches, whatever makes them; failing videos are replaced and named.

Every kind of clip is cut where it should be, from the frames that it should be cut from.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kinevec.config import Clip, Config, Fima, Method, Mscl, Sampling, Terms, Train, Views
from kinevec.data.batch import Batch, Group
from kinevec.data.decode import Clip as Frames
from kinevec.data.loader import SUBSTITUTES, EpochSampler, Samples, make_loader
from kinevec.errors import DataError, VideoError
from kinevec.views.geometry import Geometry, crop_resize

HEIGHT, WIDTH = 24, 32


class Memory:
    """Made-up videos: every pixel of frame t of video i is 10·i + t; some cannot be read."""

    def __init__(self, videos: int = 11, broken: tuple[int, ...] = (), frames: int = 9) -> None:
        self.videos = videos
        self.broken = broken
        self.length = frames

    def __len__(self) -> int:
        return self.videos

    def frames(self, index: int) -> int:
        return self.length

    def read(self, index: int, numbers: Sequence[int]) -> Frames:
        if index in self.broken:
            raise VideoError(Path(f"{index}.mp4"), "made to fail")
        values: NDArray[np.uint8] = (10 * index + np.array(numbers)).astype(np.uint8)
        frames = np.broadcast_to(values[:, None, None, None], (len(numbers), HEIGHT, WIDTH, 3))
        return Frames(np.ascontiguousarray(frames), tuple(numbers), np.array(numbers) / 10)


class Ramps(Memory):
    """Videos whose pixels say where they are and when: x in red, y in green, the frame's number in blue."""

    def read(self, index: int, numbers: Sequence[int]) -> Frames:
        frames = np.zeros((len(numbers), HEIGHT, WIDTH, 3), np.uint8)
        frames[..., 0] = np.arange(WIDTH)
        frames[..., 1] = np.arange(HEIGHT)[:, None]
        frames[..., 2] = np.array(numbers)[:, None, None]
        return Frames(frames, tuple(numbers), np.array(numbers) / 10)


class FlowOfPlace:
    """Flow at half the size of the frames: u is x and v is 100·t + y, in frames' pixels over two."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, list[int]]] = []

    def read(self, index: int, numbers: Sequence[int]) -> NDArray[np.float32]:
        self.asked.append((index, list(numbers)))
        flow = np.zeros((len(numbers), 2, HEIGHT // 2, WIDTH // 2), np.float32)
        flow[:, 0] = np.arange(WIDTH // 2) + 0.5
        flow[:, 1] = np.array(numbers)[:, None, None]
        return flow


CONFIG = Config(
    clip=Clip(frames=3, stride=2, size=16),
    views=Views(jitter=0, grayscale=0, blur=0),
    train=Train(batch=4, epochs=2, warmup_epochs=0, seed=5),
)
FIMA = replace(
    CONFIG,
    clip=Clip(frames=16, stride=2, size=16),
    terms=Terms(pixel=1, frame=1),
    method=Method(symmetric=True),
)
MSCL = replace(CONFIG, clip=Clip(frames=4, stride=2, size=16), terms=Terms(flow=1, local=1))


def batches(
    source: Memory,
    config: Config = CONFIG,
    *,
    batch: int = 4,
    workers: int = 0,
    epoch: int = 0,
    skip: int = 0,
    color_here: bool = True,
    **more: Any,
) -> list[Batch]:
    sampler = EpochSampler(len(source), batch, config.train.seed)
    sampler.epoch, sampler.skip = epoch, skip
    samples = Samples(source, config, color_here=color_here, **more)
    return list(make_loader(samples, sampler, workers=workers, pin=False))


def parts(batch: Batch) -> list[torch.Tensor]:
    """All that it holds."""
    groups = [group for group in (batch.rgb, batch.difference, batch.flow, batch.local) if group is not None]
    found = [value for group in groups for value in (group.clips, group.boxes, group.matrix, group.sigma)]
    return [batch.index, *(value for value in found if value is not None)]


def same(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(one, other)
        for x, y in zip(a, b, strict=True)
        for one, other in zip(parts(x), parts(y), strict=True)
    )


def test_a_batch_holds_two_clips_of_each_video() -> None:
    (batch, _) = batches(Memory())
    assert batch.rgb.clips.shape == (2, 4, 3, 16, 16, 3)
    assert batch.rgb.clips.dtype == torch.uint8
    assert batch.rgb.boxes.shape == (2, 4, 4)
    assert (batch.difference, batch.flow, batch.local) == (None, None, None)
    assert len(batch) == 4
    for view in range(2):
        for place, index in enumerate(batch.index.tolist()):
            times = batch.rgb.clips[view, place, :, 0, 0, 0].long() - 10 * index
            assert times.diff().tolist() == [2, 2]
            assert 0 <= int(times[0]) <= 4


def test_an_epoch_shows_every_video_at_most_once() -> None:
    seen = torch.cat([batch.index for batch in batches(Memory(12))]).tolist()
    assert sorted(seen) == list(range(12))
    assert len(torch.cat([batch.index for batch in batches(Memory(11))])) == 8  # the rest is left out


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than cores
@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_nothing(workers: int) -> None:
    """With every kind of clip there is."""
    everything = replace(
        CONFIG,
        views=Views(),
        sampling=Sampling(near=True, moving=True),
        terms=Terms(flow=1, pixel=1, frame=1),
        method=Method(symmetric=True),
        clip=Clip(frames=4, stride=2, size=16),
    )
    source, more = Memory(broken=(3, 4)), {"flows": FlowOfPlace(), "change": _rising}
    plain = batches(source, everything, color_here=False, **more)
    others = batches(source, everything, color_here=False, workers=workers, **more)
    assert len(parts(plain[0])) == 15  # index; four of each group, but flow has no colour changes
    assert same(plain, others)
    assert [batch.failures for batch in plain] == [batch.failures for batch in others]


def _rising(index: int) -> NDArray[np.float32]:
    return np.arange(9, dtype=np.float32)


def test_seed_and_epoch_change_everything() -> None:
    other_seed = replace(CONFIG, train=replace(CONFIG.train, seed=6))
    first = batches(Memory())
    assert same(first, batches(Memory()))
    assert not torch.equal(first[0].index, batches(Memory(), other_seed)[0].index)
    assert not torch.equal(first[0].index, batches(Memory(), epoch=1)[0].index)


def test_a_sample_does_not_depend_on_its_batch() -> None:
    """Same epoch, same video, another batch size: the same views."""
    pairs = {
        int(i): batch.rgb.clips[:, n]
        for batch in batches(Memory(), batch=2)
        for n, i in enumerate(batch.index)
    }
    for batch in batches(Memory()):
        for n, i in enumerate(batch.index.tolist()):
            assert torch.equal(pairs[i], batch.rgb.clips[:, n])


def test_what_else_is_delivered_does_not_change_the_rgb_clips() -> None:
    """Rows of an ablation see the same crops of the same clips, where their sampling is the same."""
    plain = replace(MSCL, terms=Terms())
    one, other = batches(Memory(), plain), batches(Memory(), MSCL, flows=FlowOfPlace())
    assert all(torch.equal(a.rgb.clips, b.rgb.clips) for a, b in zip(one, other, strict=True))
    assert all(torch.equal(a.rgb.boxes, b.rgb.boxes) for a, b in zip(one, other, strict=True))


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
    here = batches(Memory(), colored)[0].rgb
    there = batches(Memory(), colored, color_here=False)[0].rgb
    assert here.matrix is None
    assert here.sigma is None
    assert there.matrix is not None
    assert there.sigma is not None
    assert there.matrix.shape == (2, 4, 3, 4)
    assert there.sigma.shape == (2, 4)
    assert torch.equal(here.boxes, there.boxes)  # the same draws


def test_no_blur_is_handed_over_where_there_is_none() -> None:
    bright = replace(CONFIG, views=Views(blur=0))
    (first, _) = batches(Memory(), bright, color_here=False)
    assert first.rgb.matrix is not None
    assert first.rgb.sigma is None


def crop_of(box: torch.Tensor) -> Geometry:
    """What was cut out, from the normalised box."""
    x1, y1, x2, y2 = np.rint(box.numpy() * [WIDTH, HEIGHT, WIDTH, HEIGHT]).astype(int).tolist()
    return Geometry((min(x1, x2), y1, max(x1, x2), y2), flip=x1 > x2)


def assert_cut_by_its_box(clip: torch.Tensor, box: torch.Tensor) -> None:
    """Pixels of `Ramps` come from the box."""
    numbers = clip[:, 0, 0, 2].tolist()
    frames = Ramps().read(0, numbers).frames
    np.testing.assert_array_equal(clip.numpy(), crop_resize(frames, crop_of(box), 16))


def group_of(batch: Batch, kind: str) -> Group:
    group = getattr(batch, kind)
    assert isinstance(group, Group)
    return group


@pytest.mark.parametrize("color_here", [False, True])
def test_differences_share_the_crop_of_the_rgb_clips_and_are_not_coloured(color_here: bool) -> None:
    views = Views(jitter=1, grayscale=1, blur=1)
    config = replace(FIMA, views=views, terms=Terms(pixel=1))
    (batch,) = batches(Ramps(4, frames=70), config, color_here=color_here)
    difference = group_of(batch, "difference")
    assert batch.local is None
    assert difference.clips.shape == batch.rgb.clips.shape == (2, 4, 16, 16, 16, 3)
    assert torch.equal(difference.boxes, batch.rgb.boxes)
    assert {bool(box[0] > box[2]) for box in difference.boxes.flatten(0, 1)} == {False, True}
    for view, n in np.ndindex(2, 4):
        assert_cut_by_its_box(difference.clips[view, n], difference.boxes[view, n])
    assert torch.equal(difference.clips, batch.rgb.clips) == (not color_here)
    # Their colour changes are draws of their own, and always left to the device.
    assert difference.matrix is not None
    assert difference.sigma is not None
    assert len(difference.sigma.unique()) == 8
    if not color_here:
        assert batch.rgb.sigma is not None
        assert not (batch.rgb.sigma == difference.sigma).any()
        assert batch.rgb.clips.data_ptr() == difference.clips.data_ptr()  # handed over once


def test_pinning_copies_clips_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As DataLoader does for a GPU; here with a stand-in, since pinning needs one."""
    config = replace(FIMA, fima=Fima(motion="difference"), terms=Terms(flow=1, pixel=1, frame=1))
    (batch,) = batches(Ramps(4, frames=70), config, color_here=False, flows=FlowOfPlace())
    kinds = ("rgb", "difference", "flow", "local")
    before = [group_of(batch, kind).clips.clone() for kind in kinds]
    pinned: list[torch.Tensor] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append(tensor.clone())
        return pinned[-1]

    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda tensor: any(tensor is one for one in pinned))
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    assert batch.pin_memory() is batch
    after = [group_of(batch, kind).clips for kind in kinds]
    assert after[0] is after[1]
    assert len(pinned) == 3
    assert all(
        clips.is_pinned() and torch.equal(clips, old) for clips, old in zip(after, before, strict=True)
    )


def test_local_clips_are_the_halves_of_the_window() -> None:
    (batch,) = batches(Ramps(4, frames=70), FIMA)
    local = group_of(batch, "local")
    assert local.clips.shape == (4, 4, 16, 16, 16, 3)
    for view, n in np.ndindex(2, 4):
        numbers = batch.rgb.clips[view, n, :, 0, 0, 2].long()
        start = int(numbers[0])
        assert numbers.tolist() == [start + 2 * t for t in range(16)]
        assert 0 <= start <= 70 - 32
        for part in range(2):
            clip = local.clips[2 * view + part, n]
            assert clip[:, 0, 0, 2].tolist() == [start + 16 * part + t for t in range(16)]
            assert_cut_by_its_box(clip, local.boxes[2 * view + part, n])


def test_windows_reach_the_ends_of_a_video() -> None:
    starts = [
        int(batch.rgb.clips[view, n, 0, 0, 0, 2])
        for epoch in range(12)
        for batch in batches(Ramps(4, frames=34), FIMA, epoch=epoch)
        for view, n in np.ndindex(2, 4)
    ]
    assert set(starts) == {0, 1, 2}


def test_crops_and_colours_of_local_clips_are_of_their_own() -> None:
    (batch,) = batches(Ramps(4, frames=70), replace(FIMA, views=Views(blur=1)))
    local, difference = group_of(batch, "local"), group_of(batch, "difference")
    boxes = torch.cat([batch.rgb.boxes, local.boxes]).flatten(0, 1)
    assert len({tuple(box.tolist()) for box in boxes}) == len(boxes) == 6 * 4
    assert local.matrix is not None
    assert local.sigma is not None
    assert local.matrix.shape == (4, 4, 3, 4)
    assert difference.sigma is not None
    assert len(torch.cat([local.sigma, difference.sigma]).unique()) == 6 * 4


@pytest.mark.parametrize(("steps", "stride"), [(1, 2), (4, 4), (3, 4), (2, 5)])
def test_there_is_a_local_clip_for_every_time_step(steps: int, stride: int) -> None:
    config = replace(FIMA, clip=Clip(frames=16, stride=stride, size=16), fima=Fima(steps=steps))
    (batch,) = batches(Ramps(4, frames=90), config)
    local = group_of(batch, "local")
    assert len(local.clips) == 2 * steps
    start = int(batch.rgb.clips[0, 0, 0, 0, 0, 2])
    for part in range(steps):
        even = np.linspace(16 * stride * part, 16 * stride * (part + 1), 16, endpoint=False) / steps
        expected = start + np.floor(even + 1e-9).astype(int)
        assert local.clips[part, 0, :, 0, 0, 2].tolist() == expected.tolist()
        assert len(set(expected)) == 16  # no frame twice: their difference would be nothing


@pytest.mark.parametrize("total", [31, 20])
def test_local_clips_of_a_video_shorter_than_the_window_go_on_at_its_beginning(total: int) -> None:
    """Of 31 frames, which a clip of 16 at stride 2 spans and a window of 32 does not, and of fewer."""
    starts = set()
    for epoch in range(12):
        (batch,) = batches(Ramps(4, frames=total), FIMA, epoch=epoch)
        local = group_of(batch, "local").clips
        for view, n in np.ndindex(2, 4):
            numbers = batch.rgb.clips[view, n, :, 0, 0, 2].tolist()
            start = numbers[0]
            starts.add(start)
            assert numbers == [(start + 2 * t) % total for t in range(16)]
            for part in range(2):
                expected = [(start + 16 * part + t) % total for t in range(16)]
                assert local[2 * view + part, n, :, 0, 0, 2].tolist() == expected
    assert {0, total - 1} <= starts


@pytest.mark.parametrize(
    ("workers", "batch", "size", "expected"),
    [(1, 4, 16, 4), (1, 512, 56, 4), (2, 448, 56, 3), (2, 512, 112, 1), (0, 512, 112, None)],
)
def test_workers_are_less_ahead_where_batches_are_large(
    workers: int, batch: int, size: int, expected: int | None
) -> None:
    """FIMA has 8 clips of 16 frames a video: 1.2 MB a video at 56 pixels, 4.8 MB at 112."""
    config = replace(FIMA, clip=Clip(frames=16, stride=2, size=size))
    samples = Samples(Memory(4096), config, color_here=False)
    loader = make_loader(samples, EpochSampler(4096, batch, 0), workers=workers, pin=False)
    assert loader.prefetch_factor == expected


def flow_by_crop(number: int, geometry: Geometry) -> NDArray[np.float64]:
    """What `FlowOfPlace` becomes in a crop of 16 × 16 pixels, away from its border."""
    x1, y1, x2, y2 = geometry.box
    across = 16 / (x2 - x1)
    x = x1 + (np.arange(16) + 0.5) / across
    u = np.broadcast_to(x / 2 * 2 * across, (16, 16))
    v = np.full((16, 16), number * 2 * 16 / (y2 - y1))
    return np.stack([-u[:, ::-1] if geometry.flip else u, v])


def test_flow_follows_the_crop_and_the_flip_of_the_rgb_clip() -> None:
    flows = FlowOfPlace()
    (batch,) = batches(Ramps(4, frames=20), MSCL, flows=flows)
    flow = group_of(batch, "flow")
    assert flow.clips.shape == (2, 4, 2, 2, 16, 16)  # two of four frames: the branch looks at no other
    assert flow.clips.dtype == torch.float16
    assert (flow.matrix, flow.sigma) == (None, None)
    assert torch.equal(flow.boxes, batch.rgb.boxes)
    assert (batch.difference, batch.local) == (None, None)
    flips = set()
    for view, n in np.ndindex(2, 4):
        geometry = crop_of(flow.boxes[view, n])
        flips.add(geometry.flip)
        numbers = batch.rgb.clips[view, n, ::2, 0, 0, 2].tolist()
        assert (int(batch.index[n]), numbers) in flows.asked
        for t, number in enumerate(numbers):
            expected = flow_by_crop(number, geometry)
            got = flow.clips[view, n, :, t].double().numpy()
            inner = slice(3, -3)  # at the border of a crop there is less to average
            np.testing.assert_allclose(got[:, inner, inner], expected[:, inner, inner], rtol=0.02, atol=0.1)
    assert flips == {False, True}


def test_fima_takes_the_flow_of_all_frames_and_of_local_clips() -> None:
    config = replace(FIMA, fima=Fima(motion="flow"), terms=Terms(flow=1, pixel=1, frame=1))
    flows = FlowOfPlace()
    (batch,) = batches(Ramps(4, frames=70), config, flows=flows)
    flow, local = group_of(batch, "flow"), group_of(batch, "local")
    assert batch.difference is None
    assert flow.clips.shape == (2, 4, 2, 16, 16, 16)
    assert local.clips.shape == (4, 4, 2, 16, 16, 16)
    assert local.clips.dtype == torch.float16
    assert not torch.equal(local.boxes[:2], flow.boxes)
    for view, n in np.ndindex(2, 4):
        numbers = batch.rgb.clips[view, n, :, 0, 0, 2].tolist()
        index = int(batch.index[n])
        assert (index, numbers) in flows.asked
        for part in range(2):
            theirs = [numbers[0] + 16 * part + t for t in range(16)]
            assert (index, theirs) in flows.asked
            box = crop_of(local.boxes[2 * view + part, n])
            vertical = local.clips[2 * view + part, n, 1].double().mean((1, 2)).numpy()
            expected = np.array(theirs) * 2 * 16 / (box.box[3] - box.box[1])
            np.testing.assert_allclose(vertical, expected, rtol=2e-3)


def test_differences_of_mscl_need_no_flow() -> None:
    config = replace(MSCL, mscl=Mscl(motion="difference", rotated_steps=False))
    (batch, *_) = batches(Ramps(4, frames=20), config)
    assert batch.flow is None
    assert group_of(batch, "difference").clips.shape == (2, 4, 4, 16, 16, 3)


def starts_of(config: Config, change: Callable[[int], NDArray[np.float32]] | None) -> NDArray[np.int64]:
    """(pairs, 2), from videos of 60 frames."""
    source = Ramps(40, frames=60)
    pairs = [
        [int(batch.rgb.clips[view, n, 0, 0, 0, 2]) for view in range(2)]
        for batch in batches(source, config, change=change)
        for n in range(len(batch))
    ]
    return np.array(pairs)


def test_near_clips_start_within_a_window() -> None:
    near = starts_of(replace(CONFIG, sampling=Sampling(near=True)), None)
    apart = np.abs(near[:, 0] - near[:, 1])
    assert apart.max() == CONFIG.clip.window
    assert near.max() == 60 - CONFIG.clip.span
    free = starts_of(CONFIG, None)
    assert np.abs(free[:, 0] - free[:, 1]).max() > 20


def test_moving_clips_lie_where_motion_changes_most() -> None:
    """In a video of 60 frames, of which only the last 20 change."""
    asked = []

    def change(index: int) -> NDArray[np.float32]:
        asked.append(index)
        return (np.arange(60) >= 40).astype(np.float32)

    moving = starts_of(replace(CONFIG, sampling=Sampling(moving=True)), change)
    assert moving.min() == 40 - (CONFIG.clip.span - 1)  # its last frame changes
    assert moving.max() <= 60 - CONFIG.clip.span
    assert set(asked) == set(range(40))
    assert starts_of(CONFIG, None).min() < 30


def test_moving_windows_still_fit() -> None:
    """FIMA's window is longer than a clip's span: the very last starts that move leave no room for it."""
    config = replace(FIMA, sampling=Sampling(moving=True))

    def change(index: int) -> NDArray[np.float32]:
        return np.arange(70, dtype=np.float32)

    (batch,) = batches(Ramps(4, frames=70), config, change=change)
    local = group_of(batch, "local").clips[..., 0, 0, 2]
    assert (local.long().diff(dim=-1) == 1).all()  # never looped
