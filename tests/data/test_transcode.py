"""Prepared files hold exactly the frames they should."""

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import faults
from faults import numbered_video
from kinevec.data.decode import VideoInfo, probe, read_clip
from kinevec.data.prepare.check import Checked, check, decode_whole
from kinevec.data.prepare.encode import Encoder
from kinevec.data.prepare.entries import Entry, Prepared
from kinevec.data.prepare.folder import Folder
from kinevec.data.prepare.plan import PrepareConfig, plan_frames, target_size
from kinevec.errors import ConfigError, OutputError
from numbered import packets
from preparing import PLAIN, prepared, same_table, shown_numbers, transcode

# ---------------------------------------------------------------- every frame is the right one


def with_empty_packets(path: Path) -> Path:
    """B-frames in an AVI, packed, with packets at the end that only say that the last picture stays."""
    packed = faults.packed_bframes_avi(path.with_suffix(".packed.avi"), 40)
    with av.open(str(packed)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        contents = [bytes(packet) for packet in source.demux(video=0) if packet.size]
        for i, content in enumerate([*contents, *[b"\0\0\1\xb6\x50\x4f"] * 3]):
            packet = av.Packet(content)
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 25), i, i
            target.mux(packet)
    return path


EXACT: dict[str, Callable[[Path], Path]] = {
    "plain.mp4": lambda path: numbered_video(path, 40, (160, 128)),
    "b-frames.avi": lambda path: faults.mpeg4_avi_with_bframes(path, 40),
    "packed.avi": lambda path: faults.packed_bframes_avi(path, 40),
    "h264.avi": lambda path: faults.h264_avi_with_bframes(path, 40),
    "raw.h264": lambda path: faults.without_times(path, 40),
    "vp8 with hidden frames.webm": lambda path: numbered_video(
        path, 40, codec="libvpx", options={"auto-alt-ref": "1", "lag-in-frames": "16", "b": "200k"}
    ),
    "stream.ts": lambda path: numbered_video(path, 40),
    "lying.avi": lambda path: faults.lying_frame_count(path, 40),
    "with empty packets.avi": lambda path: with_empty_packets(path),
    "really matroska.mp4": lambda path: numbered_video(path, 40, format="matroska"),
}


@pytest.mark.parametrize("name", EXACT)
def test_every_frame_of_a_prepared_file_is_the_one_that_is_asked_for(name: str, tmp_path: Path) -> None:
    source = EXACT[name](tmp_path / name)
    info = prepared(source, PrepareConfig(short_side=64, motion="none", keyframe_every=7))
    assert shown_numbers(info) == list(range(40))
    for order in ([39], [17, 3, 3, 38], [6, 7, 8], list(range(5, 40, 7))):
        assert shown_numbers(info, order) == order
    np.testing.assert_allclose(info.times, probe(source).times, atol=1e-5, rtol=0)
    assert info.keys == tuple(info.pts[::7])


def test_hidden_frames_at_the_start_stay_hidden(tmp_path: Path) -> None:
    info = prepared(faults.negative_start(tmp_path / "cut.mp4", frames=30, hidden=5))
    assert shown_numbers(info) == list(range(5, 30))
    assert info.times[0] == 0


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    info = prepared(faults.variable_frame_rate(tmp_path / "uneven.mp4"))
    np.testing.assert_allclose(info.times, np.array(faults.VARIABLE_TIMES) / 1000, atol=1e-9, rtol=0)
    assert shown_numbers(info) == list(range(12))


@pytest.mark.parametrize("base", [Fraction(1001, 30000), Fraction(1, 10_000_000), Fraction(1, 12345678)])
def test_times_in_odd_units_are_kept_to_a_hundredth_of_a_millisecond(base: Fraction, tmp_path: Path) -> None:
    steps = [0, 1, 2, 400, 90_000] if base > Fraction(1, 1000) else [0, 1, 2, 400_000, 90_000_000]
    source = numbered_video(tmp_path / "a.mkv", 5)
    info = probe(source)
    checked = Checked(
        VideoInfo(source, 96, 64, np.zeros(5), np.array(steps) + 77, info.keys, "h264"), base, 0, 1, 1
    )
    plan = plan_frames(checked, 0)
    assert (np.diff(plan.pts) > 0).all()
    error = [abs(Fraction(int(t), plan.timescale) - s * base) for t, s in zip(plan.pts, steps, strict=True)]
    assert max(error) < Fraction(3, 100_000)
    assert plan.pts.max() < 2**31


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_files_are_stored_upright(degrees: int, tmp_path: Path) -> None:
    info = prepared(faults.rotated(tmp_path / "turned.mp4", degrees))
    assert (info.width, info.height) == (96, 64)
    assert shown_numbers(info) == list(range(8))
    with av.open(str(info.path)) as container:
        assert next(container.decode(video=0)).rotation == 0


