"""What is no video, or does not decode to its end, is refused in words a person can act on."""

import re
import struct
from collections.abc import Callable
from fractions import Fraction
from itertools import chain, islice, repeat
from pathlib import Path

import av
import numpy as np
import pytest

import faults
from faults import numbered_video, read_number
from kinevec.data.prepare.check import check, decode_whole
from kinevec.data.prepare.cutoff import claimed_size
from kinevec.data.prepare.entries import Refusal
from kinevec.data.prepare.folder import Folder
from kinevec.data.prepare.plan import PrepareConfig
from kinevec.data.prepare.transcode import Job, Transcoder
from kinevec.data.prepare.workers import Stopped
from kinevec.data.reasons import Unusable
from numbered import packets
from preparing import PLAIN, prepared, transcode

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
    "empty.mp4": (faults.zero_byte, "empty", "empty file \\(0 bytes\\)"),
    "page.mp4": (faults.text_as_mp4, "not-a-video", "is text, beginning with '<html><body>404: the"),
    "sound.mp4": (faults.audio_only, "no-video-stream", "has no video stream"),
    "album.m4a": (with_cover, "no-video-stream", "is sound with a cover picture"),
    "absent.mp4": (lambda path: path, "missing", "is not there"),
    "folder.mp4": (lambda path: path.mkdir() or path, "unreadable", "is a folder"),
    "link.mp4": (lambda path: path.symlink_to("gone.mp4") or path, "missing", "is a link to gone.mp4, which"),
    "self.mp4": (lambda path: faults.symlink_loop(path.parent) / path.name, "unreadable", "leads back to"),
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


# ---------------------------------------------------------------- how long a file claims to be


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


def test_structures_that_are_rarely_written(tmp_path: Path) -> None:
    path = tmp_path / "a"
    box = struct.pack(">I4s", 16, b"ftyp") + bytes(8)
    path.write_bytes(box + struct.pack(">I4sQ", 1, b"mdat", 5_000_000_000))  # more than 4 GB
    assert claimed_size(path) == 16 + 5_000_000_000
    path.write_bytes(box + struct.pack(">I4s", 0, b"mdat") + bytes(50))  # goes on to the end
    assert claimed_size(path) == 0
    movi = struct.pack("<4sI4s", b"LIST", 105, b"movi")  # an odd length, padded
    riff = struct.pack("<4sI4s", b"RIFF", 4 + 8 + 105 + 1, b"AVI ") + movi + bytes(102)
    more = struct.pack("<4sI4s", b"RIFF", 4 + 8 + 200, b"AVIX") + struct.pack("<4sI4s", b"LIST", 200, b"movi")
    path.write_bytes(riff)
    assert claimed_size(path) == 12 + 8 + 105
    path.write_bytes(riff + more)  # as in files of more than 1 GB
    assert claimed_size(path) == len(riff) + 12 + 8 + 200
    never = struct.pack("<4sI4s", b"LIST", 2**32 - 1, b"movi")  # the recorder lost power
    path.write_bytes(struct.pack("<4sI4s", b"RIFF", 2**32 - 1, b"AVI ") + never + bytes(100))
    assert claimed_size(path) == 0


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
