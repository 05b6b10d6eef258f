"""Films of parts of videos, files that were made once, and uploads."""

import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import numpy as np
import pytest

from kinevec.data.decode import VideoInfo, probe
from kinevec.errors import DataError, InputError, VideoError
from kinevec.search.page import media
from kinevec.search.page.cache import Cache
from kinevec.search.page.media import CLIP, PREVIEW, TICKS, Style, take
from kinevec.search.page.uploads import Uploads, is_container


def info(fps: float, frames: int, width: int = 640, height: int = 360) -> VideoInfo:
    return VideoInfo(Path("x.mp4"), width, height, np.arange(frames) / fps, None, (0,), "h264")


@pytest.mark.parametrize(
    ("fps", "part", "numbers"),
    [
        (10, (0.0, 1.0), list(range(10))),
        (10, (0.3, 0.6), [3, 4, 5]),
        (30, (1.0, 1.5), list(range(30, 45, 2))),  # 16 a second at most
        (10, (1.9, 9.0), [19]),
        (10, (0.34, 0.36), [3]),  # between two frames: the nearest
        (10, (5.0, 6.0), [19]),  # after the end: the last
    ],
)
def test_which_frames_a_film_shows(fps: float, part: tuple[float, float], numbers: list[int]) -> None:
    assert take(info(fps, 20 if fps == 10 else 100), *part, CLIP).numbers.tolist() == numbers


def test_a_film_is_bounded_and_keeps_time() -> None:
    style = Style(side=100, seconds=2.0, fps=5.0)
    chosen = take(info(50, 1000), 4.0, 19.0, style)
    assert chosen.numbers.tolist() == list(range(200, 300, 10))
    assert chosen.size == (56, 100)
    np.testing.assert_array_equal(chosen.ticks, np.arange(11) * TICKS // 5)
    assert take(info(50, 10, width=20, height=11), 0, 1, style).size == (10, 20)  # even, never enlarged
    assert take(info(0.001, 2), 0.0, 5000.0, Style(10, 9999.0, 5.0)).ticks[-1] <= (1000 + 2) * TICKS


def test_clips_and_previews_of_a_file(videos: Path, tmp_path: Path) -> None:
    path = next(videos.rglob("*.mp4"))
    media.make_clip(str(path), str(tmp_path / "a.mp4"), 0.25, 0.5)
    made = probe(tmp_path / "a.mp4")
    assert (made.frames, made.width, made.height) == (3, 48, 48)  # 24 a second: every second frame
    assert (tmp_path / "a.jpg").read_bytes()[:3] == b"\xff\xd8\xff"
    media.make_preview(str(path), str(tmp_path / "b.mp4"), 0.0)
    assert probe(tmp_path / "b.mp4").fps <= PREVIEW.fps
    about = media.measure(str(path))
    assert (about["frames"], about["width"]) == (16, 48)
    assert about["seconds"] == pytest.approx(16 / 24, abs=1e-3)


def test_a_video_that_is_too_large_is_refused(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MOST_PIXELS", 48 * 48 - 1)
    with pytest.raises(VideoError, match="too many"):
        media.measure(str(next(videos.rglob("*.mp4"))))


def test_each_file_is_made_once_however_many_ask(tmp_path: Path) -> None:
    cache, made = Cache(tmp_path), []

    def make(path: Path) -> None:
        made.append(path)
        time.sleep(0.05)
        path.write_bytes(b"film")

    threads = [threading.Thread(target=cache.get, args=("a", make)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert cache.get("a", make).read_bytes() == b"film"
    assert cache.get("b", make) != cache.get("a", make)
    assert len(made) == 2


def test_the_file_that_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=25)

    def make(path: Path) -> None:
        path.write_bytes(bytes(6))
        path.with_suffix(".jpg").write_bytes(bytes(4))

    a, b = cache.get("a", make), cache.get("b", make)
    assert cache.get("a", make) == a
    c = cache.get("c", make)
    assert [path.exists() for path in (a, b, c)] == [True, False, True]
    assert not b.with_suffix(".jpg").exists()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 20


def test_why_a_file_cannot_be_made_is_remembered(tmp_path: Path) -> None:
    cache, tried = Cache(tmp_path), []

    def fail(path: Path) -> None:
        tried.append(path)
        path.write_bytes(b"half")
        raise DataError("is broken")

    for _ in range(2):
        with pytest.raises(DataError, match="is broken"):
            cache.get("a", fail)
    assert len(tried) == 1
    assert not list(tmp_path.iterdir())


MP4 = b"\0\0\0\x18ftypmp42"


@pytest.mark.parametrize(
    ("head", "good"),
    [
        (MP4, True),
        (b"\x1a\x45\xdf\xa3....", True),
        (b"RIFF\0\0\0\0AVI LIST", True),
        (b"RIFF\0\0\0\0WAVEfmt ", False),
        (b"G" + bytes(187) + b"G" + bytes(200), True),
        (b"G" + bytes(300), False),
        (bytes(4) + b"G" + bytes(191) + b"G" + bytes(200), True),
        (b"#EXTM3U\nfile:///etc/passwd", False),
        (b"ffconcat version 1.0\nfile secret.mp4", False),
        (b"<?xml version='1.0'?><MPD>", False),
        (b"\x89PNG\r\n\x1a\n", False),
        (b"", False),
    ],
)
def test_what_a_file_is_shows_in_its_first_bytes(head: bytes, good: bool) -> None:
    assert is_container(head) is good


async def in_pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def test_uploads_are_bounded_and_leave_nothing(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path, limit=2**20, kept=2)
    for pieces, says in [
        ([MP4, bytes(2**20 - 11)], "larger than 1 MiB"),
        ([b"text"], "is no video"),
        ([], "is empty"),
    ]:
        with pytest.raises(InputError, match=says):
            anyio.run(uploads.receive, in_pieces(*pieces))
    assert not list(tmp_path.iterdir())
    kept = [uploads.keep(anyio.run(uploads.receive, in_pieces(MP4[:3], MP4[3:])), {}) for _ in range(2)]
    assert kept[0].path.read_bytes() == MP4
    assert uploads.get(kept[0].id) == kept[0]  # so the other one is the older now
    third = uploads.keep(anyio.run(uploads.receive, in_pieces(MP4)), {})
    assert {path.name for path in tmp_path.iterdir()} == {kept[0].id, third.id}
    for id in (kept[1].id, "", "../index.sqlite", str(tmp_path)):
        with pytest.raises(DataError, match="not kept any more"):
            uploads.get(id)
