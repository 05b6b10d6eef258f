"""Optical flow: classical methods behind one function."""

import difflib
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinevec.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

Frames = NDArray[np.uint8]  # (T, 3, H, W), red green blue
Flow = NDArray[np.float32]  # (P, 2, H, W), pixels
Pairs = Sequence[tuple[int, int]]  # (from frame, to frame)
GrayImage = NDArray[np.uint8]  # (H, W)
Method = Callable[[Frames, Pairs], Flow]  # frames of at least SMALLEST_SIDE; see `pair_flow`
GrayFlow = Callable[[GrayImage, GrayImage], Flow]  # → (H, W, 2)

SMALLEST_SIDE = 32  # pixels; OpenCV's DIS crashes or returns NaN on some frames below it

# Mean end-point error in pixels that a method stays below, on textured frames of 112×112 that shift by up to
# 4 pixels, turn by up to 3° or grow by up to 4 %.
END_POINT_ERROR = {
    "dis": 0.2,
    "dis-unrefined": 0.3,
    "dis-ultrafast": 0.7,
    "dis-fast": 0.5,
    "dis-medium": 0.2,
    "farneback": 0.25,
    "tvl1": 0.15,
}


def optical_flow(frames: "Frames | Tensor", gap: int, method: str | Method = "dis") -> Flow:
    """Compute the optical flow from each frame t to frame t + gap.

    On small motions of textured frames, the mean end-point error is below `END_POINT_ERROR[method]` pixels.
    Equal frames have zero flow, or nearly so.

    Args:
        frames: (T, 3, H, W) uint8, red green blue.
        gap: frames between source and target, at least 1.
        method: a key of `METHODS`, or a function that does what they do, such as `kinevec.motion.raft.raft`
            makes of a network's weights.

    Returns:
        (T − gap, 2, H, W) float32: u (to the right) and v (down) in pixels, from frame t to frame t + gap.

    Raises:
        ConfigError: there is no such method.
        UsageError: the frames are too small, OpenCV lacks the method, or it needs weights.
        ValueError: the frames have another shape or type, or the gap leaves no pair.
    """
    if not 1 <= gap < len(frames):
        raise ValueError(f"a gap of {gap} needs frames t and t + gap, got {len(frames)} frames")
    return pair_flow(frames, [(t, t + gap) for t in range(len(frames) - gap)], method)


def pair_flow(frames: "Frames | Tensor", pairs: Pairs, method: str | Method = "dis") -> Flow:
    """Compute the optical flow of chosen pairs of frames: what a strided clip needs, and no more.

    Args:
        frames: (T, 3, H, W) uint8, red green blue.
        pairs: P pairs of (source, target) positions in `frames`.
        method: as for `optical_flow`.

    Returns:
        (P, 2, H, W) float32: u (to the right) and v (down) in pixels, from source to target.

    Raises:
        As `optical_flow`.
    """
    images = np.asarray(frames)
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8:
        raise ValueError(f"frames are (T, 3, H, W) uint8, got {images.shape} {images.dtype}")
    compute = METHODS[check_method(method)] if isinstance(method, str) else method
    height, width = images.shape[2:]
    if min(height, width) < SMALLEST_SIDE:
        raise UsageError(
            f"optical flow needs frames of at least {SMALLEST_SIDE}×{SMALLEST_SIDE} pixels, got {height}×{width}. "
            "Use larger frames, or frame differences as the motion."
        )
    return compute(images, pairs)


def check_method(method: str) -> str:
    if method == "raft":
        raise UsageError(
            "the flow method 'raft' needs the weights of a network, which kinevec does not have: pass "
            "method=kinevec.motion.raft.raft(weights, device)"
        )
    if method not in METHODS:
        nearest = difflib.get_close_matches(method, METHODS, n=1) or sorted(METHODS)
        raise ConfigError(f"there is no flow method {method!r}; did you mean {' or '.join(nearest)}?")
    return method


def _on_gray(create: Callable[[], GrayFlow]) -> Method:
    """Make a flow method of one that compares two grey images.

    OpenCV's flow objects are created anew for each call, which takes microseconds: they cannot be pickled or
    shared by threads, and DIS keeps the scale it chose for one frame size when the next one comes.
    """

    def run(frames: Frames, pairs: Pairs) -> Flow:
        compare = create()
        used = {t for pair in pairs for t in pair}
        gray = {t: _gray(frames[t]) for t in used}
        flow = np.empty((len(pairs), 2, *frames.shape[2:]), dtype=np.float32)
        for p, (source, target) in enumerate(pairs):
            flow[p] = compare(gray[source], gray[target]).transpose(2, 0, 1)
        return flow

    return run


def _gray(frame: Frames) -> GrayImage:
    image = np.ascontiguousarray(frame.transpose(1, 2, 0))
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _dis(iterations: int, refinements: int) -> GrayFlow:
    """DIS down to half resolution, with 8-pixel patches every 4 pixels."""
    dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # Any: its stub forbids None
    dis.setFinestScale(1)
    dis.setPatchSize(8)
    dis.setPatchStride(4)
    dis.setGradientDescentIterations(iterations)
    dis.setVariationalRefinementIterations(refinements)
    return lambda source, target: dis.calc(source, target, None)


def _dis_preset(preset: int) -> GrayFlow:
    dis: Any = cv2.DISOpticalFlow.create(preset)
    return lambda source, target: dis.calc(source, target, None)


def _farneback() -> GrayFlow:
    compute: Any = cv2.calcOpticalFlowFarneback
    settings = {"pyr_scale": 0.5, "levels": 3, "winsize": 15, "iterations": 3, "poly_n": 5, "poly_sigma": 1.2}
    return lambda source, target: compute(source, target, None, flags=0, **settings)


def _tvl1() -> GrayFlow:
    contrib = getattr(cv2, "optflow", None)
    if contrib is None:
        raise UsageError(
            "the flow method 'tvl1' is in OpenCV's contrib build only: "
            "pip uninstall opencv-python-headless && pip install opencv-contrib-python-headless"
        )
    tvl1: Any = contrib.DualTVL1OpticalFlow_create()
    return lambda source, target: tvl1.calc(source, target, None)


# Slower is more accurate; see END_POINT_ERROR. A method takes RGB frames, so that a learned one fits too.
METHODS: dict[str, Method] = {
    "dis": _on_gray(partial(_dis, iterations=16, refinements=5)),
    "dis-unrefined": _on_gray(partial(_dis, iterations=12, refinements=0)),
    "dis-ultrafast": _on_gray(partial(_dis_preset, cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)),
    "dis-fast": _on_gray(partial(_dis_preset, cv2.DISOPTICAL_FLOW_PRESET_FAST)),
    "dis-medium": _on_gray(partial(_dis_preset, cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)),
    "farneback": _on_gray(_farneback),
    "tvl1": _on_gray(_tvl1),
}
