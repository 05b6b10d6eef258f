"""Flow computed once for a run is that of every clip, to half a step, whoever reads it."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kinevec.config import Flow
from kinevec.data.decode import Clip
from kinevec.errors import DataError, OutputError, VideoError, WorkError
from kinevec.motion import frames as frames_module
from kinevec.motion.flow import optical_flow
from kinevec.motion.frames import clip_flow
from kinevec.motion.statistics import color_differential
from kinevec.motion.store import FlowStore
from reference.textures import Motion, moving_texture

FLOW = Flow(method="dis-fast", gap=3, short_side=40)
NAMES = ["a.mp4", "b.mp4", "one.mp4"]


class Videos:
    """Videos in memory; those of `broken` do not decode, and that of `deadly` ends its process."""

    def __init__(
        self, *videos: NDArray[np.uint8], broken: tuple[int, ...] = (), deadly: int | None = None
    ) -> None:
        self.videos = videos
        self.broken = broken
        self.deadly = deadly

    def __len__(self) -> int:
        return len(self.videos)

    def frames(self, index: int) -> int:
        return len(self.videos[index])

    def read(self, index: int, numbers: Sequence[int]) -> Clip:
        if index == self.deadly:
            import os

            os._exit(9)
        order = list(numbers)
        if index in self.broken and max(order) > 3:
            raise VideoError(NAMES[index], "damaged: frame 4 does not decode")
        return Clip(self.videos[index][order], tuple(order), np.array(order) / 25)


def texture(frames: int, size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    motion = Motion(shift=(0.9, -0.4), turn=0.02)
    return np.ascontiguousarray(moving_texture(motion, frames, size, 1, seed)[0].transpose(0, 2, 3, 1))


@pytest.fixture(scope="module")
def videos() -> tuple[NDArray[np.uint8], ...]:
    """Of 11, 2 and 1 frames."""
    return texture(11, (48, 60)), texture(2, (40, 33), seed=1), texture(1, (40, 44), seed=2)


def build(source: Videos, path: Path, flow: Flow = FLOW, **options: object) -> FlowStore:
    return FlowStore.build(source, NAMES, path, flow, **options)  # type: ignore[arg-type]


def test_reads_the_flow_of_any_frames(videos: tuple[NDArray[np.uint8], ...], tmp_path: Path) -> None:
    source = Videos(*videos)
    seen: list[tuple[int, int]] = []
    path = tmp_path / "flow.raw"
    state = torch.get_rng_state()
    store = build(source, path, progress=lambda done, total: seen.append((done, total)))
    assert torch.equal(torch.get_rng_state(), state)  # nobody's random numbers were used up
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert len(store) == 3
    assert store.rejected == ()
    for reader in (store, pickle.loads(pickle.dumps(store))):
        for index, numbers in enumerate([[10, 0, 7, 7, 8, 9], [1, 0], [0, 0]]):
            flow = reader.read(index, numbers)
            exact = clip_flow(source, index, numbers, FLOW)
            assert flow.dtype == np.float32
            assert flow.shape == exact.shape
            largest = np.abs(exact).max((1, 2, 3), keepdims=True)
            assert (np.abs(flow - exact) <= largest / 254 * (1 + 1e-5)).all()
    assert np.abs(store.read(0, [0])).max() > 1  # there is something to read
    sizes = [video.shape[1:3] for video in videos]
    assert path.stat().st_size == FlowStore.plan([11, 2, 1], sizes, FLOW)
    assert path.stat().st_size == sum(
        n * (2 * h * w + 8) for n, h, w in ((8, 40, 50), (1, 40, 33), (1, 40, 44))
    )


def test_is_not_read_before_it_is_asked_for(videos: tuple[NDArray[np.uint8], ...], tmp_path: Path) -> None:
    store = build(Videos(*videos), tmp_path / "flow.raw")
    store.read(0, [0])
    assert len(pickle.dumps(store)) < 2000  # the map stays here


@pytest.mark.parametrize("piece", [2, 100])
def test_change_is_that_of_the_whole_flow(
    piece: int, videos: tuple[NDArray[np.uint8], ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames_module, "_PIECE", piece)
    monkeypatch.setattr(frames_module, "_BUDGET", 0)
    store = build(
        Videos(*videos), tmp_path / "flow.raw", Flow(method="dis-fast", gap=3, short_side=48), scores=True
    )
    flow = optical_flow(videos[0].transpose(0, 3, 1, 2), 3, "dis-fast")
    whole = np.concatenate([flow, flow[-1:], flow[-1:], flow[-1:]])
    known = color_differential(whole)[:-4]  # from each field to the next
    np.testing.assert_allclose(store.change(0)[:-4], known, rtol=1e-5)
    assert (
        store.change(0)[-4:].tolist() == [store.change(0)[-5]] * 4
    )  # the end is not banned from being sampled
    assert known.min() > 0
    assert store.change(1).tolist() == [0, 0]
    assert store.change(2).tolist() == [0]


def test_change_is_measured_only_when_asked_for(
    videos: tuple[NDArray[np.uint8], ...], tmp_path: Path
) -> None:
    store = build(Videos(*videos), tmp_path / "flow.raw")
    with pytest.raises(ValueError, match="build with scores=True"):
        store.change(0)


def test_processes_make_no_difference(videos: tuple[NDArray[np.uint8], ...], tmp_path: Path) -> None:
    one = build(Videos(*videos), tmp_path / "one.raw", scores=True)
    two = build(Videos(*videos), tmp_path / "two.raw", scores=True, workers=2)
    assert one.path.read_bytes() == two.path.read_bytes()
    np.testing.assert_array_equal(one.sizes, two.sizes)


def test_a_video_that_breaks_is_reported_and_keeps_its_place(
    videos: tuple[NDArray[np.uint8], ...], tmp_path: Path
) -> None:
    long = texture(12, (40, 40), seed=3)
    store = build(Videos(long, videos[0], videos[1], broken=(0,)), tmp_path / "flow.raw")
    assert [(item.name, item.reason) for item in store.rejected] == [
        ("a.mp4", "damaged: frame 4 does not decode")
    ]
    for read in (store.read, lambda index, _: store.change(index)):
        with pytest.raises(VideoError, match=r"a\.mp4: damaged: frame 4"):
            read(0, [0])
    whole = build(Videos(*videos), tmp_path / "whole.raw")
    np.testing.assert_array_equal(store.read(1, [0, 5]), whole.read(0, [0, 5]))


def test_no_video_at_all(videos: tuple[NDArray[np.uint8], ...], tmp_path: Path) -> None:
    long = texture(12, (40, 40))
    with pytest.raises(DataError, match=r"none of 2 videos can be computed; damaged: frame 4"):
        build(Videos(long, long, broken=(0, 1)), tmp_path / "flow.raw")
    assert list(tmp_path.iterdir()) == []


def test_full_disk(videos: tuple[NDArray[np.uint8], ...], tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    link = tmp_path / "flow.raw"
    link.symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"flow of 3 videos .* No space left on device; free .*short_side"):
        build(Videos(*videos), link)
    assert not link.is_symlink()


def test_a_process_that_dies_is_an_error(videos: tuple[NDArray[np.uint8], ...], tmp_path: Path) -> None:
    with pytest.raises(WorkError, match="a process that computes flow died"):
        build(Videos(*videos, deadly=1), tmp_path / "flow.raw", workers=2)
    assert list(tmp_path.iterdir()) == []
