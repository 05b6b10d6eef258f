"""The vectors of a video: which frames each clip is made of, decoded once, in little memory."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from faults import truncated_mp4
from kinevec.config import Clip, Config
from kinevec.data.decode import VideoInfo
from kinevec.encoders import Loaded
from kinevec.errors import VideoError
from kinevec.evaluate.encode import ClipEncoder
from kinevec.evaluate.features import clips_of
from kinevec.search import embed
from kinevec.search.embed import count_clips, embed_video
from kinevec.search.settings import Settings
from numbered import numbered_video, read_number

PLAIN = Settings(appearance=False)


class Reader(ClipEncoder):
    """Says which number each frame shows, in place of features."""

    def __init__(self, clip: Clip) -> None:
        self.config = Config(clip=clip)
        self.sizes: list[int] = []

    def __call__(self, clips: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.sizes.append(len(clips))
        return np.array([[read_number(frame) for frame in clip] for clip in clips], np.float32)


@pytest.mark.parametrize("within", [None, (0.0, 99.0)], ids=["streamed", "sought"])
def test_clips_hold_the_frames_they_should(within: tuple[float, float] | None, tmp_path: Path) -> None:
    path = numbered_video(tmp_path / "a.mp4", 45, (64, 64))
    told: list[tuple[int, int]] = []
    found = embed_video(
        path, Settings(), Reader(Clip(4, 3, 64)), within=within, on_batch=lambda *now: told.append(now)
    )
    first = [*range(0, 31, 6), 33]
    assert found.full.tolist() == [[start + 3 * t for t in range(4)] for start in first]
    assert found.static is not None
    assert found.static.tolist() == [[start + 6] * 4 for start in first]  # the frame in the middle
    assert told == [(7, 7)]
    assert (found.frames, found.width, found.height, found.fps) == (45, 64, 64, pytest.approx(25))
    assert found.seconds == pytest.approx(45 / 25)


def test_short_and_still_videos_are_looped(tmp_path: Path) -> None:
    short = numbered_video(tmp_path / "a.mp4", 5, (64, 64))
    assert embed_video(short, PLAIN, Reader(Clip(4, 2, 64))).full.tolist() == [[0, 2, 4, 1]]
    still = numbered_video(tmp_path / "b.mp4", 1, (64, 64))
    assert embed_video(still, PLAIN, Reader(Clip(4, 2, 64))).full.tolist() == [[0, 0, 0, 0]]


def test_batches_are_bounded_and_counted(tmp_path: Path) -> None:
    path = numbered_video(tmp_path / "a.mp4", 150, (64, 64))
    encode = Reader(Clip(2, 2, 64))
    told: list[tuple[int, int]] = []
    found = embed_video(path, PLAIN, encode, on_batch=lambda *now: told.append(now))
    assert len(found) == 74 == count_clips(path, PLAIN, Clip(2, 2, 64))
    assert encode.sizes == [32, 32, 10]
    assert told == [(32, 74), (64, 74), (74, 74)]


def test_vectors_are_those_of_evaluation(loaded: Loaded, tmp_path: Path) -> None:
    path = numbered_video(tmp_path / "a.mp4", 24, (400, 300))  # larger than is decoded at full size
    encode = ClipEncoder(loaded.encoder, loaded.config, "cpu")
    found = embed_video(path, Settings(), encode)
    info = embed.probe(path)
    clips = clips_of(loaded.config, info, 18)  # starts 0, 1, …, 17, of which ours are every fourth
    assert found.full == pytest.approx(encode(clips)[[0, 4, 8, 12, 16]], rel=1e-4, abs=1e-5)
    still = np.repeat(clips[[0, 4, 8, 12, 16], 2:3], 4, axis=1)
    assert found.static == pytest.approx(encode(still), rel=1e-4, abs=1e-5)


def test_a_damaged_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="damaged"):
        embed_video(truncated_mp4(tmp_path / "a.mp4"), PLAIN, Reader(Clip(4, 2, 64)))


def test_one_that_just_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = numbered_video(tmp_path / "a.mp4", 40, (64, 64))
    whole = embed.iter_frames
    monkeypatch.setattr(
        embed, "iter_frames", lambda *a, **k: (f for f, _ in zip(whole(*a, **k), range(30), strict=False))
    )
    with pytest.raises(VideoError, match="damaged: 30 of 40 frames decode"):
        embed_video(path, PLAIN, Reader(Clip(4, 2, 64)))


def test_an_hour_needs_no_more_memory_than_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = 3600 * 10
    times = np.arange(frames) / 10
    info = VideoInfo(Path("hour.mp4"), 64, 64, times, None, (), "none")
    monkeypatch.setattr(embed, "probe", lambda path: info)

    def decode(path: Path, size: object) -> Iterator[NDArray[np.uint8]]:
        return (np.zeros((64, 64, 3), np.uint8) for _ in range(frames))

    class Nothing(Reader):
        def __call__(self, clips: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.zeros((len(clips), 8), np.float32)

    monkeypatch.setattr(embed, "iter_frames", decode)
    encode = Nothing(Clip(2, 2, 64))
    tracemalloc.start()
    try:
        found = embed_video(info.path, Settings(length=4, hop=2, appearance=False), encode)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == 1799
    assert peak < 6e6  # all frames that are looked at would be 44 MB, all of them 440 MB
