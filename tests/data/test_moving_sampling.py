"""Where the two clips of a video start: motion-differential sampling and clips near each other."""

import numpy as np
import pytest

from kinevec.config import Clip, Sampling
from kinevec.data.sampling import clip_numbers, clip_scores, draw_starts, moving_starts
from kinevec.motion.statistics import color_differential
from reference import flow as oracle
from reference import golden

CLIP = Clip(frames=4, stride=3)  # spans 10 frames, window of 12
FAR, NEAR = Sampling(), Sampling(near=True)


@pytest.mark.parametrize("total", [1, 5, 9, 10, 11, 30, 31])
@pytest.mark.parametrize("clip", [CLIP, Clip(frames=2, stride=1), Clip(frames=3, stride=5)])
def test_scores_and_starts_equal_the_oracle(total: int, clip: Clip) -> None:
    change = np.random.default_rng(total).exponential(size=total).astype(np.float32)
    scores = clip_scores(change, clip)
    np.testing.assert_allclose(scores, oracle.clip_scores(change, clip.frames, clip.stride), rtol=1e-12)
    assert moving_starts(change, clip).tolist() == oracle.moving_starts(change, clip.frames, clip.stride)


def test_a_clip_counts_only_its_own_frames() -> None:
    change = np.zeros(12)
    change[[1, 4]] = 4  # between the frames of the clip at 0; two of that at 1
    assert clip_scores(change, CLIP).tolist() == [0, 2, 0]
    assert moving_starts(change, CLIP).tolist() == [1]


def test_the_end_of_a_video_competes() -> None:
    change = np.arange(40.0)
    assert moving_starts(change, CLIP).tolist() == list(range(16, 31))  # the last clip ends on the last frame


@pytest.mark.parametrize("total", [10, 17, 40])
def test_all_clips_may_be_drawn_where_none_is_above_the_median(total: int) -> None:
    assert moving_starts(np.full(total, 2.5), CLIP).tolist() == list(range(total - 9))


def test_a_looped_video_may_start_anywhere() -> None:
    assert moving_starts(np.array([0.0, 9.0, 0.0, 1.0]), CLIP).tolist() == [0, 1, 2, 3]


def test_scores_of_the_released_code_choose_the_same_clips() -> None:
    arrays = golden("mscl_motion_sampling_0")
    theirs = arrays["color_difference_mean"]
    ours = color_differential(arrays["flow"].transpose(0, 3, 1, 2))
    clip = Clip(frames=3, stride=2)
    # The released code rounds colours down to whole levels: each score is off by up to 0.15.
    scores = clip_scores(theirs, clip)
    np.testing.assert_allclose(clip_scores(ours, clip), scores, atol=0.15)
    clear = np.abs(scores - np.median(scores)) > 0.3
    chosen = [np.isin(np.arange(len(scores)), moving_starts(d, clip)) for d in (ours, theirs)]
    np.testing.assert_array_equal(chosen[0][clear], chosen[1][clear])
    assert clear.any()
    assert moving_starts(theirs, clip).tolist() == oracle.moving_starts(theirs, clip.frames, clip.stride)


@pytest.mark.parametrize("total", [3, 9, 10, 11, 110])
def test_independent_starts_are_those_recorded_results_were_made_with(total: int) -> None:
    """Two whole numbers, each below the number of starts, in this order: what the generator is asked for."""
    rng, same, again = (np.random.default_rng(7) for _ in range(3))
    for _ in range(50):
        starts = total if total < 10 else total - 9
        expected = (int(rng.integers(starts)), int(rng.integers(starts)))
        assert draw_starts(total, CLIP.span, FAR, same) == expected
        first, second = (
            clip_numbers(s, total, CLIP) for s in draw_starts(total, CLIP.span, Sampling(), again)
        )
        assert (first[0], second[0]) == expected
    assert rng.integers(2**40) == same.integers(2**40) == again.integers(2**40)


def draws(count: int, *args: object) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.array([draw_starts(*args[:3], rng, *args[3:]) for _ in range(count)])  # type: ignore[misc,call-arg]


