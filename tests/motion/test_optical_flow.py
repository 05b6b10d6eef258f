import math
import pickle
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import torch

from kinevec.errors import ConfigError, UsageError
from kinevec.motion import flow as flow_module
from kinevec.motion.flow import END_POINT_ERROR, METHODS, optical_flow, pair_flow
from reference.textures import Motion, moving_texture

SIZE = (112, 112)
MOTIONS = {
    "shift": Motion(shift=(3.2, -2.4)),
    "small shift": Motion(shift=(-0.5, 0.5)),
    "turn": Motion(turn=math.radians(3)),
    "turn back": Motion(turn=-math.radians(3)),
    "zoom": Motion(growth=1.04),
    "shrink": Motion(growth=1 / 1.04),
    "still": Motion(),
}


def skip_where_missing(method: str) -> None:
    """TV-L1 is in OpenCV's contrib build only."""
    if method == "tvl1" and not hasattr(cv2, "optflow"):
        pytest.skip("OpenCV lacks TV-L1")


def end_point_error(computed: np.ndarray, true: np.ndarray) -> float:
    """Mean over pixels, of the worst frame."""
    return float(np.hypot(*(computed - true).transpose(1, 0, 2, 3)).mean(axis=(1, 2)).max())


@pytest.mark.parametrize("method", END_POINT_ERROR)
@pytest.mark.parametrize("name", MOTIONS)
def test_keeps_its_stated_end_point_error(method, name):
    skip_where_missing(method)
    frames, true = moving_texture(MOTIONS[name], frames=2, size=SIZE, gap=1)
    flow = optical_flow(frames, 1, method)
    assert flow.shape == (1, 2, *SIZE)
    assert flow.dtype == np.float32
    assert end_point_error(flow, true) < END_POINT_ERROR[method]


def test_every_method_states_its_error():
    assert set(METHODS) == set(END_POINT_ERROR)


@pytest.mark.parametrize(("method", "iterations", "refinements"), [("dis", 16, 5), ("dis-unrefined", 12, 0)])
def test_dis_has_the_settings_that_were_measured(method, iterations, refinements):
    # Finer scales or more work would pass every bound on the error and only cost time.
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(1)
    dis.setPatchSize(8)
    dis.setPatchStride(4)
    dis.setGradientDescentIterations(iterations)
    dis.setVariationalRefinementIterations(refinements)
    frames, _ = moving_texture(MOTIONS["zoom"], frames=2, size=SIZE, gap=1)
    gray = [cv2.cvtColor(np.ascontiguousarray(f.transpose(1, 2, 0)), cv2.COLOR_RGB2GRAY) for f in frames]
    assert np.array_equal(optical_flow(frames, 1, method)[0].transpose(1, 2, 0), dis.calc(*gray, None))


def test_spans_the_gap():
    frames, true = moving_texture(
        Motion(shift=(1.5, -0.7), turn=math.radians(0.5)), frames=5, size=(80, 112), gap=2
    )
    flow = optical_flow(frames, 2)
    assert flow.shape == (3, 2, 80, 112)
    assert end_point_error(flow, true) < END_POINT_ERROR["dis"]


def test_pairs_are_taken_as_asked():
    frames, _ = moving_texture(Motion(shift=(2.0, 1.0)), frames=4, size=(48, 64), gap=1)
    flow = pair_flow(frames, [(0, 2), (3, 1)])
    assert np.array_equal(flow[:1], optical_flow(frames[[0, 2]], 1))
    assert np.array_equal(flow[1:], optical_flow(frames[[3, 1]], 1))
    assert flow[0, 0].mean() == pytest.approx(4, abs=0.3)
    assert flow[1, 0].mean() == pytest.approx(-4, abs=0.3)


