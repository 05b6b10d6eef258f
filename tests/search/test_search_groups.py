"""Groups without labels, the map, the page that shows them, and what a person says of clips."""

import csv
import io
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from faults import variable_frame_rate
from kinevec.data.decode import iter_frames, probe
from kinevec.data.files import find_records
from kinevec.data.prepare.check import Stamp
from kinevec.data.records import Record
from kinevec.encoders import Loaded
from kinevec.errors import ConfigError, DataError, InputError, OutputError
from kinevec.search.adding import add
from kinevec.search.catalogue import clips, place, points
from kinevec.search.clustering import cluster, lay_out
from kinevec.search.embed import VideoVectors
from kinevec.search.filters import Filter
from kinevec.search.index import Index
from kinevec.search.labels import Part, _cut_out, set_label, write_labels
from kinevec.search.number import KS
from kinevec.search.query import find_clip, query_clip
from kinevec.search.ranking import search
from kinevec.search.settings import Settings
from kinevec.search.sheet import FRAMES, write_groups, write_sheet
from made_up import made_up
from numbered import numbered_video, read_number

Fill = Callable[..., Index]
PLANTED = (80, 50, 30, 20)  # clips in each of the groups, 5 in a video


def planted(seed: int, group: int, by: str) -> VideoVectors:
    """Five clips whose motion, or whose look, is that of a group, and whose other part is noise."""
    made = made_up(5, seed=seed)
    assert made.static is not None
    centre = 30 * np.eye(128, dtype=np.float32)[group]
    static = made.static + (centre if by == "appearance" else 0)
    motion = made.full - made.static + (centre if by == "motion" else 0)
    return replace(made, static=static, full=static + motion)


@pytest.fixture
def index(fill: Fill, tmp_path: Path, request: pytest.FixtureRequest) -> Index:
    by = getattr(request, "param", "motion")
    made = fill([])
    with made.writer() as writer:
        for group, size in enumerate(PLANTED):
            for i in range(size // 5):
                seed = 100 * group + i
                record = Record(tmp_path / f"{seed}.mp4", f"{seed}.mp4", label=f"<{group}>")
                writer.put(
                    record, writer.root(str(tmp_path)), Stamp(1, 1), f"{seed}", planted(seed, group, by)
                )
    return made


@pytest.mark.parametrize("index", ["motion", "appearance"], indirect=True)
def test_planted_groups_are_found(index: Index, request: pytest.FixtureRequest) -> None:
    by = request.node.callspec.params["index"]
    found = cluster(index, mode=by)
    assert found.count == 4
    assert found.strengths is not None
    assert found.strengths[4] == 1
    assert set(found.strengths) == {k for k in KS if k <= 30}
    assert np.bincount(found.groups).tolist() == sorted(PLANTED, reverse=True)
    known = {one.clip: one for one in clips(index, limit=999)}
    for group, examples in enumerate(found.examples):
        members = [known[clip] for clip in found.clips[found.groups == group].tolist()]
        assert {one.label for one in members} == {f"<{group}>"}
        assert set(examples) <= {one.clip for one in members}
        videos = len({one.video for one in members})
        assert len({known[clip].video for clip in examples}) == min(6, videos)
    again = cluster(index, mode=by)
    assert (again.groups == found.groups).all()
    given = cluster(index, mode=by, count=3)
    assert (given.count, given.strengths) == (3, None)


def test_the_other_part_of_the_vectors_does_not_matter(index: Index) -> None:
    assert np.bincount(cluster(index, count=4).groups).tolist() == [80, 50, 30, 20]  # motion, by default
    assert np.bincount(cluster(index, count=4, mode="appearance").groups).tolist() != [80, 50, 30, 20]


def test_the_map_is_that_of_a_singular_value_decomposition() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 9)) * np.arange(1, 10)
    found = lay_out(x.astype(np.float32), "pca")
    left, values, axes = np.linalg.svd(x - x.mean(0), full_matrices=False)
    plane = (left * values)[:, :2]
    for i in range(2):
        plane[:, i] *= np.sign(axes[i, np.abs(axes[i]).argmax()])
    plane -= (plane.max(0) + plane.min(0)) / 2
    np.testing.assert_allclose(found, plane / np.abs(plane).max(), atol=1e-5)
    assert np.abs(found).max() == 1


def test_umap_needs_its_extra(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ConfigError, match=re.escape("pip install 'kinevec[map]'")):
        cluster(index, count=2, plane="umap")