def test_a_window_needs_more_room_than_a_clip() -> None:
    drawn = draws(2000, 14, CLIP.window, FAR)
    assert np.bincount(drawn[:, 0]).min() > 500
    assert np.unique(drawn).tolist() == [0, 1, 2]
    assert np.unique(draws(500, 14, CLIP.span, FAR)).tolist() == [0, 1, 2, 3, 4]


def test_both_starts_are_among_those_allowed() -> None:
    allowed = np.array([2, 3, 50, 90])
    far = draws(4000, 110, CLIP.span, FAR, allowed)
    for starts in far.T:
        counts = np.bincount(starts)[allowed]
        assert counts.sum() == 4000
        assert counts.min() > 900
    assert abs(np.corrcoef(far.T)[0, 1]) < 0.05
    near = draws(4000, 110, CLIP.span, NEAR, allowed)
    assert np.bincount(near[:, 0])[allowed].min() > 900
    assert {tuple(pair) for pair in near.tolist()} == {(2, 2), (2, 3), (3, 2), (3, 3), (50, 50), (90, 90)}


def test_the_second_clip_is_near_and_even_on_both_sides() -> None:
    near = draws(8000, 200, CLIP.span, NEAR)
    inner = near[(near[:, 0] >= 10) & (near[:, 0] <= 180)]
    distance = inner[:, 1] - inner[:, 0]
    counts = np.bincount(distance + 10)
    assert len(counts) == 21  # a span before to a span after
    assert counts.min() > 0.75 * len(inner) / 21
    assert near.min() == 0
    assert near.max() == 190


def test_near_reaches_over_a_window_and_asks_for_a_clip() -> None:
    """A clip spans 10 frames and stands for 12: it may end on the last frame, and be 12 from the other."""
    rng = np.random.default_rng(0)
    drawn = np.array([draw_starts(200, CLIP.span, NEAR, rng, reach=CLIP.window) for _ in range(8000)])
    assert drawn.max() == 190
    assert np.unique(drawn[:, 1] - drawn[:, 0]).tolist() == list(range(-12, 13))
    short = np.array([draw_starts(11, CLIP.span, NEAR, rng, reach=CLIP.window) for _ in range(200)])
    assert np.unique(short).tolist() == [0, 1]  # none wraps round


def test_only_starts_that_can_be_drawn_make_the_median() -> None:
    change = np.repeat([0.0, 8.0], [12, 10])  # the clip moves more the later it starts
    assert moving_starts(change, CLIP).tolist() == [9, 10, 11, 12]
    assert moving_starts(change, CLIP, CLIP.window).tolist() == [6, 7, 8, 9, 10]
    assert moving_starts(change[:11], CLIP, CLIP.window).tolist() == list(range(11))  # looped


def test_the_second_clip_snaps_to_the_nearest_start() -> None:
    """Of the 21 frames from 10 to 30, those up to 17 are nearest to 15 (17 as near to 19 as to 15)."""
    near = draws(8000, 200, CLIP.span, NEAR, np.array([15, 19, 20, 31]))
    after_20 = near[near[:, 0] == 20, 1]
    share = {start: float((after_20 == start).mean()) for start in (15, 19, 20, 31)}
    assert share[31] == 0  # nearest to 26 and more, but 11 frames away
    assert share[15] == pytest.approx(8 / 21, abs=0.03)
    assert share[19] == pytest.approx(2 / 21, abs=0.03)
    assert share[20] == pytest.approx(11 / 21, abs=0.03)


def test_starts_without_room_for_a_window_are_not_drawn() -> None:
    assert np.unique(draws(200, 14, CLIP.window, FAR, np.array([1, 2, 4]))).tolist() == [1, 2]
    assert np.unique(draws(200, 14, CLIP.window, FAR, np.array([3, 4]))).tolist() == [0, 1, 2]


@pytest.mark.parametrize("sampling", [FAR, NEAR])
@pytest.mark.parametrize("total", [1, 4, 9])
def test_both_clips_of_a_looped_video_start_anywhere(total: int, sampling: Sampling) -> None:
    drawn = draws(300, total, CLIP.span, sampling)
    assert np.unique(drawn[:, 0]).tolist() == np.unique(drawn[:, 1]).tolist() == list(range(total))