def test_tensors_and_views_give_the_same():
    frames, _ = moving_texture(Motion(shift=(2.0, 0.0)), frames=2, size=(48, 64), gap=1)
    expected = optical_flow(frames, 1)
    assert np.array_equal(optical_flow(torch.from_numpy(frames), 1), expected)
    strided = np.ascontiguousarray(frames.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.array_equal(optical_flow(strided, 1), expected)


def test_sees_luminance_of_red_green_blue():
    right, _ = moving_texture(Motion(shift=(2.0, 0.0)), frames=2, size=(64, 64), gap=1)
    left, _ = moving_texture(Motion(shift=(-2.0, 0.0)), frames=2, size=(64, 64), gap=1, seed=1)
    frames = np.zeros_like(right)
    frames[:, 0], frames[:, 2] = right[:, 0], left[:, 2]  # red weighs 0.30, blue 0.11
    assert np.median(optical_flow(frames, 1)[0, 0]) > 1


@pytest.mark.parametrize("method", END_POINT_ERROR)
def test_does_not_depend_on_what_came_before(method):
    """DIS adapts its scales to small frames, and would keep them."""
    skip_where_missing(method)
    frames, _ = moving_texture(Motion(shift=(3.0, 2.0), turn=0.03), frames=2, size=SIZE, gap=1)
    first = optical_flow(frames, 1, method)
    optical_flow(frames[:, :, :32, :32], 1, method)
    assert np.array_equal(optical_flow(frames, 1, method), first)


def test_threads_do_not_disturb_each_other():
    clips = [
        moving_texture(Motion(shift=(s, 1.0)), frames=3, size=(64, 64), gap=1, seed=s)[0] for s in range(4)
    ]
    alone = [optical_flow(clip, 1) for clip in clips]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda clip: optical_flow(clip, 1), clips * 4))
    assert all(np.array_equal(a, b) for a, b in zip(alone * 4, together, strict=True))


@pytest.mark.parametrize("method", END_POINT_ERROR)
@pytest.mark.parametrize("size", [(32, 32), (32, 190), (190, 33)])
def test_small_and_long_frames_are_finite(method, size):
    skip_where_missing(method)
    frames, _ = moving_texture(Motion(shift=(1.0, 1.0)), frames=2, size=size, gap=1)
    assert np.isfinite(optical_flow(frames, 1, method)).all()


def test_too_small_frames_are_refused():
    with pytest.raises(UsageError, match="at least 32×32 pixels, got 31×64"):
        optical_flow(np.zeros((2, 3, 31, 64), np.uint8), 1)


def test_an_unknown_method_names_the_nearest():
    with pytest.raises(ConfigError, match="'dis_fast'; did you mean dis-fast"):
        optical_flow(np.zeros((2, 3, 32, 32), np.uint8), 1, "dis_fast")
    with pytest.raises(ConfigError, match=r"did you mean dis or .* or tvl1\?"):
        optical_flow(np.zeros((2, 3, 32, 32), np.uint8), 1, "zzz")


def test_tvl1_says_what_to_install(monkeypatch):
    monkeypatch.delattr(cv2, "optflow", raising=False)
    with pytest.raises(UsageError, match="opencv-contrib-python-headless"):
        optical_flow(np.zeros((2, 3, 32, 32), np.uint8), 1, "tvl1")


def test_tvl1_is_used_where_opencv_has_it(monkeypatch):
    class Contrib:
        @staticmethod
        def DualTVL1OpticalFlow_create():
            return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    monkeypatch.setattr(cv2, "optflow", Contrib, raising=False)
    frames, _ = moving_texture(Motion(shift=(2.0, 0.0)), frames=2, size=(48, 64), gap=1)
    assert np.array_equal(optical_flow(frames, 1, "tvl1"), optical_flow(frames, 1, "dis-medium"))


def test_the_module_holds_nothing_that_cannot_be_pickled():
    pickle.dumps((optical_flow, pair_flow, END_POINT_ERROR, flow_module.SMALLEST_SIDE))


@pytest.mark.parametrize("gap", [0, -1, 2, 3])
def test_a_gap_without_pairs_is_refused(gap):
    with pytest.raises(ValueError, match=f"a gap of {gap} .* got 2 frames"):
        optical_flow(np.zeros((2, 3, 32, 32), np.uint8), gap)


@pytest.mark.parametrize("frames", [np.zeros((2, 32, 32, 3), np.uint8), np.zeros((2, 3, 32, 32), np.float32)])
def test_refuses_what_is_not_frames(frames):
    with pytest.raises(ValueError, match=r"\(T, 3, H, W\) uint8"):
        optical_flow(frames, 1)
