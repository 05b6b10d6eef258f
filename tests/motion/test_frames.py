"""Which frames the flow of a frame is computed from, at which size, and with how little reading."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from kinevec.config import Flow
from kinevec.data.decode import Clip
from kinevec.motion import frames as module
from kinevec.motion.flow import optical_flow
from kinevec.motion.frames import (
    ComputedFlow,
    clip_flow,
    flow_fields,
    flow_pair,
    frames_flow,
    measurable,
    measurable_size,
    video_flow,
)
from reference import flow as oracle
from reference.textures import Motion, moving_texture


class Videos:
    """Videos in memory that remember what was read."""

    def __init__(self, *videos: NDArray[np.uint8]) -> None:
        self.videos = videos  # (F, H, W, 3) each
        self.asked: list[tuple[int, list[int]]] = []

    def __len__(self) -> int:
        return len(self.videos)

    def frames(self, index: int) -> int:
        return len(self.videos[index])

    def read(self, index: int, numbers: Sequence[int]) -> Clip:
        self.asked.append((index, list(numbers)))
        order = list(numbers)
        return Clip(self.videos[index][order], tuple(order), np.array(order) / 25)


def texture(frames: int, size: tuple[int, int] = (40, 56), seed: int = 0) -> NDArray[np.uint8]:
    """(F, H, W, 3), shifting and turning, so that every pair of frames differs."""
    motion = Motion(shift=(0.9, -0.4), turn=0.01)
    return np.ascontiguousarray(moving_texture(motion, frames, size, 1, seed)[0].transpose(0, 2, 3, 1))


@pytest.mark.parametrize("gap", [1, 2, 8])
@pytest.mark.parametrize("total", [1, 2, 3, 8, 9, 10, 20])
def test_pairs_equal_the_oracle(total: int, gap: int) -> None:
    pairs = [flow_pair(t, total, gap) for t in range(total)]
    assert pairs == [oracle.pair(t, total, gap) for t in range(total)]
    assert len(set(pairs)) == flow_fields(total, gap)


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((240, 320), 128, (128, 171)),
        ((320, 240), 128, (171, 128)),
        ((128, 171), 128, (128, 171)),
        ((100, 120), 128, (100, 120)),  # never up
        ((20, 30), 128, (32, 48)),  # but for what is too small
        ((128, 171), 64, (64, 86)),
        ((31, 31), 32, (32, 32)),
    ],
)
def test_size_that_flow_is_computed_on(
    size: tuple[int, int], short_side: int, expected: tuple[int, int]
) -> None:
    assert measurable_size(*size, short_side) == expected
    frame = np.full((*size, 3), (10, 200, 77), np.uint8)
    scaled = measurable(frame, short_side)
    assert scaled.shape == (*expected, 3)
    assert (scaled == [10, 200, 77]).all()
    assert (scaled is frame) == (size == expected)


def test_scaling_down_averages() -> None:
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::4] = 200
    assert (measurable(stripes, 32) == 50).all()


def test_flow_of_a_clip_is_that_of_its_pairs() -> None:
    source = Videos(texture(3, seed=1), texture(12))
    numbers = [2, 5, 11, 9, 2]
    flow = clip_flow(source, 1, numbers, Flow(gap=4))
    images = source.videos[1].transpose(0, 3, 1, 2)
    assert flow.shape == (5, 2, 40, 56)
    assert flow.dtype == np.float32
    for got, t in zip(flow, numbers, strict=True):
        start, end = oracle.pair(t, 12, 4)
        np.testing.assert_array_equal(got, optical_flow(images[[start, end]], 1)[0])
    assert source.asked == [(1, [2, 5, 6, 7, 9, 11])]  # one read, every frame once
    np.testing.assert_array_equal(ComputedFlow(source, Flow(gap=4)).read(1, numbers), flow)


def test_flow_is_in_pixels_of_the_scaled_frames() -> None:
    moving, true = moving_texture(Motion(shift=(4.0, -2.0)), 2, (128, 192), 1)
    flow = clip_flow(Videos(moving.transpose(0, 2, 3, 1)), 0, [0], Flow(gap=1, short_side=64))
    assert flow.shape == (1, 2, 64, 96)
    inner = flow[0, :, 8:-8, 8:-8]
    assert np.hypot(*(inner - true[:, :1, :1] / 2)).mean() < 0.2


def test_method_is_the_one_asked_for() -> None:
    source = Videos(texture(3))
    images = source.videos[0].transpose(0, 3, 1, 2)
    flow = clip_flow(source, 0, [0], Flow(gap=1, method="farneback"))
    np.testing.assert_array_equal(flow, optical_flow(images, 1, "farneback")[:1])


def test_a_pair_that_repeats_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def watch(images: NDArray[np.uint8], pairs: list[tuple[int, int]], method: str) -> NDArray[np.float32]:
        asked.append((len(images), pairs))
        return np.arange(len(pairs), dtype=np.float32)[:, None, None, None] + np.zeros(
            (1, 2, *images.shape[2:]), np.float32
        )

    monkeypatch.setattr(module, "pair_flow", watch)
    flow = frames_flow(texture(6), [(4, 5), (1, 3), (2, 2), (4, 5)], Flow())
    assert asked == [(4, [(0, 1), (2, 3)])]  # frames 1, 3, 4, 5
    assert flow[:, 0, 0, 0].tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize("size", [(40, 56), (20, 30)])
def test_a_single_frame_has_no_flow(size: tuple[int, int]) -> None:
    source = Videos(texture(1, size))
    for flow in (clip_flow(source, 0, [0, 0], Flow(gap=8)), *video_flow(source, 0, Flow(gap=8))):
        assert flow.shape[1:] == ((2, 40, 56) if size == (40, 56) else (2, 32, 48))
        assert not flow.any()


@pytest.mark.parametrize("piece", [1, 3, 4, 7, 100])
@pytest.mark.parametrize(("total", "gap"), [(2, 1), (9, 1), (9, 3), (9, 4), (9, 8), (9, 20)])
def test_flow_of_a_video_in_pieces_is_that_of_its_frames(
    total: int, gap: int, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PIECE", piece)
    monkeypatch.setattr(module, "_BUDGET", 0)
    source = Videos(texture(total, (33, 34)))
    pieces = list(video_flow(source, 0, Flow(gap=gap, method="dis-ultrafast")))
    fields = flow_fields(total, gap)
    np.testing.assert_array_equal(
        np.concatenate(pieces),
        clip_flow(source, 0, list(range(fields)), Flow(gap=gap, method="dis-ultrafast")),
    )
    assert max(map(len, pieces)) <= piece
    read = [number for _, numbers in source.asked[:-1] for number in numbers]
    assert read == list(range(total))  # each frame once, in order
