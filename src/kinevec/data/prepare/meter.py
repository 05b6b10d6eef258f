"""Motion statistics of a video while its frames go by: optical flow in small pieces, then MDS scores."""

import numpy as np
from numpy.typing import NDArray

from kinevec.data.prepare.plan import LARGEST_SIDE
from kinevec.motion.flow import pair_flow
from kinevec.motion.frames import measurable
from kinevec.motion.statistics import color_differential, motion_energy
from kinevec.runtime import one_thread

PIECE = 32  # frames whose flow is held at once


class MotionMeter:
    """Scores how much each frame of a video moves, and how much its motion changes (MSCL, MDS).

    Flow goes from each frame to the next, in pixels per frame. Frames with a short side above 128 pixels are
    scaled down to it, and those below 32 up to it; else a pixel is one of the frames given. The last
    frame has the flow of the one before; the only frame of a video has none, and scores 0.

    Args:
        method: a key of `kinevec.motion.flow.METHODS`.
    """

    def __init__(self, method: str) -> None:
        self.method = method
        self._frames: list[NDArray[np.uint8]] = []  # those whose flow is still to be computed
        self._flow: list[NDArray[np.float32]] = []  # of the last pair, (1, 2, H, W)
        self._energy: list[NDArray[np.float32]] = []
        self._change: list[NDArray[np.float32]] = []

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Takes the next frame, (H, W, 3); all are of one size."""
        self._frames.append(measurable(frame, LARGEST_SIDE))
        if len(self._frames) > PIECE:
            self._measure()

    def finish(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Motion energy and change of motion of each of the F frames, (F,) each.

        See `motion_energy` and `color_differential` in `kinevec.motion.statistics`.
        """
        if len(self._frames) > 1:
            self._measure()
        energy = np.concatenate([*self._energy, np.zeros(0, np.float32)])
        last = energy[-1:] if len(energy) else np.zeros(1, np.float32)
        still = np.zeros(1 + bool(len(energy)), np.float32)  # the last flow is repeated: no change
        return np.concatenate([energy, last]), np.concatenate([*self._change, still])

    def _measure(self) -> None:
        images = np.stack(self._frames).transpose(0, 3, 1, 2)
        flow = pair_flow(images, [(t, t + 1) for t in range(len(images) - 1)], self.method)
        with one_thread():
            self._energy.append(motion_energy(flow))
            self._change.append(color_differential(np.concatenate([*self._flow, flow]))[:-1])
        self._flow = [flow[-1:]]
        self._frames = self._frames[-1:]
