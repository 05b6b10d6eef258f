"""A folder is prepared once: nothing is done twice or lost without a word."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import av
import pytest

import faults
from faults import numbered_video
from kinevec.data.container import Opened
from kinevec.data.files import find_records
from kinevec.data.manifest import read_manifest
from kinevec.data.prepare import PrepareConfig, prepare
from kinevec.data.records import Record
from kinevec.errors import DataError, OutputError
from preparing import SMALL, clean, make_videos, names, rejected, run, state

# ---------------------------------------------------------------- the ordinary case


def test_a_mixture_of_files_is_sorted_into_good_and_bad(tmp_path: Path) -> None:
    videos = make_videos(tmp_path / "videos", "a.mp4", "日本 ☃.mp4", "n" * 240 + ".mp4")
    faults.zero_byte(videos / "empty.mp4")
    faults.truncated_mp4(videos / "cut.mp4")
    faults.one_frame(videos / "still.mp4")
    faults.symlink_loop(videos / "loop")
    with suppress(OSError):  # not every file system takes such a name
        shutil.copy(videos / "a.mp4", os.fsencode(videos) + b"/b\xff.mp4")
    seen: list[tuple[int, int]] = []
    records = find_records(videos)
    summary = prepare(
        records, tmp_path / "out", SMALL, workers=0, progress=lambda done, total: seen.append((done, total))
    )
    good = [
        record.name for record in records if not record.name.startswith(("b", "cut", "empty", "loop/self"))
    ]
    assert names(tmp_path / "out") == good
    kinds = {name: kind for name, (kind, _) in rejected(tmp_path / "out").items()}
    expected = {"cut.mp4": "damaged", "empty.mp4": "empty", "loop/self.mp4": "unreadable"}
    if len(records) == 9:
        expected["b\\udcff.mp4"] = "bad-name"
    assert kinds == expected
    assert seen[-1] == (len(records), len(records))
    assert (summary.videos, summary.new, summary.single) == (5, 5, 1)
    assert summary.frames == 6 + 7 + 8 + 30 + 1
    text = "\n".join(summary.lines())
    assert "5 videos are ready (5 of them new): 52 frames" in text
    assert "1 of them have a single frame" in text
    assert "1 damaged: does not decode to its end" in text
    assert "loop/self.mp4" not in text
    clean(tmp_path / "out")


def test_records_keep_their_labels_groups_and_splits(tmp_path: Path) -> None:
    videos = make_videos(tmp_path / "videos", "a.mp4", "b.mp4")
    (videos / "labels.csv").write_text("path,label,group,split\na.mp4,jump,ann,train\nb.mp4,,,\n")
    run(videos, tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    place = manifest.record(0).path
    assert manifest.record(0) == Record(place, "a.mp4", "jump", "ann", "train")
    assert manifest.record(1) == Record(manifest.record(1).path, "b.mp4")
    assert manifest.source(0) == videos / "a.mp4"
    made = json.loads((tmp_path / "out" / "prepare.json").read_text())
    assert made["settings"]["short_side"] == 32
    assert made["kinevec"]


def test_originals_can_stay_where_they_are(tmp_path: Path) -> None:
    videos = make_videos(tmp_path / "videos", "a.mp4")
    summary = run(videos, tmp_path / "out", PrepareConfig(store="none", motion="none"))
    manifest = read_manifest(tmp_path / "out")
    assert manifest.record(0).path == videos / "a.mp4"
    assert not (tmp_path / "out" / "videos").exists()
    assert summary.size == (videos / "a.mp4").stat().st_size


def test_nothing_usable_is_an_error_with_the_first_reason(tmp_path: Path) -> None:
    faults.zero_byte(tmp_path / "a.mp4")
    with pytest.raises(DataError, match=r"not one of 1 files can be used; the first, a.mp4: empty file"):
        run(tmp_path / "a.mp4", tmp_path / "out")
    assert "a.mp4" in rejected(tmp_path / "out")
    with pytest.raises(DataError, match="no videos"):
        prepare([], tmp_path / "out", SMALL, workers=0)


def test_names_must_be_unique(tmp_path: Path) -> None:
    record = Record(tmp_path / "a.mp4", "a.mp4")
    with pytest.raises(DataError, match=r"1 names stand for two files each: a\.mp4"):
        prepare([record, record], tmp_path / "out", SMALL, workers=0)


def test_the_output_among_the_videos_is_not_prepared_again(tmp_path: Path) -> None:
    videos = make_videos(tmp_path, "a.mp4", "b.mp4")
    run(videos, tmp_path / "out")
    summary = run(videos, tmp_path / "out")
    assert (summary.videos, summary.new, summary.inside) == (
        2,
        0,
        0,
    )  # nobody takes prepared files for videos
    assert names(tmp_path / "out") == ["a.mp4", "b.mp4"]
    with (tmp_path / "list.csv").open("w") as file:
        prepared = sorted((tmp_path / "out" / "videos").rglob("*.mp4"))
        file.writelines(f"{path}\n" for path in ("path", "a.mp4", "b.mp4", *prepared))
    for out in (tmp_path / "out", tmp_path / "x" / ".." / "out", link(tmp_path / "link", tmp_path / "out")):
        summary = run(tmp_path / "list.csv", out)
        assert (summary.videos, summary.new, summary.inside) == (2, 0, 2)


def link(path: Path, target: Path) -> Path:
    path.parent.joinpath("x").mkdir(exist_ok=True)
    path.symlink_to(target)
    return path


def test_an_original_that_breaks_is_listed_where_nothing_is_stored(tmp_path: Path) -> None:
    videos, out = make_videos(tmp_path / "videos", "a.mp4", "b.mp4"), tmp_path / "out"
    config = PrepareConfig(store="none", motion="none")
    run(videos, out, config)
    (videos / "b.mp4").write_bytes((videos / "b.mp4").read_bytes()[:900])
    for _ in range(2):
        assert run(videos, out, config).videos == 1
    assert "b.mp4,damaged" in (out / "rejected.csv").read_text()


@pytest.mark.parametrize("code", [errno.ESTALE, errno.ENOMEM])
def test_what_may_pass_is_tried_again(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share that goes away, or memory that is short, is no fault of the file."""
    videos, out = make_videos(tmp_path / "videos", "a.mp4", "b.mp4"), tmp_path / "out"
    decode = Opened.decode

    def failing(self: Opened) -> Iterator[av.VideoFrame]:
        for number, frame in enumerate(decode(self)):
            if number == 3 and self.path.name == "b.mp4":
                av.error.err_check(-code)
            yield frame

    monkeypatch.setattr(Opened, "decode", failing)
    config = PrepareConfig(motion="none")
    assert run(videos, out, config).videos == 1
    assert "b.mp4,damaged" not in (out / "rejected.csv").read_text()
    monkeypatch.undo()
    assert run(videos, out, config).videos == 2


