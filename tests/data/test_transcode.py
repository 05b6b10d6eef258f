"""Prepared files hold exactly the frames they should; what does not decode to its end is refused in words."""

import re
from collections.abc import Callable
from fractions import Fraction
from itertools import chain, islice, repeat
from pathlib import Path

import av
import numpy as np
import pytest

import faults
from faults import numbered_video, read_number
from kinevec.data.decode import VideoInfo, probe, read_clip
from kinevec.data.prepare.check import Checked, Unusable, check, decode_whole
from kinevec.data.prepare.cutoff import claimed_size
from kinevec.data.prepare.entries import Entry, Prepared, Refusal
from kinevec.data.prepare.folder import Folder
from kinevec.data.prepare.plan import PrepareConfig, plan_frames, target_size
from kinevec.data.prepare.transcode import Job, Outcome, Transcoder
from kinevec.data.prepare.workers import Stopped
from kinevec.errors import ConfigError
from numbered import packets

PLAIN = PrepareConfig(motion="none")


def transcode(source: Path, config: PrepareConfig = PLAIN) -> Outcome:
    root = source.parent / "out"
    (root / "parts").mkdir(parents=True, exist_ok=True)
    return Transcoder(Folder(root), config)(Job(source.name, source), lambda: False)


def prepared(source: Path, config: PrepareConfig = PLAIN) -> VideoInfo:
    """The prepared file as it is listed, which is as it is."""
    outcome = transcode(source, config)
    assert isinstance(outcome.result, Prepared), outcome.result
    assert outcome.part is not None
    listed, there = outcome.result.table.info(outcome.part), probe(outcome.part)
    same_table(listed, there)
    assert outcome.part.stat().st_size == outcome.result.size
    return listed


def same_table(a: VideoInfo, b: VideoInfo) -> None:
    assert (a.path, a.width, a.height, a.codec, a.keys) == (b.path, b.width, b.height, b.codec, b.keys)
    np.testing.assert_array_equal(a.times, b.times)
    assert (a.pts is None) == (b.pts is None)
    if a.pts is not None:
        np.testing.assert_array_equal(a.pts, b.pts)


def numbers(info: VideoInfo, asked: list[int] | None = None) -> list[int]:
    asked = list(range(info.frames)) if asked is None else asked
    return [read_number(frame) for frame in read_clip(info.path, asked, info=info).frames]


# ---------------------------------------------------------------- every frame is the right one

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
    "really matroska.mp4": lambda path: numbered_video(path, 40, format="matroska"),
}


@pytest.mark.parametrize("name", EXACT)
def test_every_frame_of_a_prepared_file_is_the_one_that_is_asked_for(name: str, tmp_path: Path) -> None:
    source = EXACT[name](tmp_path / name)
    info = prepared(source, PrepareConfig(short_side=64, motion="none", keyframe_every=7))
    assert numbers(info) == list(range(40))
    for order in ([39], [17, 3, 3, 38], [6, 7, 8], list(range(5, 40, 7))):
        assert numbers(info, order) == order
    np.testing.assert_allclose(info.times, probe(source).times, atol=1e-5, rtol=0)
    assert info.keys == tuple(info.pts[::7])


def test_hidden_frames_at_the_start_stay_hidden(tmp_path: Path) -> None:
    info = prepared(faults.negative_start(tmp_path / "cut.mp4", frames=30, hidden=5))
    assert numbers(info) == list(range(5, 30))
    assert info.times[0] == 0


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    info = prepared(faults.variable_frame_rate(tmp_path / "uneven.mp4"))
    np.testing.assert_allclose(info.times, np.array(faults.VARIABLE_TIMES) / 1000, atol=1e-9, rtol=0)
    assert numbers(info) == list(range(12))


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
    assert numbers(info) == list(range(8))
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
    source = numbered_video(tmp_path / "a.mp4", 40)
    first, second = transcode(source), None
    assert first.part is not None
    content = first.part.read_bytes()
    second = transcode(source)
    assert second.part == first.part
    assert first.part.read_bytes() == content
    assert content.index(b"moov") < content.index(b"mdat")  # the index in front


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
    assert np.abs(original - stored).mean() < 2
    assert np.abs((original - stored).mean(axis=(0, 1, 2))).max() < 1


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
    assert numbers(info) == nearest(times, Fraction(str(fps)))
    np.testing.assert_allclose(info.times, np.arange(info.frames) / fps, atol=1e-9, rtol=0)