def test_pixels_are_stored_square_and_sound_is_dropped(tmp_path: Path) -> None:
    info = prepared(faults.anamorphic(tmp_path / "wide.mp4"))
    assert (info.width, info.height) == (128, 64)
    with_sound = tmp_path / "sound.mkv"
    picture, sound = numbered_video(tmp_path / "a.mp4"), faults.audio_only(tmp_path / "b.mp4")
    with av.open(str(picture)) as a, av.open(str(sound)) as b, av.open(str(with_sound), "w") as target:
        streams = [target.add_stream_from_template(c.streams[0]) for c in (a, b)]
        for container, stream in zip((b, a), streams[::-1], strict=True):
            for packet in container.demux():
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
    with av.open(str(with_sound)) as container:
        assert len(container.streams.audio) == 1
    with av.open(str(prepared(with_sound).path)) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_odd_and_small_sizes_become_even_and_never_larger(tmp_path: Path) -> None:
    odd = prepared(faults.odd_size(tmp_path / "odd.mp4"))
    assert (odd.width, odd.height) == (32, 46)
    assert prepared(faults.numbered_video(tmp_path / "tiny.mp4", 3, (2, 2))).frames == 3
    for height, width in [(240, 320), (1080, 1920), (720, 405), (33, 47), (129, 1000), (1, 7), (128, 128)]:
        info = VideoInfo(Path(), width, height, np.zeros(1), None, (), "")
        h, w = target_size(info, 128)
        assert h % 2 == w % 2 == 0
        assert min(h, w) <= 128
        assert h <= max(height, 2)
        assert w <= max(width, 2)
        scale = min(1, 128 / min(height, width))
        assert max(abs(h - height * scale), abs(w - width * scale)) <= 1


# ---------------------------------------------------------------- how it is coded


@pytest.mark.parametrize("every", [1, 5, 16])
def test_keyframes_come_exactly_as_often_as_asked_and_nothing_is_reordered(
    every: int, tmp_path: Path
) -> None:
    scenes = tmp_path / "scenes.mp4"  # every frame is a new scene, which tempts the encoder
    numbered_video(scenes, 33, options={"g": "1"})
    info = prepared(scenes, PrepareConfig(keyframe_every=every, motion="none"))
    found = packets(info.path)
    assert [packet.is_keyframe for packet in found] == [i % every == 0 for i in range(33)]
    assert all(packet.pts == packet.dts for packet in found)


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    source = numbered_video(tmp_path / "a.mp4", 20, (640, 512))
    config = PrepareConfig(short_side=512, motion="none")
    first = transcode(source, config).part
    assert first is not None
    content = first.read_bytes()
    assert transcode(source, config).part == first
    assert first.read_bytes() == content
    assert content.index(b"moov") < content.index(b"mdat")  # the index in front
    for setting in (b" threads=1 ", b" mbtree=0 ", b" crf=20.0 ", b" cabac=0 "):  # noted by x264 in the file
        assert setting in content


def test_a_file_that_was_not_written_whole_is_noticed(tmp_path: Path) -> None:
    checked = check(numbered_video(tmp_path / "a.mp4", 10))
    frames = list(decode_whole(checked, (64, 96)))
    for written, kept in ((9, 1.0), (10, 0.4)):
        part = tmp_path / "part.mp4"
        with Encoder(part, (64, 96), plan_frames(checked, 0), PLAIN) as encoder:
            for frame in frames[:written]:
                encoder.add(frame)
        os.truncate(part, int(part.stat().st_size * kept))
        with pytest.raises(OutputError, match=r"was not written whole.*disk full\?"):
            encoder.finish()


