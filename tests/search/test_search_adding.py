"""What is embedded and what is not: new, changed, moved, copied, broken and vanished files, and being stopped."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from faults import no_moov, text_as_mp4
from kinevec.data.files import find_records
from kinevec.encoders import Loaded
from kinevec.errors import DataError, Interrupted, OutputError, VideoError
from kinevec.search import embed as embedding
from kinevec.search.added import REJECTED, Added
from kinevec.search.adding import add
from kinevec.search.catalogue import clips
from kinevec.search.embed import VideoVectors
from kinevec.search.executor import Here, Job
from kinevec.search.index import Index
from kinevec.search.settings import Settings
from made_up import made_up
from numbered import numbered_video


class Counting:
    """An executor that makes vectors up, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.last = ""  # nothing is done after this video

    def __call__(
        self, jobs: Sequence[Job], on_clips: Callable[[int], None]
    ) -> Iterator[tuple[Job, VideoVectors | VideoError]]:
        for job in jobs:
            self.names.append(job.record.name)
            on_clips(job.clips)
            yield job, made_up(2, seed=int(job.hash[:6], 16))
            if job.record.name == self.last:
                raise Interrupted("enough")


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for i in range(4):
        numbered_video(folder / f"{i}.mp4", 10 + i, (32, 32))
    return folder


@pytest.fixture
def index(tmp_path: Path, loaded: Loaded) -> Iterator[Index]:
    with Index.create(tmp_path / "index", loaded, Settings()) as made:
        yield made


def again(index: Index, videos: Path, **more: object) -> tuple[Added, list[str]]:
    run = Counting()
    added = add(index, find_records(videos), videos, run, **more)  # type: ignore[arg-type]
    return added, run.names


def names(index: Index) -> list[str]:
    return sorted({one.name for one in clips(index)})


def test_only_what_is_new_or_changed_is_embedded(index: Index, videos: Path) -> None:
    told: list[tuple[int, int]] = []
    added, asked = again(index, videos, on_clips=lambda *now: told.append(now))
    assert asked == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]
    assert (added.embedded, added.clips, added.unchanged) == (4, 8, 0)
    assert told[-1][0] == told[-1][1]
    assert again(index, videos)[1] == []
    numbered_video(videos / "1.mp4", 30, (32, 32))
    numbered_video(videos / "new.mp4", 31, (32, 32))
    os.utime(videos / "2.mp4")  # touched only
    before = {one.video for one in clips(index) if one.name != "1.mp4"}
    added, asked = again(index, videos)
    assert asked == ["1.mp4", "new.mp4"]
    assert (added.embedded, added.unchanged) == (2, 3)
    assert names(index) == ["0.mp4", "1.mp4", "2.mp4", "3.mp4", "new.mp4"]
    assert before < {one.video for one in clips(index)}
    assert again(index, videos)[1] == []


def test_videos_shorter_than_a_clip_are_counted(tmp_path: Path, videos: Path, loaded: Loaded) -> None:
    """They have 10 to 13 frames, at 25 a second."""
    for length, short in ((0.4, 0), (0.45, 2), (9.0, 4)):
        with Index.create(tmp_path / str(length), loaded, Settings(length=length)) as made:
            added = add(made, find_records(videos), videos, device="cpu")
        assert added.looped == short
        assert any("shorter than a clip" in line for line in added.lines()) == bool(short)


def test_what_is_moved_keeps_its_vectors(index: Index, videos: Path) -> None:
    again(index, videos)
    before = {one.clip: (one.video, one.start) for one in clips(index)}
    (videos / "sub").mkdir()
    (videos / "0.mp4").rename(videos / "sub" / "renamed.mp4")
    added, asked = again(index, videos)
    assert (asked, added.moved, added.vanished) == ([], 1, [])
    assert names(index) == ["1.mp4", "2.mp4", "3.mp4", "sub/renamed.mp4"]
    assert {one.clip: (one.video, one.start) for one in clips(index)} == before
    assert index.locate(1) == (videos / "sub" / "renamed.mp4").resolve()


def test_labels_follow_the_list(index: Index, videos: Path) -> None:
    again(index, videos)
    (videos / "labels.csv").write_text("path,label,group,split\n0.mp4,jump,ann,train\n1.mp4,run,,\n")
    assert again(index, videos)[1] == []
    said = {one.name: (one.label, one.split) for one in clips(index)}
    assert said["0.mp4"] == ("jump", "train")
    assert said["1.mp4"] == ("run", None)
    assert index.video(1).group == "ann"


