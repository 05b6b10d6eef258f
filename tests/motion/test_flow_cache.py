"""Cached flow: what it holds, when it is refused, and that nothing is computed twice."""

import csv
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from faults import numbered_video
from kinevec.config import Flow
from kinevec.data.manifest import read_manifest
from kinevec.data.prepare import flow as job
from kinevec.data.prepare.flow import FlowSummary, build_cache
from kinevec.data.prepare.workers import Died
from kinevec.data.source import FileSource
from kinevec.errors import DataError, InputError, Interrupted, OutputError, UsageError, VideoError, WorkError
from kinevec.motion import cache as module
from kinevec.motion.cache import FlowCache, has_cache, open_cache
from kinevec.motion.cache_settings import Settings
from kinevec.motion.frames import clip_flow
from kinevec.motion.statistics import color_differential
from preparing import SMALL, make_videos, run

FLOW = Flow(method="dis-fast", gap=2, short_side=32)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A prepared folder of videos of 6, 7, 8 and 1 frames."""
    videos = make_videos(tmp_path / "videos", "a.mp4", "b.mp4", "c.mp4")
    numbered_video(videos / "one.mp4", 1, (48, 40))
    run(videos, tmp_path / "data")
    return tmp_path / "data"


def build(data: Path, flow: Flow = FLOW, **options: object) -> FlowSummary:
    return build_cache(data, flow, **({"workers": 0} | options))  # type: ignore[arg-type]


def opened(data: Path, flow: Flow = FLOW) -> FlowCache:
    return open_cache(data, read_manifest(data), flow)


def entries(data: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of every file of cached flow."""
    files = (data / "flow").rglob("*.flow")
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def test_holds_the_flow_of_every_frame(data: Path) -> None:
    seen: list[tuple[int, int]] = []
    summary = build(data, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    manifest = read_manifest(data)
    cache = open_cache(data, manifest, FLOW)
    assert len(cache) == 4
    for reader in (cache, pickle.loads(pickle.dumps(cache))):
        for index in range(4):
            numbers = list(range(manifest.frames[index]))
            exact = clip_flow(FileSource(manifest), index, numbers, FLOW)
            got = reader.read(index, numbers[::-1])[::-1]
            assert got.shape == exact.shape == (len(numbers), 2, 32, 38)
            largest = np.abs(exact).max((1, 2, 3), keepdims=True)
            assert (np.abs(got - exact) <= largest / 254 * (1 + 1e-5)).all()
            known = max(len(numbers) - FLOW.gap - 1, 0)
            np.testing.assert_allclose(
                reader.change(index)[:known], color_differential(exact)[:known], rtol=1e-5
            )
    assert np.abs(cache.read(0, [0])).max() > 0
    assert (summary.videos, summary.new, summary.rejected) == (4, 4, ())
    sizes = [path.stat().st_size for path in (data / "flow").rglob("*.flow")]
    assert summary.size == sum(sizes) == sum(20 + s * (2 * 32 * 38 + 8) for s in (4, 5, 6, 1))
    assert summary.folder.name == f"dis-fast-gap2-32px-opencv{Settings.of(FLOW).opencv}"
    assert "the flow of 4 videos is cached (4 new)" in summary.lines()[0]
    assert "GB an hour of video" in summary.lines()[0]


def test_a_part_of_the_videos_reads_its_own(data: Path) -> None:
    build(data)
    manifest = read_manifest(data)
    part = open_cache(data, manifest.take([1, 2]), FLOW)
    np.testing.assert_array_equal(part.read(1, [3]), opened(data).read(2, [3]))


def test_nothing_is_computed_twice(data: Path) -> None:
    build(data)
    before = entries(data)
    assert len(before) == 4
    seen: list[tuple[int, int]] = []
    again = build(data, progress=lambda done, total: seen.append((done, total)))
    assert (again.videos, again.new) == (4, 0)
    assert seen == [(4, 4)]
    assert entries(data) == before


def test_a_process_of_its_own_makes_no_difference(data: Path) -> None:
    build(data)
    files = {path.name: path.read_bytes() for path in (data / "flow").rglob("*.flow")}
    for path in (data / "flow").rglob("*.flow"):
        path.unlink()
    build(data, workers=1)
    assert {path.name: path.read_bytes() for path in (data / "flow").rglob("*.flow")} == files


def test_copies_share_a_file(tmp_path: Path) -> None:
    videos = make_videos(tmp_path / "videos", "a.mp4", "b.mp4")
    (videos / "copy.mp4").write_bytes((videos / "a.mp4").read_bytes())
    run(videos, tmp_path / "data")
    summary = build(tmp_path / "data")
    assert (summary.videos, summary.new, len(entries(tmp_path / "data"))) == (3, 2, 2)
    cache = opened(tmp_path / "data")
    np.testing.assert_array_equal(cache.read(0, [1]), cache.read(2, [1]))


def test_is_found_where_the_folder_was_moved(data: Path) -> None:
    build(data)
    expected = opened(data).read(0, [1])
    moved = data.rename(data.with_name("elsewhere"))
    for video in (moved / "videos").rglob("*.mp4"):
        os.utime(video, (1, 1))  # as after a copy
    np.testing.assert_array_equal(opened(moved).read(0, [1]), expected)


def test_other_content_or_settings_of_preparing_are_other_videos(data: Path, tmp_path: Path) -> None:
    build(data)
    videos = tmp_path / "videos"
    numbered_video(videos / "b.mp4", 9, (48, 40))
    run(videos, data)
    with pytest.raises(
        DataError, match=r"flow of 1 of 4 videos is not cached \(b\.mp4\): run `kinevec flow .*gap 2"
    ):
        opened(data)
    assert build(data).new == 1
    opened(data)
    run(videos, tmp_path / "finer", SMALL.__class__(short_side=40, motion="none"))
    names = set(module.entry_names(read_manifest(data)))
    assert not names & set(module.entry_names(read_manifest(tmp_path / "finer")))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            Flow(method="dis-fast", gap=4, short_side=32),
            r"flow was cached with method dis-fast, gap 2, short_side 32, opencv \d; this run wants gap 4: "
            r"run `kinevec flow .*data --method dis-fast --gap 4 --short-side 32`, or set flow\.store=none",
        ),
        (
            Flow(method="dis", gap=8, short_side=128),
            r"this run wants method dis, gap 8, short_side 128: run `kinevec flow .*data`",
        ),
    ],
)
def test_other_settings_are_refused(wanted: Flow, message: str, data: Path) -> None:
    build(data)
    with pytest.raises(DataError, match=message):
        opened(data, wanted)