@pytest.mark.parametrize("space", [None, "bt709"])
def test_colours_come_out_as_from_the_original(space: str | None, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 1, 64)
    corners = rng.integers(0, 256, (2, 2, 3))
    picture = np.einsum("iy,jx,ijc->yxc", [1 - ramp, ramp], [1 - ramp, ramp], corners).astype(np.uint8)
    source = tmp_path / "colours.mp4"
    with av.open(str(source), "w") as container:
        options = {"crf": "5"} | ({"colorspace": space, "color_primaries": space} if space else {})
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    original = read_clip(source, [0, 1, 2]).frames.astype(float)
    info = prepared(source)
    stored = read_clip(info.path, [0, 1, 2], info=info).frames
    # FFmpeg's way from YUV to RGB rounds down by 1 to 1.5 levels, and prepared frames go it twice.
    assert np.abs((original - stored).mean(axis=(0, 1, 2))).max() < 2
    assert np.abs(original - stored).mean() < 3


# ---------------------------------------------------------------- constant frame rate


def nearest(times: list[Fraction], fps: Fraction) -> list[int]:
    """The rule, frame by frame: nearest in time, the earlier of two equally near, up to the last frame."""
    chosen, k = [], 0
    while k / fps <= times[-1]:
        chosen.append(min(range(len(times)), key=lambda i: (abs(times[i] - k / fps), i)))
        k += 1
    return chosen


@pytest.mark.parametrize("fps", [10.0, 12.5, 25.0, 29.97, 50.0, 1.0])
@pytest.mark.parametrize("even", [True, False])
def test_resampled_frames_are_the_nearest_in_time(even: bool, fps: float, tmp_path: Path) -> None:
    if even:
        source = numbered_video(tmp_path / "a.mp4", 30)
        times = [Fraction(i, 25) for i in range(30)]
    else:
        source = faults.variable_frame_rate(tmp_path / "a.mp4")
        times = [Fraction(t, 1000) for t in faults.VARIABLE_TIMES]
    info = prepared(source, PrepareConfig(fps=fps, motion="none"))
    assert shown_numbers(info) == nearest(times, Fraction(str(fps)))
    np.testing.assert_allclose(info.times, np.arange(info.frames) / fps, atol=1e-9, rtol=0)


def test_a_still_is_still_one_frame_after_resampling(tmp_path: Path) -> None:
    info = prepared(faults.one_frame(tmp_path / "still.mp4"), PrepareConfig(fps=30, motion="none"))
    assert shown_numbers(info) == [0]


def test_index_only_keeps_the_original_and_its_table(tmp_path: Path) -> None:
    for name in set(EXACT) - {"stream.ts"}:
        source = EXACT[name](tmp_path / name)
        outcome = transcode(source, PrepareConfig(store="none", motion="none"))
        assert isinstance(outcome.result, Prepared)
        assert (outcome.part, outcome.result.file) == (None, "")
        line = Entry(name, outcome.stamp, outcome.result).to_line()
        table = Entry.from_line(line).result
        assert isinstance(table, Prepared)
        info = table.table.info(source)
        same_table(info, probe(source))
        assert shown_numbers(info, [0, 13, 39]) == [0, 13, 39]


@pytest.mark.parametrize(
    "wrong",
    [
        {"short_side": 127},
        {"short_side": 16},
        {"keyframe_every": 0},
        {"fps": -1.0},
        {"fps": float("nan")},
        {"store": "jpeg"},
        {"fps": 10.0, "store": "none"},
        {"quality": 52},
        {"motion": "diss"},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="|".join(wrong)):
        PrepareConfig(**wrong)  # type: ignore[arg-type]


def test_prepared_names_are_safe_and_distinct() -> None:
    folder = Folder(Path("out"))
    names = ["a.mp4", "b/a.mp4", "ä/日本.mp4", "x" * 300 + ".mp4", "../../etc/passwd", "con\n.mp4", ".mp4"]
    places = [folder.place_for(name, "00") for name in names] + [folder.place_for("a.mp4", "01")]
    assert len(set(places)) == len(places)
    for place in places:
        assert len(Path(place).name.encode()) < 160
        assert Path(place).parent.parent == Path("videos")
        assert "\n" not in place