def test_copies_stand_for_each_other(index: Index, videos: Path) -> None:
    shutil.copy(videos / "0.mp4", videos / "also.mp4")  # both new at once
    added, asked = again(index, videos)
    assert asked == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]
    assert (added.embedded, added.copies) == (4, 1)
    shutil.copy(videos / "1.mp4", videos / "later.mp4")
    added, asked = again(index, videos)
    assert (asked, added.copies, added.unchanged) == ([], 2, 4)
    assert names(index) == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]
    (videos / "0.mp4").unlink()
    (videos / "3.mp4").unlink()
    added, asked = again(index, videos, prune=True)
    assert (asked, added.pruned) == ([], 2)
    assert names(index) == ["1.mp4", "2.mp4", "also.mp4"]  # the copy takes its place
    assert again(index, videos)[0].unchanged == 3


def test_a_copy_outlives_what_it_is_a_copy_of(index: Index, videos: Path) -> None:
    """Whether the original has other content now, cannot be read, or both files change at once."""
    for name in ("0", "1", "2"):
        shutil.copy(videos / f"{name}.mp4", videos / f"z{name}.mp4")
    assert again(index, videos)[0].copies == 3
    before = {one.name: one.clip for one in clips(index)}
    numbered_video(videos / "0.mp4", 30, (32, 32))
    (videos / "1.mp4").write_bytes(b"no video")
    for name, frames in (("2", 31), ("z2", 32)):
        numbered_video(videos / f"{name}.mp4", frames, (32, 32))
    assert again(index, videos)[1] == ["0.mp4", "2.mp4", "z2.mp4"]
    assert names(index) == ["0.mp4", "2.mp4", "3.mp4", "z0.mp4", "z1.mp4", "z2.mp4"]
    after = {one.name: one.clip for one in clips(index)}
    assert [after[f"z{name}.mp4"] for name in "01"] == [before[f"{name}.mp4"] for name in "01"]
    assert again(index, videos)[1] == []
    assert names(index) == ["0.mp4", "2.mp4", "3.mp4", "z0.mp4", "z1.mp4", "z2.mp4"]


def test_a_copy_that_breaks_is_no_result(index: Index, videos: Path) -> None:
    """Neither with what it is a copy of, nor before that changes."""
    for name in ("0", "1"):
        shutil.copy(videos / f"{name}.mp4", videos / f"z{name}.mp4")
    again(index, videos)
    for name in ("0", "z0", "z1"):
        (videos / f"{name}.mp4").write_bytes(b"no video")
    again(index, videos)
    assert names(index) == ["1.mp4", "2.mp4", "3.mp4"]
    numbered_video(videos / "1.mp4", 33, (32, 32))
    again(index, videos)
    assert names(index) == ["1.mp4", "2.mp4", "3.mp4"]
    assert len(index) == 6


def test_what_is_said_of_a_copy_holds_once_it_is_the_video(index: Index, videos: Path) -> None:
    shutil.copy(videos / "0.mp4", videos / "z.mp4")
    (videos / "labels.csv").write_text("path,label\n0.mp4,jump\nz.mp4,run\n")
    again(index, videos)
    numbered_video(videos / "0.mp4", 30, (32, 32))
    again(index, videos)
    assert {one.name: one.label for one in clips(index)} == {"0.mp4": "jump", "z.mp4": "run"}


def test_a_file_with_known_content_becomes_a_copy(index: Index, videos: Path) -> None:
    again(index, videos)
    shutil.copy(videos / "0.mp4", videos / "3.mp4")  # over another
    os.replace(videos / "1.mp4", videos / "2.mp4")  # likewise, by a move
    added, asked = again(index, videos)
    assert (asked, added.copies, added.moved) == ([], 1, 1)
    assert names(index) == ["0.mp4", "2.mp4"]
    assert again(index, videos)[1] == []
    (videos / "0.mp4").unlink()
    again(index, videos, prune=True)
    assert names(index) == ["2.mp4", "3.mp4"]


def test_what_is_gone_is_seen_where_all_that_is_there_is_new(index: Index, videos: Path) -> None:
    again(index, videos)
    for path in videos.glob("*.mp4"):
        path.unlink()
    numbered_video(videos / "new.mp4", 20, (32, 32))
    added, _ = again(index, videos, prune=True)
    assert (len(added.vanished), added.pruned) == (4, 4)
    assert names(index) == ["new.mp4"]


