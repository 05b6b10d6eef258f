"""Clips in seconds and the frames that show them: closed forms, and nearest frames by looking at all."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from faults import VARIABLE_TIMES, variable_frame_rate
from kinevec.config import Clip
from kinevec.data.decode import probe
from kinevec.errors import ConfigError
from kinevec.search.cut import cut, nearest
from kinevec.search.settings import Settings

CLIP = Clip(frames=8, stride=2, size=64)  # a window of 16 frames, a hop of 8
RATES = [Fraction(30), Fraction(30000, 1001), Fraction(24), Fraction(1, 3)]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("rounded", [0, 3], ids=["exact", "milliseconds"])
def test_by_default_clips_are_the_encoders_frames_every_half_clip(rate: Fraction, rounded: int) -> None:
    times = np.array([float(i / rate) for i in range(100)])
    found = cut(np.round(times, rounded) if rounded else times, CLIP, Settings())
    first = [*range(0, 88, 8), 84]  # the last one is flush with the end
    assert found.numbers.tolist() == [[start + 2 * t for t in range(8)] for start in first]
    np.testing.assert_allclose(found.starts, [float(start / rate) for start in first], atol=2e-3)
    np.testing.assert_allclose(found.ends - found.starts, float(16 / rate), atol=2e-3)


@pytest.mark.parametrize(("frames", "clips"), [(16, 1), (17, 1), (18, 1), (19, 2), (24, 2), (26, 2), (27, 3)])
def test_a_clip_more_where_a_quarter_of_a_hop_is_left(frames: int, clips: int) -> None:
    found = cut(np.arange(frames) / 25, CLIP, Settings())
    assert len(found) == clips
    assert found.numbers.max() <= frames - 1


def test_an_odd_window_keeps_whole_frames() -> None:
    found = cut(np.arange(40) / 25, Clip(frames=5, stride=3, size=64), Settings())
    assert found.numbers[:, 0].tolist() == [0, 7, 14, 21, 25]
    assert (np.diff(found.numbers) == 3).all()


@pytest.mark.parametrize("rate", [12, 25, 60])
def test_a_length_in_seconds_spreads_the_frames_over_it(rate: int) -> None:
    found = cut(np.arange(10 * rate) / rate, CLIP, Settings(length=2, hop=0.5))
    np.testing.assert_allclose(found.starts, np.arange(17) / 2)
    np.testing.assert_allclose(found.ends, found.starts + 2)
    wanted = (found.starts[:, None] + 0.25 * np.arange(8)) * rate
    assert np.abs(found.numbers - wanted).max() <= 0.5 + 1e-9


def test_half_a_length_is_the_hop() -> None:
    assert cut(np.arange(100) / 25, CLIP, Settings(length=1)).starts.tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3]


@pytest.mark.parametrize("frames", [1, 2, 5, 15])
def test_a_short_video_is_looped(frames: int) -> None:
    found = cut(np.arange(frames) / 25, CLIP, Settings())
    assert found.numbers.tolist() == [[2 * t % frames for t in range(8)]]
    assert (found.starts[0], found.ends[0]) == (0, pytest.approx(frames / 25))


def test_uneven_times(tmp_path: Path) -> None:
    times = probe(variable_frame_rate(tmp_path / "a.mp4")).times
    np.testing.assert_allclose(times, np.array(VARIABLE_TIMES) / 1000, atol=1e-6)
    found = cut(times, CLIP, Settings(length=0.4, hop=0.2))
    assert found.starts.tolist() == pytest.approx([0, 0.2, 0.4, 0.6, times[-1] * 12 / 11 - 0.4])
    for start, numbers in zip(found.starts, found.numbers, strict=True):
        for t, number in enumerate(numbers):
            distances = [abs(time - (start + t * 0.05)) for time in times]
            assert distances[number] == pytest.approx(min(distances), abs=1e-9)
    assert found.numbers[1].tolist() == [3, 4, 5, 5, 6, 7, 8, 8]  # 200 250 300 350 400 450 500 550 ms


def test_of_two_equally_near_frames_the_earlier() -> None:
    assert nearest(np.array([0, 1.0, 3]), np.array([0.5, 2, 2.1, -1, 9])).tolist() == [0, 1, 2, 0, 2]


@pytest.mark.parametrize(
    ("within", "starts"),
    [
        ((1.0, 4.0), [1, 1.5, 2]),  # three whole clips of 2 s
        ((1.0, 3.3), [1, 1.3]),  # and one that is flush with its end
        ((4.5, 5.0), [3.75]),  # shorter: the clip around it
        ((0.0, 0.5), [0]),  # moved into the video
        ((9.9, 10.0), [8]),
        ((7.0, 99.0), [7, 7.5, 8]),
    ],
)
def test_a_part(within: tuple[float, float], starts: list[float]) -> None:
    found = cut(np.arange(100) / 10, CLIP, Settings(length=2, hop=0.5), within)
    np.testing.assert_allclose(found.starts, starts, atol=1e-9)
    assert found.numbers[:, 0].tolist() == [int(np.ceil(10 * start - 0.5)) for start in starts]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"length": -1}, "length is -1"),
        ({"hop": float("nan")}, "hop is nan"),
        ({"length": 1, "hop": 2}, "not be ind"),
    ],
)
def test_settings_refuse_nonsense(values: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Settings(**values)  # type: ignore[arg-type]


def test_settings_say_how_they_differ() -> None:
    changed = Settings.changed(Settings(length=2), {"hop": 0.5, "length": None, "appearance": False})
    assert changed == Settings(length=2, hop=0.5, appearance=False)
    assert Settings(length=2).differences(changed) == ["hop: 0.0 → 0.5", "appearance: True → False"]
