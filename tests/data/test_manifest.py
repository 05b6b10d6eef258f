"""The manifest gives back what was written, to any process, at any size, without touching the videos."""

import json
import logging
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import faults
from faults import numbered_video, read_number
from kinevec.config import Clip
from kinevec.data.decode import VideoInfo
from kinevec.data.files import find_records, with_split
from kinevec.data.frametable import FrameTable
from kinevec.data.manifest import Manifest, read_listing, read_manifest
from kinevec.data.manifest_file import ARROW, PARQUET, Row, tail_identity, write_manifest
from kinevec.data.prepare import PrepareConfig, prepare
from kinevec.data.records import Record
from kinevec.data.sampling import clip_numbers
from kinevec.data.source import Collection, FileSource, fingerprint, shape_fingerprint
from kinevec.errors import DataError, InputError, VideoError


def made_up(i: int) -> Row:
    """A row as of a video of i + 1 frames."""
    table = FrameTable.of(
        VideoInfo(Path(), 64, 48, np.zeros(i + 1), np.arange(i + 1) * 512, (0,), "h264"), Fraction(1, 12800)
    )
    rng = np.random.default_rng(i)
    return {
        "name": f"v/{i:07}.mp4",
        "path": f"videos/{i:07}.mp4",
        "label": ("jump", None, "run")[i % 3],
        "group": None,
        "split": ("train", "train", "test", None)[i % 4],
        "source": f"/data/v/{i:07}.mp4",
        "hash": f"{i // 2:032x}",
        "size": 1000 + i,
        "seconds": i / 25,
        "fps": 25.0,
        **asdict(table),
        "energy": rng.random(i + 1, dtype=np.float32),
        "change": rng.random(i + 1, dtype=np.float32) if i % 5 else None,
    }


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    assert write_manifest(tmp_path, map(made_up, range(40)), complete=True) == 40
    return read_manifest(tmp_path)


def test_rows_come_back_as_they_were(manifest: Manifest, tmp_path: Path) -> None:
    assert len(manifest) == 40
    assert manifest.complete
    assert repr(manifest) == f"Manifest({tmp_path}: 40 videos, 820 frames)"
    assert manifest.frames.tolist() == list(range(1, 41))
    for i in (0, 1, 2, 17, 39):
        row = made_up(i)
        path = tmp_path / row["path"]
        assert manifest.record(i) == Record(path, row["name"], row["label"], None, row["split"])
        assert manifest.source(i) == Path(row["source"])
        assert manifest.hash(i) == row["hash"]
        info = manifest.info(i)
        assert (info.path, info.frames, info.width, info.height) == (path, i + 1, 64, 48)
        np.testing.assert_array_equal(info.times, np.arange(i + 1) * 512 * (1 / 12800))
        motion = manifest.motion(i)
        if i % 5:
            assert motion is not None
            np.testing.assert_array_equal(motion[0], row["energy"])
            np.testing.assert_array_equal(motion[1], row["change"])
        else:
            assert motion is None
    assert manifest.numbers("size").tolist() == list(range(1000, 1040))
    assert manifest.numbers("key_every").tolist() == list(range(1, 41))  # a single keyframe is even, too
    assert manifest.texts("label")[:4] == ["jump", None, "run", "jump"]
    for wrong in (40, -1):
        with pytest.raises(IndexError, match=f"video {wrong} of 40"):
            manifest.record(wrong)


def test_many_rows_and_long_lists_are_written_in_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinevec.data.manifest_file._GROUP_ROWS", 7)
    monkeypatch.setattr("kinevec.data.manifest_file._GROUP_VALUES", 100)
    assert write_manifest(tmp_path, map(made_up, range(40)), complete=False) == 40
    groups = pq.ParquetFile(tmp_path / PARQUET)
    sizes = [groups.metadata.row_group(g).num_rows for g in range(groups.num_row_groups)]
    assert sum(sizes) == 40
    assert max(sizes) == 7
    assert min(sizes) <= 3  # the long ones
    groups.close()
    manifest = read_manifest(tmp_path)
    assert not manifest.complete
    assert [manifest.record(i).name for i in range(40)] == [made_up(i)["name"] for i in range(40)]
    assert manifest.select("test").texts("name") == [made_up(i)["name"] for i in range(2, 40, 4)]
    assert manifest.codes("hash").max() == 19


def test_an_empty_manifest_is_a_manifest(tmp_path: Path) -> None:
    write_manifest(tmp_path, [], complete=True)
    assert len(read_manifest(tmp_path)) == 0