def test_groups_and_map_are_kept(index: Index) -> None:
    found = cluster(index, count=4)
    assert found.plane is not None
    place(index, found.clips, found.groups, found.plane)
    kept = points(index)
    assert (kept["clip"] == found.clips).all()
    np.testing.assert_array_equal(np.stack([kept["x"], kept["y"]], 1), found.plane)
    assert (kept["cluster"] == found.groups).all()
    assert len(points(index, Filter(cluster=1))) == 50
    assert {
        hit.label for hit in search(index, query_clip(index, 1), only=Filter(cluster=2), limit=99).hits
    } == {"<2>"}
    place(index, found.clips[:5], found.groups[:5], None)
    assert len(points(index)) == 180  # the map stays
    assert len(points(index, Filter(cluster=0))) == 5


def test_too_few_clips(fill: Fill) -> None:
    with pytest.raises(DataError, match="2 clips cannot make several groups"):
        cluster(fill([2]))


@pytest.fixture
def shown(fill: Fill, tmp_path: Path) -> Index:
    """Three videos that are there, of 30 frames at 25 a second: clips of 0.4 s every 0.2 s."""
    for i in range(3):
        numbered_video(tmp_path / f"<{i}>.mp4", 30, (64, 64))
    made = fill([])
    with made.writer() as writer:
        for i in range(3):
            record = Record(tmp_path / f"<{i}>.mp4", f"<{i}>.mp4", group="ann" if i == 1 else None)
            vectors = replace(made_up(5, seed=i, hop=0.2, length=0.4), seconds=1.2)
            writer.put(record, writer.root(str(tmp_path)), Stamp(1, i), f"{i}", vectors)
    return made


def test_the_page_shows_strips_and_the_list_all_clips(shown: Index, tmp_path: Path) -> None:
    found = cluster(shown, count=2)
    place(shown, found.clips, found.groups, found.plane)
    (tmp_path / "<2>.mp4").unlink()
    write_sheet(shown, found, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text("utf-8")
    total = sum(map(len, found.examples))
    assert (
        page.count("<figure>")
        == total
        == page.count("data:image/jpeg;base64,") + page.count('class="missing"')
    )
    assert page.count('class="missing"') >= 1
    assert "&lt;0&gt;.mp4" in page
    assert "<0>" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert f"{FRAMES} moments" in page
    assert (
        resources.files("kinevec.show").joinpath("report.css").read_text("utf-8") in page
    )  # as other pages look
    assert all(f"clip {clip} · " in page for example in found.examples for clip in example)
    write_groups(shown, found, tmp_path / "a.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text("utf-8"))))
    assert len(rows) == 15
    assert [int(row["group"]) for row in rows] == sorted(found.groups.tolist())
    nearness = [float(row["nearness"]) for row in rows if row["group"] == "0"]
    assert nearness == sorted(nearness, reverse=True)


def test_labels_make_a_list_that_training_reads(shown: Index, tmp_path: Path) -> None:
    known = {(one.name, round(one.start, 1)): one.clip for one in clips(shown, limit=99)}
    version = shown.store.version
    assert set_label(shown, [known["<0>.mp4", 0.2], known["<0>.mp4", 0.4], 999], "  jump \n up ") == 2
    set_label(shown, [known["<0>.mp4", 0.8]], "run")
    set_label(shown, [clip for (name, _), clip in known.items() if name == "<1>.mp4"], "walk")
    set_label(shown, [known["<2>.mp4", 0.0], known["<2>.mp4", 0.6]], "jump up")
    set_label(shown, [known["<2>.mp4", 0.6]], None)
    assert shown.store.version == version  # vectors need not be read again
    assert [one.start for one in clips(shown, Filter(labels=("jump up",), text="0"))] == [0.2, 0.4]
    # the whole of <1> is labelled from 0 to 1.2 s: the file itself is listed
    with shown.store.transaction() as database:
        database.execute("UPDATE labels SET stop = 1.2 WHERE video = 2 AND start > 0.75")
    done = write_labels(shown, tmp_path / "lists" / "mine.csv")
    assert (done.parts, done.failed) == (4, {})
    records = find_records(done.path)
    said = {(record.label, record.group): record.path for record in records}
    assert set(said) == {("jump up", "<0>.mp4"), ("run", "<0>.mp4"), ("walk", "ann"), ("jump up", "<2>.mp4")}
    assert said["walk", "ann"] == tmp_path / "<1>.mp4"
    frames = [read_number(frame) for frame in iter_frames(said["jump up", "<0>.mp4"])]
    assert frames == list(range(5, 20))  # 0.2 to 0.8 s at 25 a second
    assert probe(said["jump up", "<0>.mp4"]).fps == pytest.approx(25)
    assert [read_number(frame) for frame in iter_frames(said["run", "<0>.mp4"])] == list(range(20, 30))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "lists" / "mine").iterdir()}
    write_labels(shown, tmp_path / "lists" / "mine.csv")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "lists" / "mine").iterdir()} == before
    assert len(before) == 3


