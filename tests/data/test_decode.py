"""Exact frames, through every kind of file that people have; clear words about the broken ones."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import faults
from faults import numbered_video, read_number
from kinevec.data.container import Opened
from kinevec.data.decode import iter_frames, probe, read_clip, seeking
from kinevec.data.prepare.check import check, decode_whole
from kinevec.errors import VideoError


def read_numbers(path: Path, numbers: list[int]) -> list[int]:
    return [read_number(frame) for frame in read_clip(path, numbers).frames]


EXACT = {
    "plain.mp4": lambda path: numbered_video(path, 40),
    "bframes.mp4": lambda path: numbered_video(path, 40, options={"bf": "3", "g": "12"}),
    "one key frame.mkv": lambda path: numbered_video(path, 40, options={"g": "400"}),
    "all key frames.mp4": lambda path: numbered_video(path, 40, options={"g": "1"}),
    "vp9.webm": lambda path: numbered_video(path, 40, codec="libvpx-vp9"),
    "vp8 with hidden frames.webm": lambda path: numbered_video(
        path, 40, codec="libvpx", options={"auto-alt-ref": "1", "lag-in-frames": "16", "b": "200k"}
    ),
    "mpeg4.avi": lambda path: numbered_video(path, 40, codec="mpeg4"),
    "b-frames.avi": lambda path: faults.mpeg4_avi_with_bframes(path, 40),
    "packed.avi": lambda path: faults.packed_bframes_avi(path, 40),
    "h264.avi": lambda path: faults.h264_avi_with_bframes(path, 40),
    "one key frame.ts": lambda path: numbered_video(path, 40, options={"g": "400", "bf": "0"}),
    "b-frames.ts": lambda path: numbered_video(path, 40, options={"g": "12", "bf": "2"}),
    "raw.h264": lambda path: faults.without_times(path, 40),
    "mpeg1.mpg": lambda path: numbered_video(
        path, 40, size=(320, 240), codec="mpeg1video", options={"g": "12", "bf": "2"}
    ),
    "mpeg2.vob": lambda path: numbered_video(
        path, 40, size=(320, 240), codec="mpeg2video", options={"g": "12", "bf": "2"}, format="vob"
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_every_asked_frame_is_the_one_that_comes(name: str, tmp_path: Path) -> None:
    path = EXACT[name](tmp_path / name)
    info = probe(path)
    assert info.frames == 40
    orders = [list(range(40)), [39], [0], [17, 3, 3, 38], list(range(5, 40, 7)), [20, 21, 22, 39], [1, 39]]
    for order in orders:
        clip = read_clip(path, order, info=info)
        assert [read_number(frame) for frame in clip.frames] == order
        assert clip.numbers == tuple(order)
    assert [read_number(frame) for frame in iter_frames(path)] == list(range(40))


def test_every_pair_of_frames_is_exact_across_key_frames(tmp_path: Path) -> None:
    path = numbered_video(tmp_path / "a.mp4", 14, options={"bf": "2", "g": "5"})
    info = probe(path)
    for first in range(14):
        for second in range(14):
            clip = read_clip(path, [first, second], info=info)
            assert [read_number(frame) for frame in clip.frames] == [first, second]


H264 = {
    "default": {},
    "pyramid": {"bf": "8", "x264-params": "keyint=20:b-pyramid=normal:b-adapt=0:scenecut=0"},
    "open gop": {"bf": "3", "x264-params": "keyint=10:open-gop=1:scenecut=0:b-adapt=0"},
    "many references": {"bf": "2", "x264-params": "keyint=30:ref=8:weightp=2:scenecut=0"},
    "all key frames": {"g": "1"},
    "intra refresh": {"bf": "0", "x264-params": "keyint=15:intra-refresh=1"},
}


@pytest.mark.parametrize("name", H264)
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_skipping_what_is_not_wanted_changes_no_pixel(name: str, container: str, tmp_path: Path) -> None:
    path = numbered_video(tmp_path / f"a.{container}", 70, options=H264[name])
    info, whole = probe(path), np.stack(list(iter_frames(path)))
    rng = np.random.default_rng(0)
    for count in (1, 2, 3, 8, 25):
        for _ in range(6):
            order = rng.integers(70, size=count).tolist()
            np.testing.assert_array_equal(read_clip(path, order, info=info).frames, whole[order])


def test_frames_that_no_other_refers_to_are_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"x264-params": "bframes=3:b-adapt=0:b-pyramid=none:scenecut=0"}
    path = numbered_video(tmp_path / "a.mp4", 101, options=options)
    decoded: list[int] = []
    original = seeking._decode_run

    def counted(*arguments: Any) -> Iterator[Any]:
        for frame in original(*arguments):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(seeking, "_decode_run", counted)
    assert read_numbers(path, [97, 98]) == [97, 98]
    assert len(decoded) == 1 + 25 + 2  # the key frame, every fourth one, and two that were asked for
    decoded.clear()
    assert read_numbers(path, [100]) == [100]
    assert len(decoded) == 1 + 25
    decoded.clear()
    assert read_numbers(path, [0]) == [0]
    assert len(decoded) == 1


def test_a_key_frame_is_reached_by_seeking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = numbered_video(tmp_path / "a.mp4", 40, options={"g": "20", "bf": "0", "sc_threshold": "0"})
    info = probe(path)
    assert info.pts is not None
    assert info.keys[1] == info.pts[20]
    monkeypatch.setattr(Opened, "reopen", lambda self: pytest.fail("went back to the start"))
    assert [read_number(read_clip(path, [n], info=info).frames[0]) for n in (20, 21, 0)] == [20, 21, 0]


def test_near_key_frames_are_decoded_up_to_and_far_ones_sought() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        pts = np.cumsum(rng.integers(1, 9, size=60))
        keys = [0, *sorted(set(rng.integers(1, 60, size=rng.integers(0, 20)).tolist()))]
        wanted = sorted(set(rng.integers(60, size=rng.integers(1, 30)).tolist()))
        runs = seeking._runs(pts, pts[keys].tolist(), wanted)
        assert [number for _, numbers in runs for number in numbers] == wanted
        begins = {numbers[0]: key for key, numbers in runs}
        for before, number in zip([None, *wanted], wanted, strict=False):
            key = max(k for k in keys if k <= number)  # of the frame
            sought = before is None or (key > before and key - before > seeking.NEAR)
            assert (number in begins) == sought
            if sought:
                assert begins[number] == pts[key]


def test_times_are_those_of_the_frames(tmp_path: Path) -> None:
    path = faults.variable_frame_rate(tmp_path / "vfr.mp4")
    clip = read_clip(path, [0, 3, 7, 11])
    assert [read_number(frame) for frame in clip.frames] == [0, 3, 7, 11]
    expected = np.array(faults.VARIABLE_TIMES)[[0, 3, 7, 11]] / 1000
    np.testing.assert_allclose(clip.times, expected, atol=1e-3)
    even = probe(numbered_video(tmp_path / "even.mp4", 11, fps=20))
    np.testing.assert_allclose(even.times, np.arange(11) / 20, atol=1e-3)
    assert even.fps == pytest.approx(20, rel=1e-3)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_files_come_upright(degrees: int, tmp_path: Path) -> None:
    path = faults.rotated(tmp_path / "turned.mp4", degrees)
    info = probe(path)
    clip = read_clip(path, [7])
    assert read_number(clip.frames[0]) == 7
    assert clip.frames.shape[1:3] == (info.height, info.width)


@pytest.mark.parametrize(("degrees", "size"), [(2, (96, 64)), (179, (96, 64)), (91, (64, 96))])
def test_a_rotation_by_some_degrees_is_one_by_the_nearest_quarter(
    degrees: int, size: tuple[int, int], tmp_path: Path
) -> None:
    info = probe(numbered_video(tmp_path / "a.mp4", 3, size, rotation=degrees))
    assert (info.width, info.height) == size
    assert read_clip(info.path, [0]).frames.shape == (1, *size[::-1], 3)


def test_a_relative_name_with_a_colon_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbered_video(tmp_path / "2026-01-02T12:30:05.mp4", 5)
    monkeypatch.chdir(tmp_path)
    assert probe(Path("2026-01-02T12:30:05.mp4")).frames == 5
    assert check(Path("2026-01-02T12:30:05.mp4")).info.frames == 5


def test_a_stream_that_begins_between_key_frames_begins_at_the_next(tmp_path: Path) -> None:
    """As recorders of television do: what refers to the frames that were cut off does not decode."""
    whole = numbered_video(tmp_path / "a.ts", 100, options={"g": "30", "bf": "0"}).read_bytes()
    path = tmp_path / "cut.ts"
    path.write_bytes(whole[len(whole) // 188 // 5 * 188 :])
    info = probe(path)
    shown = [read_number(frame) for frame in iter_frames(path)]
    assert info.frames == len(shown) == 70
    assert shown == read_numbers(path, list(range(70))) == list(range(30, 100))
    checked = check(path)
    assert len(list(decode_whole(checked, (64, 96)))) == 70


def test_a_closed_group_that_begins_with_b_frames_is_whole(tmp_path: Path) -> None:
    """They are shown before the first key frame, and decode."""
    whole = numbered_video(
        tmp_path / "a.mpg", 40, (320, 240), codec="mpeg2video", options={"g": "10", "bf": "2"}
    )
    path, keys = tmp_path / "b.mkv", 0
    with av.open(str(whole)) as source, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            keys += packet.is_keyframe
            if packet.dts is None or keys < 2:
                continue
            content = bytearray(bytes(packet))
            if packet.is_keyframe and keys == 2:
                content[content.index(b"\0\0\1\xb8") + 7] |= 0x40  # of its header: that the group is closed
            changed = av.Packet(bytes(content))
            changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
            changed.is_keyframe, changed.stream = packet.is_keyframe, stream
            out.mux(changed)
    info = probe(path)
    assert info.pts is not None
    assert info.pts[0] < info.keys[0]
    streamed = np.stack(list(iter_frames(path)))
    assert info.frames == len(streamed)
    np.testing.assert_array_equal(read_clip(path, list(range(info.frames))).frames, streamed)


@pytest.mark.parametrize(("shift", "group"), [(1800, 10), (5 * 3600 + 1800, 400), (12 * 3600 + 1800, 10)])
def test_recordings_put_one_after_the_other_stay_in_order(shift: int, group: int, tmp_path: Path) -> None:
    """The clock of the second starts again, half a frame off."""
    one = numbered_video(tmp_path / "a.ts", 20, options={"bf": "0", "g": str(group)})
    pts = [3600 * i + shift for i in range(20)]
    two = numbered_video(
        tmp_path / "b.ts", 20, pts=pts, time_base=Fraction(1, 90000), options={"bf": "0", "g": str(group)}
    )
    content = bytearray(one.read_bytes() + two.read_bytes())
    last: dict[int, int] = {}
    for at in range(0, len(content), 188):  # each stream counts its packets from 0 to 15
        stream = (content[at + 1] & 31) << 8 | content[at + 2]
        if content[at + 3] & 16:
            last[stream] = (last.get(stream, -1) + 1) % 16
            content[at + 3] = content[at + 3] & 0xF0 | last[stream]
    path = tmp_path / "both.ts"
    path.write_bytes(content)
    shown = [read_number(frame) for frame in iter_frames(path)]
    assert len(shown) >= 39
    info = probe(path)
    assert read_numbers(path, list(range(info.frames))) == shown
    assert info.fps == pytest.approx(25)


def test_sound_with_a_cover_is_no_video_and_a_video_with_one_is(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="is sound with a cover picture"):
        probe(faults.with_cover(tmp_path / "song.mp4", None))
    video = numbered_video(tmp_path / "plain.mp4", 5)
    path = faults.with_cover(tmp_path / "film.mp4", video)
    assert read_numbers(path, [0, 4]) == [0, 4]
    assert check(path).info.frames == 5


def test_pixels_come_out_square(tmp_path: Path) -> None:
    info = probe(faults.anamorphic(tmp_path / "wide.mp4"))
    assert (info.width, info.height) == (128, 64)  # stored as 96×64 with pixels of 4:3
    assert read_clip(info.path, [3]).frames.shape == (1, 64, 128, 3)


def test_odd_sizes_and_wrong_extensions_are_read(tmp_path: Path) -> None:
    odd = faults.odd_size(tmp_path / "odd.mp4")
    assert read_clip(odd, [5]).frames.shape == (1, 47, 33, 3)
    assert read_numbers(faults.wrong_extension(tmp_path / "really webm.mp4"), [4, 9]) == [4, 9]


def test_scaled_while_decoding(tmp_path: Path) -> None:
    path = numbered_video(tmp_path / "a.mp4", 12, size=(128, 96))
    clip = read_clip(path, [2, 11], size=(48, 64))
    assert clip.frames.shape == (2, 48, 64, 3)
    assert [read_number(frame) for frame in clip.frames] == [2, 11]


def test_hidden_frames_at_the_start_do_not_count(tmp_path: Path) -> None:
    path = faults.negative_start(tmp_path / "cut.mp4", frames=30, hidden=5)
    info = probe(path)
    assert info.frames == 25
    assert read_numbers(path, [0, 10, 24]) == [5, 15, 29]
    assert info.times[0] == 0


def test_header_with_a_wrong_count_is_not_believed(tmp_path: Path) -> None:
    assert probe(faults.lying_frame_count(tmp_path / "lie.avi", frames=30, claimed=100)).frames == 30


def test_truncated_file_gives_what_it_has(tmp_path: Path) -> None:
    path = faults.truncated_mp4(tmp_path / "cut.mp4", frames=60)
    info = probe(path)
    assert 20 < info.frames < 60
    assert read_numbers(path, [0, 12]) == [0, 12]


Fault = Callable[[Path], Path]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (faults.zero_byte, "empty file"),
        (faults.text_as_mp4, "is text, beginning with '<html"),
        (faults.no_moov, r"its index \(moov atom\) is missing or broken"),
        (faults.audio_only, "no video stream"),
        (lambda path: path, "is not there"),
        (lambda path: path.mkdir() or path, "is a folder, not a file"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_reason(make: Fault, words: str, tmp_path: Path) -> None:
    path = make(tmp_path / "broken.mp4")
    with pytest.raises(VideoError, match=words) as caught:
        probe(path)
    assert str(path) in str(caught.value)


def test_frames_beyond_the_end_are_refused(tmp_path: Path) -> None:
    path = faults.one_frame(tmp_path / "still.mp4")
    assert probe(path).frames == 1
    for number in (1, -1):
        with pytest.raises(VideoError, match=f"frame {number} of 1"):
            read_clip(path, [number])
    with pytest.raises(ValueError, match="empty"):
        read_clip(path, [])


def test_a_frame_that_does_not_decode_is_an_error(tmp_path: Path) -> None:
    path = numbered_video(tmp_path / "a.mp4", 60, options={"g": "10"})
    info = probe(path)
    faults.truncated_mp4(path)  # the file shrinks after it was probed
    with pytest.raises(VideoError, match="damaged"):
        read_clip(path, [55], info=info)


def test_reprs_show_shapes_not_pixels(tmp_path: Path) -> None:
    path = numbered_video(tmp_path / "a.mp4", 12, size=(64, 48), fps=10)
    assert repr(read_clip(path, [0, 5])) == "Clip(2 frames of 64×48, 0.00–0.50 s)"
    assert repr(probe(path)) == "VideoInfo(a.mp4: 12 frames of 64×48, 10.00 fps, h264)"