def test_another_opencv_is_refused(data: Path) -> None:
    build(data)
    settings = next((data / "flow").glob("*/settings.json"))
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"opencv": "3"}))
    with pytest.raises(DataError, match=r"cached with .*opencv 3; this run wants opencv \d"):
        opened(data)


def test_one_folder_holds_flow_of_several_settings(data: Path) -> None:
    other = Flow(method="dis-fast", gap=1, short_side=32)
    assert not has_cache(data)
    build(data)
    build(data, other)
    assert has_cache(data)
    assert not np.array_equal(opened(data).read(0, [0]), opened(data, other).read(0, [0]))
    with pytest.raises(DataError, match=r"gap 1, .* or .*gap 2, .*; this run wants gap 3"):
        opened(data, Flow(method="dis-fast", gap=3, short_side=32))


def test_no_cache_at_all(data: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no flow was cached; run `kinevec flow .*data --method dis-fast --gap 2"
    ):
        opened(data)
    with pytest.raises(InputError, match="kinevec prepare"):
        build(tmp_path / "videos")


def test_a_file_that_is_missing_or_damaged(data: Path) -> None:
    build(data)
    manifest, cache = read_manifest(data), opened(data)
    paths = [module.entry_path(cache.folder, name) for name in module.entry_names(manifest)]
    paths[0].write_bytes(paths[0].read_bytes()[: -(2 * 32 * 38 + 8)])  # as a whole block of one field less
    paths[1].write_bytes(b"")
    paths[2].write_bytes(b"something else altogether")
    paths[3].unlink()
    for index in range(4):
        with pytest.raises(VideoError, match=r"\.flow: cached flow is not there any more, or damaged \("):
            cache.read(index, [0])
    with pytest.raises(DataError, match=r"flow of 1 of 4 videos is not cached \(one\.mp4\)"):
        opened(data)


def test_videos_that_cannot_be_read_are_listed_and_tried_again(data: Path) -> None:
    manifest = read_manifest(data)
    video = manifest.record(1).path
    good = video.read_bytes()
    video.write_bytes(good[:-1])
    summary = build(data)
    assert [(item.name, item.reason) for item in summary.rejected] == [
        ("b.mp4", "was changed since it was prepared: run kinevec prepare again")
    ]
    assert (summary.videos, summary.new) == (3, 3)
    assert "1 videos cannot be read" in summary.lines()[1]
    with (summary.folder / "rejected.csv").open(newline="") as file:
        assert [(row["name"], row["reason"][:11]) for row in csv.DictReader(file)] == [
            ("b.mp4", "was changed")
        ]
    cache = opened(data)
    cache.read(0, [0])
    with pytest.raises(VideoError, match="has no flow: was changed since"):
        cache.read(1, [0])
    video.write_bytes(bytes(len(good)))
    assert "zeros only" in build(data).rejected[0].reason
    video.unlink()
    assert "No such file" in build(data).rejected[0].reason
    video.write_bytes(good)
    assert (build(data).new, build(data).rejected) == (1, ())
    opened(data).read(1, [0])


def test_not_one_video(data: Path) -> None:
    manifest = read_manifest(data)
    for index in range(4):
        manifest.record(index).path.unlink()
    with pytest.raises(DataError, match=r"flow of none of 4 videos can be computed; a\.mp4: "):
        build(data)


def test_a_method_that_cannot_be_used_stops_at_once(data: Path) -> None:
    with pytest.raises(UsageError, match="weights"):
        build(data, Flow(method="raft"))
    with pytest.raises(ValueError, match="workers is -1"):
        build(data, workers=-1)


def test_stopped_by_the_caller(data: Path) -> None:
    stop = threading.Event()
    with pytest.raises(
        Interrupted, match=r"stopped: 2 of 4 videos are finished and safe; run the same again"
    ):
        build(data, stop=stop, progress=lambda done, _: stop.set() if done == 2 else None)
    before = entries(data)
    assert len(before) == 2
    assert build(data).new == 2
    assert before.items() <= entries(data).items()


def test_stops_in_the_middle_of_a_video(data: Path) -> None:
    source = job._Stoppable(read_manifest(data), lambda: True)
    with pytest.raises(job.Stopped):
        source.read(0, [0])


SCRIPT = """
import sys
from pathlib import Path
from kinevec.config import Flow
from kinevec.data.prepare.flow import build_cache
if __name__ == "__main__":
    build_cache(Path(sys.argv[1]), Flow(method="dis-fast", gap=2, short_side=32), workers=0)
"""


def test_killed_without_warning(tmp_path: Path) -> None:
    videos = make_videos(tmp_path / "videos", *(f"{i}.mp4" for i in range(6)))
    numbered_video(videos / "5.mp4", 800, (48, 40))  # the others are finished long before it
    data = tmp_path / "data"
    run(videos, data)
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, tmp_path / "script.py", data], start_new_session=True)
    try:
        end = time.monotonic() + 300
        while not (len(entries(data)) == 5 and list((data / "flow").rglob(".*.part"))):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.002)
        with pytest.raises(OutputError, match="another process is computing flow here"):
            build(data)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    before = entries(data)
    assert len(before) == 5
    assert list((data / "flow").rglob(".*.part"))
    with pytest.raises(DataError, match=r"flow of 1 of 6 videos is not cached \(5\.mp4\)"):
        opened(data)
    assert build(data).new == 1
    assert before.items() <= entries(data).items()
    assert not list((data / "flow").rglob("*.part"))
    opened(data)


def test_a_full_disk_keeps_what_is_finished(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    real = module.write_block

    def fill(file: object, *args: object, **options: object) -> object:
        written.append(Path(file.name))  # type: ignore[attr-defined]
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        return real(file, *args, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_block", fill)
        with pytest.raises(
            OutputError, match=r"No space left on device; 2 of 4 videos are finished .*lower the short side"
        ):
            build(data)
    assert len(entries(data)) == 2
    assert not any(path.exists() for path in written)
    assert build(data).new == 2


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_worker_that_dies(number: int, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = job.run_jobs

    def dying(task: object, jobs: list[object], workers: int, stop: threading.Event) -> object:
        yield jobs[0], Died(-number)
        yield from real(task, jobs[1:], workers, stop)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(job, "run_jobs", dying)
        if number == signal.SIGKILL:
            with pytest.raises(
                WorkError, match=r"worker died \(SIGKILL, out of memory\?\) at the flow of .*/a-"
            ):
                build(data)
        else:
            assert [item.reason for item in build(data).rejected] == ["brought the decoder down (SIGSEGV)"]
    assert build(data).rejected == ()