def test_a_still_is_still_one_frame_after_resampling(tmp_path: Path) -> None:
    info = prepared(faults.one_frame(tmp_path / "still.mp4"), PrepareConfig(fps=30, motion="none"))
    assert numbers(info) == [0]


# ---------------------------------------------------------------- what is refused

TRUNCATED = r"cut off: [\d,]+ of [\d,]+ bytes are there; damaged after frame \d+( of 60)? \(\d\.\d s\): copy"
Maker = Callable[[Path], Path | None]


def cut(share: float, **options: object) -> Maker:
    def make(path: Path) -> Path:
        content = numbered_video(path, 60, **options).read_bytes()  # type: ignore[arg-type]
        path.write_bytes(content[: int(len(content) * share)])
        return path

    return make


def filled_with_zeros(path: Path) -> Path:
    content = numbered_video(path, 60, muxer={"movflags": "faststart"}).read_bytes()
    whole = len(content) * 6 // 10
    path.write_bytes(content[:whole] + bytes(len(content) - whole))
    return path


def with_cover(path: Path) -> Path:
    with av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=16_000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width = cover.height = 32
        cover.pix_fmt = "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
        tone.sample_rate = 16_000
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        container.mux(cover.encode())
        container.mux(sound.encode(tone))
        container.mux(sound.encode())
    return path