def test_splits_and_shards(manifest: Manifest) -> None:
    train = manifest.select("train")
    assert len(train) == 20
    assert {train.record(i).split for i in range(20)} == {"train"}
    assert train.frames.tolist() == [i + 1 for i in range(40) if i % 4 in (0, 1)]
    with pytest.raises(DataError, match=r"no video belongs to the split 'val' \(found: none, test, train\)"):
        manifest.select("val")
    for world in (1, 3, 7, 50):
        shards = [train.shard(rank, world, seed=4) for rank in range(world)]
        sizes = [len(shard) for shard in shards]
        assert max(sizes) - min(sizes) <= 1
        names = [name for shard in shards for name in shard.texts("name")]
        assert sorted(map(str, names)) == sorted(map(str, train.texts("name")))
        for shard in shards:
            assert shard.texts("name") == sorted(map(str, shard.texts("name")))
            assert [shard.info(i).frames for i in range(len(shard))] == shard.frames.tolist()
    first = train.shard(0, 2, seed=4).texts("name")
    assert first == train.shard(0, 2, seed=4).texts("name")
    assert first != train.shard(0, 2, seed=5).texts("name")
    assert first != train.texts("name")[::2]
    for rank in (2, -1):
        with pytest.raises(ValueError, match=f"rank {rank} of 2"):
            train.shard(rank, 2, seed=0)


def test_taking_places_of_a_part(manifest: Manifest) -> None:
    part = manifest.take([30, 10, 20]).take([2, 0])
    assert part.frames.tolist() == [11, 31]
    with pytest.raises(ValueError, match="places -1 to 3 of 40"):
        manifest.take([3, -1])
    assert len(manifest.take([])) == 0


def as_collection(manifest: Manifest) -> Collection:
    """The same videos, all held in memory."""
    places = range(len(manifest))
    return Collection(tuple(map(manifest.record, places)), tuple(map(manifest.info, places)), ())


@pytest.mark.parametrize("part", [False, True])
def test_a_manifest_says_of_its_videos_what_a_collection_says(part: bool, manifest: Manifest) -> None:
    manifest = manifest.take(range(1, 40, 3)) if part else manifest
    whole, failed = as_collection(manifest), {0: "torn", 5: "burnt"}
    for videos, listed in ((manifest, whole), (manifest.without(failed), whole.without(failed))):
        assert list(videos.names()) == list(listed.names()) == [r.name for r in listed.records]
        assert [videos.record(i) for i in range(len(videos))] == list(listed.records)
        assert [videos.info(i).path for i in range(len(videos))] == [i.path for i in listed.infos]
        assert videos.frames.tolist() == listed.frames.tolist() == [i.frames for i in listed.infos]
        assert videos.sizes.tolist() == listed.sizes.tolist() == [[48, 64]] * len(videos)
        assert videos.rejected == listed.rejected
        assert fingerprint(videos) == fingerprint(listed)
    assert [item.reason for item in listed.rejected] == ["torn", "burnt"]
    assert listed.without({}) == listed
    assert fingerprint(videos) != fingerprint(manifest) != fingerprint(manifest.take(range(1, len(manifest))))