def test_labels_that_are_none(shown: Index, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no clip has been given a label"):
        write_labels(shown, tmp_path / "a.csv")
    for label in (" \n", "x" * 201):
        with pytest.raises(InputError, match="1 to 200 letters"):
            set_label(shown, [1], label)


def test_a_part_without_a_frame_is_the_frame_nearest_to_it(tmp_path: Path) -> None:
    """A camera that sends frames on motion alone leaves gaps longer than a clip."""
    info = probe(variable_frame_rate(tmp_path / "a.mp4"))
    gap = int(np.argmax(np.diff(info.times)))
    middle = info.times[gap] + np.diff(info.times)[gap] * 0.6
    part = Part(1, float(middle), float(middle) + 1e-4, "run")
    _cut_out(info, part, tmp_path / "part.mp4")
    shown = list(iter_frames(tmp_path / "part.mp4"))
    assert [read_number(frame) for frame in shown] == [gap + 1]


def test_a_part_that_cannot_be_cut_out_is_named(shown: Index, tmp_path: Path) -> None:
    set_label(shown, [1, 6], "run")
    (tmp_path / "<0>.mp4").unlink()
    done = write_labels(shown, tmp_path / "a.csv")
    assert (done.parts, list(done.failed)) == (1, ["<0>.mp4"])
    with pytest.raises(OutputError):
        write_labels(shown, tmp_path / "a.csv" / "b.csv")


def test_videos_of_one_name_from_two_folders_are_cut_into_their_own_files(
    tmp_path: Path, loaded: Loaded
) -> None:
    for camera, shift in (("cam1", 0), ("cam2", 7)):
        (tmp_path / camera).mkdir()
        numbered_video(tmp_path / camera / "1.mp4", 40 + shift, (32, 32))
    with Index.create(tmp_path / "index", loaded, Settings(length=0.4)) as index:
        for camera in ("cam1", "cam2"):
            add(index, find_records(tmp_path / camera), tmp_path / camera, device="cpu")
        firsts = [find_clip(index, f"{camera}/1.mp4", 0.0) for camera in ("cam1", "cam2")]
        for clip in firsts:
            set_label(index, [clip], "wave")
        write_labels(index, tmp_path / "mine.csv")
        records = find_records(tmp_path / "mine.csv")
        assert len({record.path for record in records}) == 2
        assert len({record.group for record in records}) == 2
        # The content of one is another now: so is what is cut out of it.
        numbered_video(tmp_path / "cam1" / "1.mp4", 33, (32, 32))
        add(index, find_records(tmp_path / "cam1"), tmp_path / "cam1", device="cpu")
        set_label(index, [find_clip(index, "cam1/1.mp4", 0.0)], "new")
        write_labels(index, tmp_path / "mine.csv")
        fresh = {record.label: record.path for record in find_records(tmp_path / "mine.csv")}
        assert fresh["new"] not in {record.path for record in records}
        # Where no file is there any more, what is cut out serves, and a list that would be empty is not written.
        shutil.rmtree(tmp_path / "cam1")
        shutil.rmtree(tmp_path / "cam2")
        assert write_labels(index, tmp_path / "mine.csv").parts == 2
        shutil.rmtree(tmp_path / "mine")
        before = (tmp_path / "mine.csv").read_text()
        with pytest.raises(InputError, match=r"not one labelled part can be cut out; the first, 1\.mp4"):
            write_labels(index, tmp_path / "mine.csv")
        assert (tmp_path / "mine.csv").read_text() == before
        with pytest.raises(InputError, match=r"name a list that ends in \.csv"):
            write_labels(index, tmp_path / "mine")


def test_labels_that_were_given_stand_in_the_sheet(shown: Index, tmp_path: Path) -> None:
    set_label(shown, [1, 2, 3], "wave")
    found = cluster(shown, count=2)
    write_groups(shown, found, tmp_path / "groups.csv")
    with (tmp_path / "groups.csv").open(newline="") as file:
        said = {int(row["clip"]): row["label"] for row in csv.DictReader(file)}
    assert [said[clip] for clip in (1, 2, 3)] == ["wave"] * 3