# ---------------------------------------------------------------- again


def test_a_second_run_does_only_what_is_new(tmp_path: Path) -> None:
    videos, out = make_videos(tmp_path / "videos", "a.mp4", "b.mp4"), tmp_path / "out"
    faults.truncated_mp4(videos / "cut.mp4")
    run(videos, out)
    before = state(out)
    lines = (out / "journal.jsonl").read_bytes()
    assert run(videos, out).new == 0
    assert (out / "journal.jsonl").read_bytes() == lines  # the damaged file was not read again either
    make_videos(videos, "c.mp4")
    summary = run(videos, out)
    assert (summary.videos, summary.new) == (3, 1)
    after = state(out)
    assert before.items() <= after.items()
    assert len(after) == 3
    clean(out)


def test_a_changed_file_is_done_again_and_a_touched_one_is_not(tmp_path: Path) -> None:
    videos, out = make_videos(tmp_path / "videos", "a.mp4", "b.mp4", "c.mp4"), tmp_path / "out"
    run(videos, out)
    before = state(out)
    os.utime(videos / "a.mp4")
    numbered_video(videos / "b.mp4", 20, (48, 40))
    content = bytearray((videos / "c.mp4").read_bytes())
    content[-1] ^= 1  # the same size: only the hash tells
    (videos / "c.mp4").write_bytes(content)
    summary = run(videos, out)
    assert (summary.videos, summary.new) == (3, 2)
    after = state(out)
    assert len(before.items() & after.items()) == 1
    assert read_manifest(out).frames.tolist() == [6, 20, 8]
    clean(out)  # the files that were replaced are gone
    assert run(videos, out).new == 0