@pytest.mark.parametrize("groups", [0, 1, 2, 6])
@pytest.mark.parametrize("labels", [0, 1, 4])
def test_videos_without_a_split_are_held_out_as_records_are(groups: int, labels: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(groups + 10 * labels)
    words = [None, "ähre", "", "Zoo", "a b", "zz", "b"]  # in no order; capitals go before small letters
    rows = [
        made_up(i)
        | {
            "name": str(name),
            "split": None,
            "label": words[int(rng.integers(1 + labels))],
            "group": words[int(rng.integers(1 + groups))],
        }
        for i, name in enumerate(rng.permutation(["é", "z", "Z", "a/b", "\U0001f600", *map(str, range(35))]))
    ]
    write_manifest(tmp_path, rows, complete=True)
    manifest = read_manifest(tmp_path)
    share = 0.3
    expected = with_split(as_collection(manifest).records, share)
    split = manifest.with_split(share)
    assert [split.record(i) for i in range(40)] == list(expected)
    assert split.texts("split") == [record.split for record in expected]
    test, train = split.select("test"), split.select("train")
    assert list(test.names()) == [record.name for record in expected if record.split == "test"]
    assert len(test) + len(train) == 40
    assert [pickle.loads(pickle.dumps(test)).record(i).split for i in (0, 1)] == ["test", "test"]
    part = manifest.take(range(5, 40, 2))
    assert part.with_split(share).texts("split") == [
        record.split for record in with_split(as_collection(part).records, share)
    ]


def test_a_manifest_that_names_splits_keeps_them(
    manifest: Manifest, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "kinevec"):
        assert manifest.with_split(0.25) is manifest
    assert "10 of 40 videos name no split and belong to none" in caplog.text
    caplog.clear()
    named = manifest.select("train")
    assert named.with_split(0.25) is named
    assert not caplog.text


@pytest.mark.parametrize("column", ["label", "split"])
def test_one_corrected_word_is_seen(column: str, tmp_path: Path) -> None:
    """It changes a few bytes, most often neither the size of the file nor its end."""
    rows = [made_up(i) for i in range(400)]
    write_manifest(tmp_path, rows, complete=True)
    sizes = set()
    for i in range(0, 400, 40):
        table = pq.read_table(tmp_path / PARQUET)
        values = table.column(column).to_pylist()
        values[i], values[i + 1] = values[i + 1], values[i]
        place = table.schema.get_field_index(column)
        pq.write_table(table.set_column(place, table.schema.field(column), [values]), tmp_path / PARQUET)
        sizes.add((tmp_path / PARQUET).stat().st_size)
        assert read_manifest(tmp_path).texts(column) == values
    assert len(sizes) < 10


def test_other_lengths_and_sizes_are_other_videos(tmp_path: Path) -> None:
    found = []
    for place, change in enumerate(({}, {"frames": 6}, {"width": 66}, {"label": "x"})):
        folder = tmp_path / str(place)
        folder.mkdir()
        write_manifest(folder, [made_up(0), made_up(4) | change], complete=True)
        found.append(shape_fingerprint(read_manifest(folder)))
    assert len(set(found)) == 3
    assert found[0] == found[3]


def test_a_manifest_that_was_not_touched_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_manifest(tmp_path, map(made_up, range(40)), complete=True)
    sent = pickle.dumps(read_manifest(tmp_path).take([3]))
    read: list[Path] = []
    monkeypatch.setattr("kinevec.data.manifest.identify", lambda path: read.append(path) or "x")
    assert len(read_manifest(tmp_path)) == 40
    assert len(pickle.loads(sent)) == 1
    assert not read


def test_what_an_earlier_version_wrote_of_a_manifest_still_holds(tmp_path: Path) -> None:
    """Its identity was the hash of the file's end."""
    write_manifest(tmp_path, map(made_up, range(40)), complete=True)
    listing = read_manifest(tmp_path).take([3]).listing()
    assert len(read_listing(listing | {"identity": tail_identity(tmp_path / PARQUET)})) == 1
    with pytest.raises(DataError, match="was changed"):
        read_listing(listing | {"identity": "7-abc"})


def test_names_do_not_run_together(tmp_path: Path) -> None:
    found = []
    for place, names in enumerate((["ab", "c"], ["a", "bc"], ["abc"])):
        folder = tmp_path / str(place)
        folder.mkdir()
        write_manifest(folder, [made_up(0) | {"name": name} for name in names], complete=True)
        found.append(fingerprint(read_manifest(folder)))
    assert len(set(found)) == 3


@pytest.mark.parametrize("places", [range(40), [0, 7, 8, 39], []])
def test_a_listing_tells_which_rows(places: list[int], manifest: Manifest) -> None:
    part = manifest.take(places)
    listing = json.loads(json.dumps(part.listing()))
    assert listing["videos"] == len(places)
    assert list(read_listing(listing).names()) == list(part.names())
    assert read_listing(manifest.listing()).frames.tolist() == manifest.frames.tolist()


def test_another_process_opens_the_same_part(manifest: Manifest, tmp_path: Path) -> None:
    shard = manifest.select("train").shard(1, 3, seed=0)
    sent = pickle.dumps(FileSource(shard))
    assert len(sent) < 1000
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).videos.texts('name'))"
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True)
    assert done.stdout.decode().strip() == str(shard.texts("name"))
    write_manifest(tmp_path, map(made_up, range(41)), complete=True)
    with pytest.raises(DataError, match="was changed while it was in use"):
        pickle.loads(sent)
    assert shard.record(0).name  # what is open stays as it was


def test_a_manifest_changed_by_other_tools_is_believed(manifest: Manifest, tmp_path: Path) -> None:
    table = pq.read_table(tmp_path / PARQUET)
    fewer = table.slice(5, 10).set_column(2, "label", [["fall"] * 10])
    pq.write_table(fewer.select(fewer.column_names[::-1]), tmp_path / PARQUET)
    changed = read_manifest(tmp_path)
    assert changed.texts("label") == ["fall"] * 10
    assert changed.frames.tolist() == list(range(6, 16))
    stamp = (tmp_path / ARROW).stat().st_mtime_ns
    read_manifest(tmp_path)
    assert (tmp_path / ARROW).stat().st_mtime_ns == stamp  # made anew once
    (tmp_path / ARROW).unlink()
    assert len(read_manifest(tmp_path)) == 10
    (tmp_path / ARROW).write_bytes(b"damaged")
    assert len(read_manifest(tmp_path)) == 10