REFUSED: dict[str, tuple[Maker, str, str]] = {
    "truncated.mp4": (faults.truncated_mp4, "damaged", TRUNCATED),
    "truncated.avi": (cut(0.6, codec="mpeg4"), "damaged", TRUNCATED),
    "truncated.mkv": (cut(0.6), "damaged", TRUNCATED),
    "truncated.webm": (cut(0.6, codec="libvpx"), "damaged", TRUNCATED),
    "truncated.flv": (cut(0.6, codec="flv1"), "damaged", r"only 33 of 34 frames are whole: copy it again"),
    "no index.mp4": (faults.no_moov, "damaged", r"its index \(moov atom\) is missing"),
    "corrupt.mp4": (faults.corrupt_middle, "damaged", r"damaged after frame \d+ of 60 \(\d\.\d s\): copy"),
    "corrupt.avi": (faults.corrupt_middle, "damaged", r"damaged: only \d+ of 60 frames are there"),
    "zeros at the end.mp4": (filled_with_zeros, "damaged", r"damaged after frame \d+ of 60"),
    "zeros.mp4": (lambda path: path.write_bytes(bytes(5000)) and path, "not-a-video", "zeros only"),
    "noise.mp4": (
        lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)) and path,
        "not-a-video",
        "is no video",
    ),
    "empty.mp4": (faults.zero_byte, "empty", "0 bytes: copy or download it again"),
    "page.mp4": (faults.text_as_mp4, "not-a-video", "is text, beginning with '<html><body>404: the video was"),
    "sound.mp4": (faults.audio_only, "no-video-stream", "has no video stream"),
    "album.m4a": (with_cover, "no-video-stream", "is sound with a cover picture"),
    "absent.mp4": (lambda path: path, "missing", "is not there"),
    "folder.mp4": (lambda path: path.mkdir() or path, "unreadable", "is a folder"),
    "link.mp4": (lambda path: path.symlink_to("gone.mp4") or path, "missing", "is a link to gone.mp4, which is not"),
    "self.mp4": (lambda path: faults.symlink_loop(path.parent) / "self.mp4", "unreadable", "leads back to itself"),
    "secret.mp4": (faults.unreadable, "unreadable", "no permission to read it"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_whole_is_refused_in_words(name: str, tmp_path: Path) -> None:
    make, kind, words = REFUSED[name]
    source = make(tmp_path / name)
    if source is None:
        pytest.skip("nothing is unreadable to the superuser")
    outcome = transcode(source)
    assert isinstance(outcome.result, Refusal)
    assert outcome.result.kind == kind
    assert re.search(words, outcome.result.reason), outcome.result.reason
    assert not list((tmp_path / "out" / "parts").iterdir())


def test_no_permission_has_words_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = numbered_video(tmp_path / "a.mp4", 3)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    outcome = transcode(source)
    assert outcome.result == Refusal(
        "unreadable", "we have no permission to read it: chmod +r, or ask its owner"
    )


def test_the_count_of_whole_frames_is_right(tmp_path: Path) -> None:
    source = numbered_video(tmp_path / "a.mp4", 60, options={"bf": "0"}, muxer={"movflags": "faststart"})
    last = packets(source)[40]
    assert last.pos is not None
    source.write_bytes(source.read_bytes()[: last.pos + last.size // 2])
    frames = decode_whole(check(source), (64, 96))
    assert [read_number(frame) for frame in islice(frames, 40)] == list(range(40))
    with pytest.raises(Unusable, match=r"damaged after frame 40 of 60 \(1\.6 s\)"):
        next(frames)


def test_a_clock_that_jumps_is_refused_and_a_pause_is_not(tmp_path: Path) -> None:
    pause = numbered_video(tmp_path / "a.mp4", 3, pts=[0, 1, 3000], time_base=Fraction(1, 1))
    assert prepared(pause).times.tolist() == [0, 1, 3000]
    jump = numbered_video(tmp_path / "b.mp4", 3, pts=[0, 1, 30_000], time_base=Fraction(1, 1))
    outcome = transcode(jump, PrepareConfig(fps=25, motion="none"))
    assert outcome.result == Refusal("damaged", "its clock jumps by 8.3 hours before frame 2: re-encode it")


def test_a_source_that_changes_while_it_is_read_is_left_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = numbered_video(tmp_path / "a.mp4", 5)
    monkeypatch.setattr("kinevec.data.prepare.transcode.check", lambda path: (check(path), path.touch())[0])
    outcome = transcode(source)
    assert isinstance(outcome.result, Refusal)
    assert outcome.result.kind == "unreadable"
    assert "changed while it was read" in outcome.result.reason
    assert not list((tmp_path / "out" / "parts").iterdir())


def test_our_own_mistakes_stop_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinevec.data.prepare.transcode.plan_frames", lambda *_: 1 / 0)
    outcome = transcode(numbered_video(tmp_path / "a.mp4", 3))
    assert outcome.result == Refusal("failed", "ZeroDivisionError: division by zero")


def test_being_stopped_leaves_nothing(tmp_path: Path) -> None:
    source = numbered_video(tmp_path / "a.mp4", 30)
    (tmp_path / "out" / "parts").mkdir(parents=True)
    for config in (PLAIN, PrepareConfig(store="none", motion="none")):
        answers = chain(repeat(False, 9), repeat(True))
        with pytest.raises(Stopped):
            Transcoder(Folder(tmp_path / "out"), config)(Job("a", source), answers.__next__)
    assert not list((tmp_path / "out" / "parts").iterdir())


# ---------------------------------------------------------------- parts


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("front.mp4", {"muxer": {"movflags": "faststart"}}),
        ("pieces.mp4", {"muxer": {"movflags": "frag_keyframe+empty_moov"}}),
        ("a.mov", {}),
        ("a.avi", {"codec": "mpeg4"}),
        ("a.mkv", {}),
        ("a.webm", {"codec": "libvpx"}),
    ],
)
def test_whole_files_are_as_long_as_they_claim(name: str, options: dict[str, object], tmp_path: Path) -> None:
    path = numbered_video(tmp_path / name, 30, **options)  # type: ignore[arg-type]
    size, claimed = path.stat().st_size, claimed_size(path)
    assert claimed is not None
    assert size * 0.6 < claimed <= size
    path.write_bytes(path.read_bytes()[: claimed - 1])
    assert claimed_size(path) == claimed
    path.write_bytes(path.read_bytes() + bytes(1) + b"padding that some tool left behind")
    assert claimed_size(path) == claimed or name.endswith(("mkv", "webm"))


def test_other_files_claim_nothing(tmp_path: Path) -> None:
    assert claimed_size(numbered_video(tmp_path / "a.ts", 5)) is None
    for content in (
        b"",
        b"RIFF",
        b"\x1a\x45\xdf\xa3",
        b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01" + b"\xff" * 7,
    ):
        (tmp_path / "b").write_bytes(content)
        assert claimed_size(tmp_path / "b") is None


def test_index_only_keeps_the_original_and_its_table(tmp_path: Path) -> None:
    for name, make in EXACT.items():
        source = make(tmp_path / name)
        outcome = transcode(source, PrepareConfig(store="none", motion="none"))
        assert isinstance(outcome.result, Prepared)
        assert (outcome.part, outcome.result.file) == (None, "")
        assert outcome.stamp is not None
        line = Entry(name, outcome.stamp, outcome.result).to_line()
        table = Entry.from_line(line).result
        assert isinstance(table, Prepared)
        info = table.table.info(source)
        same_table(info, probe(source))
        assert numbers(info, [0, 13, 39]) == [0, 13, 39]


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
