"""The makers of faulty files in `faults` make what they say, as PyAV sees it."""

import os
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.frame import PictureType

import faults
from faults import read_number
from numbered import claimed, decoded, number_or_none, packets, shown


def test_truncated_mp4(tmp_path: Path) -> None:
    path = faults.truncated_mp4(tmp_path / "a.mp4")
    assert claimed(path) == 60
    numbers = shown(path)
    assert 10 < len(numbers) < 50
    assert numbers == list(range(len(numbers)))
    with av.open(str(path)) as container, pytest.raises(av.error.InvalidDataError):
        list(container.decode(video=0))


@pytest.mark.parametrize("maker", [faults.no_moov, faults.zero_byte, faults.text_as_mp4])
def test_files_that_do_not_open(tmp_path: Path, maker: object) -> None:
    path = maker(tmp_path / "a.mp4")
    with pytest.raises(av.error.InvalidDataError):
        av.open(str(path))
    assert path.stat().st_size == 0 if maker is faults.zero_byte else path.stat().st_size > 500


def test_audio_only(tmp_path: Path) -> None:
    with av.open(str(faults.audio_only(tmp_path / "a.mp4"))) as container:
        assert not container.streams.video
        assert container.streams.audio[0].codec_context.name == "aac"
        assert sum(frame.samples for frame in container.decode(audio=0)) >= 16_000


def test_one_frame(tmp_path: Path) -> None:
    path = faults.one_frame(tmp_path / "a.mp4")
    assert decoded(path) == [(0, 0)]
    assert claimed(path) == 1


def test_variable_frame_rate(tmp_path: Path) -> None:
    path = faults.variable_frame_rate(tmp_path / "a.mp4")
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert [round(frame.time * 1000) for frame in frames] == list(faults.VARIABLE_TIMES)
    assert shown(path) == list(range(len(frames)))


@pytest.mark.parametrize(("degrees", "given"), [(90, 90), (180, -180), (270, -90)])
def test_rotated(tmp_path: Path, degrees: int, given: int) -> None:
    path = faults.rotated(tmp_path / "a.mp4", degrees, (96, 64))
    assert shown(path) == [None] * 8
    with av.open(str(path)) as container:
        for i, frame in enumerate(container.decode(video=0)):
            assert frame.rotation == given
            upright = np.rot90(frame.to_ndarray(format="rgb24"), given // 90)
            assert upright.shape == (64, 96, 3)
            assert read_number(upright) == i
    capture = cv2.VideoCapture(str(path))  # turns by itself: the sense of the angle, from another hand
    assert [read_number(capture.read()[1]) for _ in range(8)] == list(range(8))


def test_odd_size(tmp_path: Path) -> None:
    path = faults.odd_size(tmp_path / "a.mp4")
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height, frame.format.name) == (33, 47, "yuv420p")
    assert shown(path) == list(range(8))


def test_anamorphic(tmp_path: Path) -> None:
    path = faults.anamorphic(tmp_path / "a.mp4")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.sample_aspect_ratio) == (96, 64, Fraction(4, 3))
    assert shown(path) == list(range(8))


def test_wrong_extension(tmp_path: Path) -> None:
    path = faults.wrong_extension(tmp_path / "a.mp4")
    with av.open(str(path)) as container:
        assert "matroska" in container.format.name
    assert shown(path) == list(range(30))
    assert claimed(path) == 0


def test_negative_start(tmp_path: Path) -> None:
    path = faults.negative_start(tmp_path / "a.mp4")
    assert claimed(path) == 30
    found = packets(path)
    assert len(found) == 30
    assert sorted(packet.pts for packet in found)[:6] == [-2560, -2048, -1536, -1024, -512, 0]
    assert [packet.is_discard for packet in found] == [packet.pts < 0 for packet in found]
    assert any(packet.dts < 0 <= packet.pts for packet in found)
    assert decoded(path) == [(5 + i, 512 * i) for i in range(25)]


def test_lying_frame_count(tmp_path: Path) -> None:
    path = faults.lying_frame_count(tmp_path / "a.avi")
    assert claimed(path) == 100
    assert shown(path) == list(range(30))
    assert claimed(faults.lying_frame_count(tmp_path / "b.avi", claimed=7)) == 7


def test_corrupt_middle_of_an_mp4(tmp_path: Path) -> None:
    path = faults.corrupt_middle(tmp_path / "a.mp4")
    assert claimed(path) == len(packets(path)) == 60
    numbers, errors = [], 0
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            try:
                numbers += [number_or_none(frame.to_ndarray(format="rgb24")) for frame in packet.decode()]
            except av.error.InvalidDataError:
                errors += 1
    assert errors > 0
    assert numbers[:20] == list(range(20))
    assert numbers[-12:] == list(range(48, 60))
    assert len([number for number in numbers if number is not None]) < 60


def test_corrupt_middle_of_an_avi_is_silent(tmp_path: Path) -> None:
    path = faults.corrupt_middle(tmp_path / "a.avi")
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))  # raises nothing
    assert claimed(path) == 60
    assert len(frames) < 60
    assert decoded(path)[-1] == (59, len(frames) - 1)


def test_mpeg4_avi_with_bframes(tmp_path: Path) -> None:
    path = faults.mpeg4_avi_with_bframes(tmp_path / "a.avi")
    assert decoded(path) == [(i, i + 1) for i in range(30)]
    with av.open(str(path)) as container:
        assert container.streams.video[0].start_time == 0
        kinds = {PictureType(frame.pict_type) for frame in container.decode(video=0)}
    assert kinds == {PictureType.I, PictureType.P, PictureType.B}


@pytest.mark.parametrize("maker", [faults.packed_bframes_avi, faults.h264_avi_with_bframes])
def test_avi_with_wrong_times(tmp_path: Path, maker: object) -> None:
    path = maker(tmp_path / "a.avi")
    numbers, pts = zip(*decoded(path), strict=True)
    assert numbers == tuple(range(30))
    assert list(pts) != sorted(pts)
    assert claimed(path) == len(packets(path)) == 30
    assert list(tmp_path.iterdir()) == [path]


def test_packed_bframes_share_packets(tmp_path: Path) -> None:
    sizes = [packet.size for packet in packets(faults.packed_bframes_avi(tmp_path / "a.avi"))]
    contents = [bytes(packet) for packet in packets(tmp_path / "a.avi")]
    assert [content.count(b"\0\0\1\xb6") for content in contents[:8]] == [1, 2, 1, 1, 2, 1, 1, 2]
    assert sizes[3] == sizes[6] == 6
    capture = cv2.VideoCapture(str(tmp_path / "a.avi"))
    assert [read_number(capture.read()[1]) for _ in range(30)] == list(range(30))


def test_without_times(tmp_path: Path) -> None:
    path = faults.without_times(tmp_path / "a.mp4")
    assert decoded(path) == [(i, None) for i in range(30)]
    with av.open(str(path)) as container:
        assert container.duration is None


def test_unreadable(tmp_path: Path) -> None:
    path = faults.unreadable(tmp_path / "a.mp4")
    if path is None:
        pytest.skip("this user may read everything")
    with pytest.raises(av.error.PermissionError):
        av.open(str(path))


def test_symlink_loop(tmp_path: Path) -> None:
    folder = faults.symlink_loop(tmp_path / "videos")
    assert shown(folder / "again" / "again" / "real.mp4") == list(range(30))
    with pytest.raises(av.error.OSError, match="Too many levels"):
        av.open(str(folder / "self.mp4"))
    depth = [place for place, _, _ in os.walk(folder, followlinks=True)]
    assert len(depth) > 10