def test_a_file_that_breaks_leaves_the_manifest_and_comes_back_when_it_is_mended(tmp_path: Path) -> None:
    videos, out = make_videos(tmp_path / "videos", "a.mp4", "b.mp4"), tmp_path / "out"
    content = (videos / "a.mp4").read_bytes()
    run(videos, out)
    (videos / "a.mp4").write_bytes(b"")
    run(videos, out)
    assert names(out) == ["b.mp4"]
    assert rejected(out)["a.mp4"][0] == "empty"
    (videos / "a.mp4").write_bytes(content)
    summary = run(videos, out)
    assert names(out) == ["a.mp4", "b.mp4"]
    assert rejected(out) == {}
    assert summary.vanished == ()
    clean(out)


def test_a_file_that_vanishes_is_dropped_and_named(tmp_path: Path) -> None:
    videos, out = make_videos(tmp_path / "videos", "a.mp4", "b.mp4"), tmp_path / "out"
    records = find_records(videos)
    run(videos, out)
    before = state(out)
    (videos / "a.mp4").rename(tmp_path / "elsewhere.mp4")
    summary = run(videos, out)
    assert summary.vanished == ("a.mp4",)
    assert "1 videos are gone from the source and from the manifest: a.mp4" in "\n".join(summary.lines())
    assert names(out) == ["b.mp4"]
    prepare(records, out, SMALL, workers=0)  # listed, but not there
    assert rejected(out)["a.mp4"] == ("missing", "is not there")
    (tmp_path / "elsewhere.mp4").rename(videos / "a.mp4")
    assert run(videos, out).new == 0  # it was still known
    assert state(out) == before


def test_a_prepared_file_that_is_lost_or_cut_is_made_again(tmp_path: Path) -> None:
    videos, out = make_videos(tmp_path / "videos", "a.mp4", "b.mp4", "c.mp4"), tmp_path / "out"
    run(videos, out)
    manifest = read_manifest(out)
    manifest.record(0).path.unlink()
    manifest.record(1).path.write_bytes(b"half")
    assert run(videos, out).new == 2
    clean(out)


def test_a_line_of_the_journal_that_is_cut_or_damaged_is_not_believed(tmp_path: Path) -> None:
    videos, out = make_videos(tmp_path / "videos", "a.mp4", "b.mp4", "c.mp4"), tmp_path / "out"
    run(videos, out)
    journal = out / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + b"{broken}\n" + lines[2][:-20])
    summary = run(videos, out)
    assert (summary.videos, summary.new) == (3, 2)
    assert run(videos, out).new == 0
    clean(out)


def test_other_settings_are_refused_with_the_differences(tmp_path: Path) -> None:
    videos, out = make_videos(tmp_path / "videos", "a.mp4"), tmp_path / "out"
    run(videos, out)
    with pytest.raises(OutputError, match=r"other settings \(quality: 20 → 23; short_side: 32 → 64\)\. Use"):
        run(videos, out, replace(SMALL, short_side=64, quality=23))


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    videos = make_videos(tmp_path / "videos", "a.mp4")
    with pytest.raises(OutputError, match="the videos lie in the output folder itself"):
        run(videos, videos)
    assert [path.name for path in videos.iterdir()] == ["a.mp4"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(OutputError, match="not empty, and what it holds was not prepared here"):
        run(videos, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        run(videos, tmp_path / "file")


def test_two_at_a_time_are_refused(tmp_path: Path) -> None:
    videos, out = make_videos(tmp_path / "videos", "a.mp4"), tmp_path / "out"
    errors: list[BaseException] = []

    def second(done: int, total: int) -> None:
        with pytest.raises(OutputError, match="another process is preparing videos here") as caught:
            run(videos, out)
        errors.append(caught.value)

    run(videos, out, progress=second)
    assert errors
    clean(out)