def test_what_is_gone_stays_until_it_is_pruned(index: Index, videos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    numbered_video(other / "o.mp4", 50, (32, 32))
    again(index, videos)
    again(index, other)
    for path in (videos / "2.mp4", other / "o.mp4"):
        path.unlink()
    added, _ = again(index, videos)
    assert (added.vanished, added.pruned, len(index)) == (["2.mp4"], 0, 10)
    assert any("--prune" in line for line in added.lines())
    added, _ = again(index, videos, prune=True)
    assert (added.pruned, len(index)) == (1, 8)
    assert names(index) == ["0.mp4", "1.mp4", "3.mp4", "o.mp4"]  # another folder is another matter
    single = add(index, find_records(videos / "1.mp4"), videos, Counting(), prune=True)
    assert (single.unchanged, single.pruned) == (1, 0)


def test_files_that_cannot_be_read_are_listed(index: Index, videos: Path) -> None:
    no_moov(videos / "broken.mp4")
    text_as_mp4(videos / "page.mp4")
    added, _ = again(index, videos)
    assert added.embedded == 4
    lines = (index.folder / REJECTED).read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["name", "broken.mp4", "page.mp4"]
    assert "moov" in lines[1]
    (videos / "page.mp4").unlink()
    numbered_video(videos / "broken.mp4", 20, (32, 32))
    text_as_mp4(videos / "0.mp4")  # what was good before
    added, asked = again(index, videos)
    assert (asked, [one.name for one in added.rejected]) == (["broken.mp4"], ["0.mp4"])
    assert names(index) == ["1.mp4", "2.mp4", "3.mp4", "broken.mp4"]


def test_a_file_that_cannot_be_looked_at_keeps_its_vectors(index: Index, videos: Path) -> None:
    again(index, videos)
    (videos / "labels.csv").write_text("path\n0.mp4\n1.mp4\n2.mp4\n3.mp4\n")
    (videos / "0.mp4").rename(videos / "aside")
    added, _ = again(index, videos)
    assert [one.reason for one in added.rejected] == ["is not there"]
    assert "0.mp4" in names(index)
    (videos / "aside").rename(videos / "0.mp4")
    added, asked = again(index, videos)
    assert (asked, added.unchanged) == ([], 4)
    assert added.rejected == []


def test_not_one_usable_video(index: Index, tmp_path: Path) -> None:
    text_as_mp4(tmp_path / "page.mp4")
    with pytest.raises(DataError, match=r"not one of 1 videos can be used; the first, page.mp4: is text"):
        again(index, tmp_path)


def test_a_name_that_is_no_text(index: Index, videos: Path) -> None:
    shutil.copy(videos / "0.mp4", os.fsencode(videos) + b"/\xff.mp4")
    added, _ = again(index, videos)
    assert (added.embedded, [one.reason for one in added.rejected]) == (
        4,
        ["has a name that is not UTF-8: rename it"],
    )


def test_what_was_finished_when_it_was_stopped_is_kept(index: Index, videos: Path) -> None:
    run = Counting()
    run.last = "1.mp4"
    text_as_mp4(videos / "page.mp4")
    with pytest.raises(Interrupted, match="enough"):
        add(index, find_records(videos), videos, run)
    assert names(index) == ["0.mp4", "1.mp4"]
    assert "page.mp4" in (index.folder / REJECTED).read_text()
    assert again(index, videos)[1] == ["2.mp4", "3.mp4"]


def test_ctrl_c_in_the_middle_of_a_video(
    index: Index, videos: Path, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def embed(
        path: Path, settings: Settings, encode: object, on_batch: Callable[[int, int], None]
    ) -> VideoVectors:
        asked.append(path.name)
        on_batch(1, 2)
        if path.name == "2.mp4":
            os.kill(os.getpid(), signal.SIGINT)
        on_batch(2, 2)
        assert path.name != "2.mp4"
        return made_up(2, seed=len(asked))

    monkeypatch.setattr("kinevec.search.executor.embed_video", embed)
    with pytest.raises(Interrupted, match="2 of 4 videos are embedded and safe; run the same again"):
        add(index, find_records(videos), videos, device="cpu")
    assert names(index) == ["0.mp4", "1.mp4"]
    assert asked == ["0.mp4", "1.mp4", "2.mp4"]


def test_two_at_once_are_refused(index: Index, videos: Path) -> None:
    with index.writer(), pytest.raises(OutputError, match="another process is changing this index"):
        again(index, videos)


def test_here_counts_clips_also_of_videos_that_fail(videos: Path, index: Index) -> None:
    jobs: list[Job] = []

    def catch(found: Sequence[Job], on_clips: object) -> Iterator[tuple[Job, VideoVectors | VideoError]]:
        jobs.extend(found)
        return iter(())

    with pytest.raises(DataError):
        add(index, find_records(videos), videos, catch)
    text_as_mp4(videos / "1.mp4")
    counts: list[int] = []
    results = list(Here(index.settings, index.encoder("cpu"))(jobs, counts.append))
    assert sum(counts) == sum(job.clips for job in jobs)
    assert isinstance(results[1][1], VideoError)
    found = results[0][1]
    assert isinstance(found, VideoVectors)
    alone = embedding.embed_video(videos / "0.mp4", index.settings, index.encoder("cpu"))
    np.testing.assert_array_equal(found.full, alone.full)
