"""Frame numbers of clips, against plain statements of what they must be."""

import numpy as np
import pytest

from kinevec.config import Clip, Sampling
from kinevec.data.sampling import clip_numbers, draw_starts, even_clips

CLIP = Clip(frames=4, stride=3)  # spans 10 frames


def test_clip_is_frames_at_a_stride() -> None:
    assert CLIP.span == 10
    assert clip_numbers(5, 100, CLIP) == [5, 8, 11, 14]


def two_clips(frames: int, clip: Clip, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Frame numbers of two clips of one video, as the loader draws them for MoCo."""
    first, second = draw_starts(frames, clip.span, Sampling(), rng)
    return clip_numbers(first, frames, clip), clip_numbers(second, frames, clip)


def test_short_videos_loop() -> None:
    assert clip_numbers(0, 5, CLIP) == [0, 3, 1, 4]
    assert clip_numbers(0, 1, CLIP) == [0, 0, 0, 0]


def test_uniform_clips_use_every_start_equally_and_fit() -> None:
    rng = np.random.default_rng(0)
    starts = []
    for _ in range(4000):
        numbers = two_clips(14, CLIP, rng)[0]
        assert np.diff(numbers).tolist() == [3, 3, 3]
        starts.append(numbers[0])
    counts = np.bincount(starts)
    assert len(counts) == 5  # 0 to 4: the last clip ends on the last frame, 13
    assert counts.min() > 700


def test_clips_of_a_looped_video_start_anywhere() -> None:
    """Else both clips of a short video would be the same frames."""
    rng = np.random.default_rng(2)
    starts = {two_clips(6, CLIP, rng)[0][0] for _ in range(200)}
    assert starts == set(range(6))


def test_two_clips_are_independent() -> None:
    rng = np.random.default_rng(1)
    starts = np.array([[a[0], b[0]] for a, b in (two_clips(110, CLIP, rng) for _ in range(4000))])
    assert abs(np.corrcoef(starts.T)[0, 1]) < 0.05
    assert starts.min() == 0
    assert starts.max() == 100


@pytest.mark.parametrize(
    ("frames", "starts"), [(10, [0, 0, 0]), (110, [0, 50, 100]), (15, [0, 2, 5]), (3, [0, 0, 0])]
)
def test_even_clips_reach_from_start_to_end(frames: int, starts: list[int]) -> None:
    clips = even_clips(frames, CLIP, 3)
    assert [clip[0] for clip in clips] == starts
    assert all(max(clip) < frames for clip in clips)
