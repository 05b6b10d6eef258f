"""Motion statistics are those of the whole video, however it is cut into pieces on the way."""

import numpy as np
import pytest
from numpy.typing import NDArray

from kinevec.data.prepare import meter
from kinevec.data.prepare.meter import MotionMeter
from kinevec.motion.flow import optical_flow
from kinevec.motion.statistics import color_differential, motion_energy


def moving(frames: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A bright disc that goes round on a textured ground, faster and faster: (T, H, W, 3)."""
    rng = np.random.default_rng(0)
    height, width = size
    ground = np.kron(rng.integers(0, 120, (height // 8 + 1, width // 8 + 1)), np.ones((8, 8)))[
        :height, :width
    ]
    y, x = np.mgrid[:height, :width]
    video = np.repeat(ground[None, ..., None], frames, axis=0).repeat(3, axis=3)
    for t in range(frames):
        angle = 0.004 * t * t
        cy, cx = height * (0.5 + 0.25 * np.sin(angle)), width * (0.5 + 0.25 * np.cos(angle))
        video[t, (y - cy) ** 2 + (x - cx) ** 2 < (min(size) / 8) ** 2] = 220
    return video.astype(np.uint8)


def measure(video: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    found = MotionMeter("dis")
    for frame in video:
        found.add(frame)
    return found.finish()


@pytest.mark.parametrize("frames", [2, 3, 7, 8, 9, 10, 15, 16, 17, 30])
def test_pieces_make_no_difference(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "PIECE", 7)
    video = moving(frames, (48, 64))
    flow = optical_flow(np.ascontiguousarray(video.transpose(0, 3, 1, 2)), 1)
    flow = np.concatenate([flow, flow[-1:]])  # the last frame has the flow of the one before
    energy, change = measure(video)
    assert energy.shape == change.shape == (frames,)
    assert energy.dtype == change.dtype == np.float32
    np.testing.assert_allclose(energy, motion_energy(flow), rtol=1e-5)
    np.testing.assert_allclose(change, color_differential(flow), rtol=1e-4, atol=1e-4)
    assert frames < 4 or (energy > 0).all()
    assert (change[-2:] == 0).all()


def test_a_single_frame_has_no_motion() -> None:
    energy, change = measure(moving(1, (48, 64)))
    assert (energy.tolist(), change.tolist()) == ([0], [0])


def test_a_still_has_nearly_none() -> None:
    energy, _ = measure(moving(1, (48, 64)).repeat(4, axis=0))
    assert 10 * energy.max() < measure(moving(30, (48, 64)))[0].mean()


@pytest.mark.parametrize(
    ("size", "used"), [((256, 320), (128, 160)), ((16, 24), (32, 48)), ((2, 8), (32, 128))]
)
def test_flow_is_computed_on_frames_of_a_sensible_size(
    size: tuple[int, int], used: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def watch(images: NDArray[np.uint8], pairs: list[tuple[int, int]], method: str) -> NDArray[np.float32]:
        seen.append((images.shape, pairs, method))
        return np.zeros((len(pairs), 2, *images.shape[2:]), np.float32)

    monkeypatch.setattr(meter, "pair_flow", watch)
    measure(moving(3, size))
    assert seen == [((3, 3, *used), [(0, 1), (1, 2)], "dis")]
