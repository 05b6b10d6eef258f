"""Videos that show their frames' numbers: every number is read back exactly, and nothing else is taken for one."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from numbered import claimed, number_or_none, numbered_frame, numbered_video, packets, read_number, shown

SIZES = [(96, 64), (33, 47), (30, 30), (128, 171)]


@pytest.mark.parametrize("size", SIZES)
def test_numbers_are_read_back(size: tuple[int, int]) -> None:
    frames = [numbered_frame(number, size) for number in range(0, 4096, 13)]
    assert frames[0].shape == (size[1], size[0], 3)
    assert [read_number(frame) for frame in frames] == list(range(0, 4096, 13))


@pytest.mark.parametrize("scale", [0.5, 0.6, 1.7])
@pytest.mark.parametrize("how", [cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_CUBIC])
def test_numbers_survive_resizing(scale: float, how: int) -> None:
    for number in range(0, 4096, 101):
        frame = numbered_frame(number, (42, 60))
        assert read_number(cv2.resize(frame, None, fx=scale, fy=scale, interpolation=how)) == number


def test_turned_mirrored_and_other_pictures_have_no_number() -> None:
    for number in range(0, 4096, 101):
        frame = numbered_frame(number, (64, 64))
        turned = [np.rot90(picture, k) for picture in (frame, frame[::-1]) for k in range(4)]
        assert [number_or_none(picture) for picture in turned] == [number] + [None] * 7
    assert number_or_none(np.full((64, 64, 3), 128, np.uint8)) is None
    assert number_or_none(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)) is None
    mixed = (numbered_frame(5, (64, 64)) // 2) + (numbered_frame(6, (64, 64)) // 2)
    assert number_or_none(mixed) not in (5, 6)


def test_one_wrong_cell_is_noticed() -> None:
    for number in (0, 1, 777, 4095):
        for cell in range(25):
            frame = numbered_frame(number, (50, 50))
            row, column = 10 * (cell // 5), 10 * (cell % 5)
            frame[row : row + 10, column : column + 10] ^= 255
            assert number_or_none(frame) is None


def test_numbers_have_a_limit() -> None:
    with pytest.raises(ValueError, match="from 0 to 4095, not 4096"):
        numbered_frame(4096, (64, 64))


@pytest.mark.parametrize(
    ("name", "codec", "size"),
    [
        ("a.mp4", "libx264", (96, 64)),
        ("a.mp4", "mpeg4", (320, 240)),
        ("a.avi", "mpeg4", (96, 64)),
        ("a.mkv", "ffv1", (96, 64)),
        ("a.webm", "libvpx-vp9", (96, 64)),
    ],
)
def test_numbered_video_is_exact(tmp_path: Path, name: str, codec: str, size: tuple[int, int]) -> None:
    path = numbered_video(tmp_path / name, 40, size, codec=codec)
    assert shown(path) == list(range(40))
    assert claimed(path) == (40 if name in ("a.mp4", "a.avi") else 0)


def test_numbered_video_obeys(tmp_path: Path) -> None:
    path = numbered_video(tmp_path / "a.mp4", 40, fps=Fraction(30000, 1001), options={"g": "10", "crf": "35"})
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == Fraction(30000, 1001)
        assert [frame.key_frame for frame in container.decode(video=0)] == [i % 10 == 0 for i in range(40)]
    assert shown(path) == list(range(40))
    plain = packets(numbered_video(tmp_path / "b.mp4", 40))
    assert [packet.is_keyframe for packet in plain] == [True] + [False] * 39
    assert [packet.pts for packet in plain] != sorted(packet.pts for packet in plain)  # B-frames
    flat = packets(numbered_video(tmp_path / "c.mp4", 40, options={"bf": "0"}))
    assert [packet.pts for packet in flat] == sorted(packet.pts for packet in flat)
