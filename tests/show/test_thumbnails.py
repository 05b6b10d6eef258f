"""Thumbnails: the right frames, in real time, upright, and small."""

import base64
import io
import json
import re
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from faults import (
    VARIABLE_TIMES,
    anamorphic,
    corrupt_middle,
    odd_size,
    one_frame,
    rotated,
    variable_frame_rate,
    zero_byte,
)
from kinevec.errors import VideoError
from kinevec.show import thumbnails as module
from kinevec.show.thumbnails import Thumbnail, Videos, thumbnail
from numbered import number_or_none, numbered_video


def frames(made: Thumbnail) -> list[tuple[float, int | None]]:
    """Times and numbers of the frames of a thumbnail, and at last the time when it ends."""
    with av.open(io.BytesIO(made.video)) as container:
        (stream,) = container.streams
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"  # the one that every browser plays
        shown = list(container.decode(video=0))
        assert {(frame.width, frame.height) for frame in shown} == {(made.width, made.height)}
        found = [(float(frame.time), number_or_none(frame.to_ndarray(format="rgb24"))) for frame in shown]
        return [*found, (float(stream.duration * stream.time_base), None)]


def poster(made: Thumbnail) -> int | None:
    picture = cv2.imdecode(np.frombuffer(made.poster, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (made.height, made.width, 3)
    return number_or_none(picture[..., ::-1])


@pytest.mark.parametrize(
    ("fps", "count", "numbers"),
    [
        (16, 20, range(20)),
        (25, 30, range(0, 30, 2)),
        (25, 29, range(0, 29, 2)),
        (30, 300, range(105, 195, 2)),
        (Fraction(30_000, 1001), 300, range(105, 195, 2)),
        (48, 300, range(79, 223, 3)),
        (50, 40, range(1, 40, 4)),
        (8, 100, range(38, 62)),
    ],
)
def test_the_middle_three_seconds_at_real_speed(
    tmp_path: Path, fps: int | Fraction, count: int, numbers: range
) -> None:
    made = thumbnail(numbered_video(tmp_path / "v.mp4", count, (160, 120), fps))
    shown = frames(made)
    assert [number for _, number in shown[:-1]] == list(numbers)
    expected = [i * numbers.step / float(fps) for i in range(len(numbers) + 1)]
    np.testing.assert_allclose([time for time, _ in shown], expected, atol=1e-4)
    assert poster(made) == numbers[len(numbers) // 2]


def test_varying_times_are_kept(tmp_path: Path) -> None:
    shown = frames(thumbnail(variable_frame_rate(tmp_path / "v.mp4")))
    assert [number for _, number in shown[:-1]] == list(range(len(VARIABLE_TIMES)))  # 11 a second on average
    np.testing.assert_allclose([time for time, _ in shown[:-1]], np.array(VARIABLE_TIMES) / 1000, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "small"),
    [
        ((320, 240), (150, 112)),
        ((240, 320), (112, 150)),
        ((96, 64), (96, 64)),
        ((600, 100), (224, 38)),
    ],
)
def test_sizes_are_even_and_keep_the_shape(
    tmp_path: Path, size: tuple[int, int], small: tuple[int, int]
) -> None:
    made = thumbnail(numbered_video(tmp_path / "v.mp4", 4, size))
    assert (made.width, made.height) == small
    assert frames(made)[0][1] == 0


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turned_videos_stand_upright(tmp_path: Path, degrees: int) -> None:
    made = thumbnail(rotated(tmp_path / "v.mp4", degrees))
    assert (made.width, made.height) == (96, 64)
    assert frames(made)[0][1] == 0


def test_odd_sizes_become_even(tmp_path: Path) -> None:
    made = thumbnail(odd_size(tmp_path / "v.mp4", (33, 47)))
    assert (made.width, made.height) == (32, 48)
    assert frames(made)[0][1] == 0


def test_pixels_that_are_not_square_are_made_so(tmp_path: Path) -> None:
    made = thumbnail(anamorphic(tmp_path / "v.mp4", (96, 64), Fraction(4, 3)))
    assert (made.width, made.height) == (128, 64)


@pytest.mark.parametrize(("seconds", "count", "ends"), [(10, 5, 3), (3600, 2, 3)])
def test_time_lapse_does_not_rest_for_hours(tmp_path: Path, seconds: int, count: int, ends: float) -> None:
    made = thumbnail(numbered_video(tmp_path / "v.mp4", count, (64, 64), Fraction(1, seconds)))
    assert frames(made) == [(0, (count - 1) // 2), (ends, None)]


def test_a_single_frame_stands_for_a_second(tmp_path: Path) -> None:
    assert frames(thumbnail(one_frame(tmp_path / "v.mp4"))) == [(0, 0), (1, None)]


def test_even_noise_is_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for _ in range(75):
            picture = rng.integers(0, 256, (120, 160, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    made = thumbnail(tmp_path / "v.mp4")
    assert len(made.video) < 15_000
    assert len(made.poster) < 6_000


def test_bad_files_raise_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="empty file"):
        thumbnail(zero_byte(tmp_path / "v.mp4"))


def test_colours_stay(tmp_path: Path) -> None:
    red = np.full((64, 64, 3), (200, 40, 40), np.uint8)
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
        container.mux(stream.encode(None))
    made = thumbnail(tmp_path / "v.mp4")
    with av.open(io.BytesIO(made.video)) as container:
        moving = next(container.decode(video=0)).to_ndarray(format="rgb24")
    still = cv2.imdecode(np.frombuffer(made.poster, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_allclose(moving, red, atol=6)
    np.testing.assert_allclose(still, red, atol=6)


def test_a_page_holds_each_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = numbered_video(tmp_path / "one.mp4", 3, (64, 64))
    two = numbered_video(tmp_path / "two.mp4", 5, (96, 64))
    bad, cut = zero_byte(tmp_path / "bad.mp4"), corrupt_middle(tmp_path / "cut.mp4")
    opened: list[Path] = []

    def watched(path: Path) -> Thumbnail:
        opened.append(path)
        return thumbnail(path)

    monkeypatch.setattr(module, "thumbnail", watched)
    videos = Videos(iter([two, bad, one, two, cut, one]))
    assert sorted(opened) == sorted([two, bad, one, cut])
    contents = [base64.b64decode(text) for text in json.loads(videos.contents())]
    assert contents == [thumbnail(two).video, thumbnail(one).video]
    rules = re.findall(
        r"\.v(\d+)\{background-image:url\(data:image/jpeg;base64,([A-Za-z0-9+/=]+)\)\}\n", videos.posters()
    )
    assert [(int(i), base64.b64decode(text)) for i, text in rules] == [
        (0, thumbnail(two).poster),
        (1, thumbnail(one).poster),
    ]
    assert 'class="moving v0" data-video="0"' in videos.element(two, "a")
    assert 'class="moving v1" data-video="1"' in videos.element(one, "a")
    assert 'aria-label="video &lt;a&gt;"' in videos.element(one, "<a>")
    note = videos.element(bad, "<b>")
    assert ">empty file (0 bytes)</div>" in note
    assert 'aria-label="&lt;b&gt; cannot be shown: empty file (0 bytes)"' in note
    assert "damaged" in videos.element(cut, "c")
    assert videos.shape == 1.25  # between 64 × 64 and 96 × 64


def test_a_page_without_videos(tmp_path: Path) -> None:
    videos = Videos([])
    assert (videos.contents(), videos.posters(), videos.shape) == ("[]", "", 1.0)