def test_what_is_no_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"manifest\.parquet: No such file.*kinevec prepare"):
        read_manifest(tmp_path)
    (tmp_path / PARQUET).write_bytes(b"text")
    with pytest.raises(DataError, match="is damaged, or not a manifest"):
        read_manifest(tmp_path)
    write_manifest(tmp_path, map(made_up, range(3)), complete=True)
    table = pq.read_table(tmp_path / PARQUET)
    pq.write_table(table.drop_columns(["frames", "keys"]), tmp_path / PARQUET)
    with pytest.raises(DataError, match="lacks the columns frames, keys; prepare the videos again"):
        read_manifest(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_a_large_manifest_opens_without_being_read(tmp_path: Path) -> None:
    def rows() -> Iterator[Row]:
        row = made_up(59)
        for i in range(30_000):
            yield row | {"name": f"v/{i:07}.mp4"}

    write_manifest(tmp_path, rows(), complete=True)
    size = (tmp_path / ARROW).stat().st_size
    code = """
import sys
from pathlib import Path
from kinevec.data.manifest import read_manifest
def private():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024
before = private()
manifest = read_manifest(Path(sys.argv[1])).shard(1, 4, seed=0)
for i in range(0, 7500, 50):
    manifest.info(i), manifest.motion(i), manifest.record(i)
print(len(manifest), private() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    count, memory = map(int, done.stdout.split())
    assert count == 7500
    assert size > 15e6
    assert memory < size / 2  # a table that is read takes more than its file


# ---------------------------------------------------------------- clips from prepared videos


def test_clips_are_exact_long_or_looped(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    numbered_video(videos / "a.mp4", 40, (160, 128))
    faults.variable_frame_rate(videos / "b.mp4")
    faults.one_frame(videos / "c.mp4")
    prepare(find_records(videos), tmp_path / "out", PrepareConfig(short_side=64), workers=0)
    source = FileSource(pickle.loads(pickle.dumps(read_manifest(tmp_path / "out"))))
    assert [source.frames(i) for i in range(len(source))] == [40, 12, 1]
    clip = Clip(frames=16, stride=2)
    for index, frames, start in ((0, 40, 9), (1, 12, 7), (2, 1, 0)):
        asked = clip_numbers(start, frames, clip)
        found = source.read(index, asked)
        assert [read_number(frame) for frame in found.frames] == asked == list(found.numbers)
    assert asked == [0] * 16
    assert source.read(0, [0]).frames.shape == (1, 64, 80, 3)
    times = np.array(faults.VARIABLE_TIMES) / 1000
    np.testing.assert_allclose(source.read(1, [3, 11, 0]).times, times[[3, 11, 0]], atol=1e-9)
    motion = [source.videos.motion(i) for i in range(3)]
    assert [None if m is None else len(m[0]) for m in motion] == [40, 12, 1]
    source.videos.record(0).path.unlink()
    with pytest.raises(VideoError, match="is not there"):
        source.read(0, [0])


@pytest.mark.parametrize("seed", range(20))
def test_any_frame_table_comes_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = int(rng.integers(1, 30))
    steps = rng.integers(1, 4, frames) if seed % 2 else np.full(frames, 1001)
    pts = np.cumsum(steps) + int(rng.integers(-50, 50))
    every = int(rng.integers(1, 12))
    keys = {0: tuple(pts[::every]), 1: (int(pts[0]) - 3, *pts[::every]), 2: (), 3: tuple(pts[1::3])}[seed % 4]
    base = Fraction(int(rng.integers(1, 1002)), 30000)
    times = (pts - pts[0]) * float(base)
    info = VideoInfo(Path("a"), 64, 48, times, pts, tuple(int(key) for key in keys), "h264")
    if seed % 5 == 0:
        info = replace(info, pts=None, times=np.arange(frames) / float(1 / base))
    table = FrameTable.of(info, base)
    if info.pts is not None and seed % 2 == 0 and frames > 1:
        assert table.pts_steps is None
    if info.pts is not None and seed % 4 == 0:
        assert table.keys is None  # even keyframes take one number
    back = table.info(Path("a"))
    np.testing.assert_array_equal(back.times, info.times)
    assert (back.pts is None) == (info.pts is None)
    if back.pts is not None and info.pts is not None:
        np.testing.assert_array_equal(back.pts, info.pts)
    assert back.keys == info.keys
    assert table.seconds == info.times[-1]
