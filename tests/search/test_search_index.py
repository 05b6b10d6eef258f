"""Scores against float64 loops, and the index before and after removals, packing and interruptions."""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kinevec.config import Config, Train
from kinevec.data.lock import alone
from kinevec.data.prepare.check import Stamp
from kinevec.data.records import Record
from kinevec.encoders import Loaded
from kinevec.errors import CheckpointError, DataError, InputError, OutputError
from kinevec.search import approximate, ranking
from kinevec.search.catalogue import clips, count, entry, facets
from kinevec.search.facts import FACTS
from kinevec.search.filters import Filter
from kinevec.search.index import DATABASE, Index
from kinevec.search.query import Query, find_clip, query_clip
from kinevec.search.ranking import search
from kinevec.search.score import MODES, Mode
from kinevec.search.settings import Settings
from made_up import CLIP, made_up

Array = NDArray[np.float64]
Fill = Callable[..., Index]
WEIGHTS: dict[Mode, tuple[float, float, float]] = {  # of the cosines of full, static and residual vectors
    "both": (1, 0, 0),
    "appearance": (0, 1, 0),
    "motion": (0, -0.25, 1),
}


def vectors(counts: list[int], seeds: list[int] | None = None) -> tuple[Array, Array]:
    made = [made_up(n, seed=seed) for n, seed in zip(counts, seeds or range(len(counts)), strict=True)]
    full = np.concatenate([one.full for one in made]).astype(np.float64)
    return full, np.concatenate([one.static for one in made if one.static is not None]).astype(np.float64)


def expected(mode: Mode, full: Array, static: Array, query: tuple[Array, Array]) -> list[float]:
    """Scores by definition, one clip at a time."""
    kinds = [(full, query[0]), (static, query[1]), (full - static, query[0] - query[1])]
    total = [0.0] * len(full)
    for weight, (x, q) in zip(WEIGHTS[mode], kinds, strict=True):
        mean = sum(x) / len(x)
        b = q - mean
        for i in range(len(x)):
            a = x[i] - mean
            cosine = sum(u * v for u, v in zip(a, b, strict=True)) / math.sqrt(sum(a * a) * sum(b * b))
            total[i] += weight * cosine
    return total


def scores_of(index: Index, mode: Mode, query: tuple[Array, Array]) -> Array:
    raw = {"full": query[0], "static": query[1]}
    return index.scored()[1].scores(mode, raw).astype(np.float64)


@pytest.mark.parametrize("mode", MODES)
def test_scores_are_those_of_the_definition(mode: Mode, fill: Fill) -> None:
    counts = [3, 1, 7, 4]
    full, static = vectors(counts)
    other = made_up(1, seed=9)
    assert other.static is not None
    query = (other.full[0].astype(np.float64), other.static[0].astype(np.float64))
    with fill(counts) as index:
        np.testing.assert_allclose(
            scores_of(index, mode, query), expected(mode, full, static, query), atol=2e-5
        )
        scorer = index.scored()[1]  # the same from the vectors that graphs are made of
        units = scorer.units(mode, np.arange(15)) @ scorer.query(mode, {"full": query[0], "static": query[1]})
        np.testing.assert_allclose(units, expected(mode, full, static, query), atol=2e-5)
        few = scorer.scores(mode, {"full": query[0], "static": query[1]}, np.array([14, 2]))
        np.testing.assert_allclose(few, np.array(expected(mode, full, static, query))[[14, 2]], atol=2e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(4))
def test_a_clip_that_is_the_mean_scores_0(mode: Mode, seed: int, fill: Fill) -> None:
    """What rounding leaves of it has a direction, and would be a cosine of thousands."""
    other = made_up(1, seed=20 + seed)
    assert other.static is not None
    raw = {"full": other.full[0], "static": other.static[0]}
    with fill([1]) as index:
        scorer = index.scored()[1]
        assert scorer.scores(mode, raw).tolist() == [0]
        assert scorer.scores(mode, scorer.raw(0)).tolist() == [0]
        assert (scorer.units(mode, np.arange(1)) @ scorer.query(mode, raw)).tolist() == [0]


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_removed_or_replaced_is_gone_from_scores_and_means(
    packed: bool, fill: Fill, tmp_path: Path
) -> None:
    with fill([3, 5, 2, 4]) as index:
        with index.writer() as writer:
            writer.remove([2])
            writer.put(Record(tmp_path / "0.mp4", "0.mp4"), 1, Stamp(2, 2), "new", made_up(6, seed=20))
            if packed:
                writer.pack(always=True)
        full, static = vectors([2, 4, 6], [2, 3, 20])
        query = (full[4], static[4])
        assert len(index) == 12 == len(index.state())
        assert index.state().dense is packed
        np.testing.assert_allclose(index.state().means["full"], full.mean(0), rtol=1e-12)
        for mode in MODES:
            np.testing.assert_allclose(
                scores_of(index, mode, query), expected(mode, full, static, query), atol=2e-5
            )
        rows = 12 if packed else 20
        sizes = [path.stat().st_size for path in index.folder.glob("*.f32")]
        assert sizes == [rows * 128 * 4] * 2
        assert [one.clip for one in clips(index)] == [
            15,
            16,
            17,
            18,
            19,
            20,
            9,
            10,
            11,
            12,
            13,
            14,
        ]  # numbers stay


def test_packing_waits_until_a_quarter_is_dead(fill: Fill) -> None:
    with fill([10, 30, 1]) as index, index.writer() as writer:
        writer.remove([1])
        writer.pack()
        assert writer.store.meta("generation") == 0
        writer.remove([3])
        writer.pack()
        assert writer.store.meta("generation") == 1
        assert index.state().dense


def test_a_packing_that_was_interrupted_leaves_no_trace(fill: Fill) -> None:
    with fill([3, 3]) as index:
        before = scores_of(index, "both", (np.ones(128), np.zeros(128)))
        (index.folder / "full-1.f32").write_bytes(b"half")
        with index.writer():
            assert not (index.folder / "full-1.f32").exists()
        assert (scores_of(index, "both", (np.ones(128), np.zeros(128))) == before).all()


@pytest.mark.parametrize("at", ["vectors", "database"])
def test_a_video_is_added_whole_or_not_at_all(at: str, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    with fill([3, 3]) as index:
        before = index.state()
        with index.writer() as writer:
            put = (Record(Path("/x.mp4"), "x.mp4"), 1, Stamp(1, 1), "x", made_up(4, seed=7))
            if at == "vectors":  # the second file is not written
                fail = type(writer.file("full"))
                monkeypatch.setattr(
                    fail,
                    "append",
                    lambda self, at, block, do=fail.append: (
                        None if "static" in str(self.path) else do(self, at, block)
                    ),
                )
                monkeypatch.setattr(
                    writer.store, "transaction", lambda: (_ for _ in ()).throw(KeyboardInterrupt)
                )
            else:
                monkeypatch.setattr(
                    writer.store, "set_meta", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt)
                )
            with pytest.raises(KeyboardInterrupt):
                writer.put(*put)
            monkeypatch.undo()
            assert len(index) == 6
            assert (index.state().full == before.full).all()
            writer.put(*put[:4], made_up(4, seed=8))  # over what was left of the other
        full, _ = vectors([3, 3, 4], [0, 1, 8])
        np.testing.assert_array_equal(index.state().full, full.astype(np.float32))
        np.testing.assert_allclose(index.state().means["full"], full.mean(0), rtol=1e-12)


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from made_up import made_up
from kinevec.data.prepare.check import Stamp
from kinevec.data.records import Record
from kinevec.search.index import Index
index = Index.open(Path(sys.argv[1]))
with index.writer() as writer:
    for i in range(100_000):
        writer.put(Record(Path(f"/{i}.mp4"), f"{i}.mp4"), 1, Stamp(1, i), f"{i}", made_up(50, seed=i))
        print(i, flush=True)
"""


def test_killed_in_the_middle(fill: Fill) -> None:
    index = fill([3])
    tests = Path(__file__).parents[1]
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, index.folder, tests], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child, index:
        for _ in range(3):
            done = int(child.stdout.readline())
        with pytest.raises(OutputError, match="another process is changing"), index.writer():
            pass
        child.send_signal(signal.SIGKILL)
        done = max([done, *map(int, child.stdout.read().split())])
        assert child.wait() == -signal.SIGKILL
        videos = index.count("videos") - 1
        assert videos in (done + 1, done + 2)  # the last one may have been kept but not been spoken of
        with index.writer() as writer:
            writer.put(Record(Path("/last.mp4"), "last.mp4"), 1, Stamp(1, 1), "last", made_up(2, seed=5000))
        full, static = vectors([3, *[50] * videos, 2], [0, *range(videos), 5000])
        state = index.state()
        assert state.static is not None
        np.testing.assert_array_equal(state.full, full.astype(np.float32))
        np.testing.assert_array_equal(state.static, static.astype(np.float32))
        np.testing.assert_allclose(state.means["static"], static.mean(0), rtol=1e-12)


def test_a_clip_finds_its_like_but_not_itself(fill: Fill) -> None:
    with fill([5, 5, 5]) as index:
        found = search(index, query_clip(index, 3), limit=50, group=False)
        assert {hit.clip for hit in found.hits} == {1, 5, *range(6, 16)}  # 2 s every 1 s: 2 and 4 overlap 3
        assert not found.more
        found = search(index, query_clip(index, 3), limit=50, group=False, other_videos=True)
        assert {hit.video for hit in found.hits} == {2, 3}
        assert [hit.score for hit in found.hits] == sorted((hit.score for hit in found.hits), reverse=True)
        assert found.hits[0].name in ("1.mp4", "2.mp4")


def test_pages_join_up(fill: Fill) -> None:
    with fill([40, 40]) as index:
        for group in (False, True):
            query = query_clip(index, 3)
            whole = search(index, query, limit=1000, group=group).hits
            pages = [search(index, query, offset=at, limit=7, group=group) for at in range(0, len(whole), 7)]
            assert tuple((h.clip, h.score) for page in pages for h in page.hits) == tuple(
                (h.clip, h.score) for h in whole
            )
            assert [page.more for page in pages] == [True] * (len(pages) - 1) + [False]
        with pytest.raises(InputError, match="offset is -1"):
            search(index, query, offset=-1)


def test_clips_of_a_video_that_overlap_are_one_row(fill: Fill) -> None:
    with fill([9, 4]) as index:
        query = Query({"full": made_up(1, seed=50).full[0]})
        single = search(index, query, limit=100, group=False).hits
        rows = search(index, query, limit=100).hits
        kept: list[tuple[int, float]] = []  # greedy: the best first, what overlaps a kept one goes
        for hit in single:
            if not any(video == hit.video and abs(hit.start - start) < 2 for video, start in kept):
                kept.append((hit.video, hit.start))
        assert [(hit.video, hit.start) for hit in rows] == kept
        assert sum(hit.folded + 1 for hit in rows) == len(single)


def test_clips_of_a_video_that_look_the_same_are_one_row(fill: Fill, tmp_path: Path) -> None:
    with fill([4, 4]) as index:
        video = made_up(40, seed=60, hop=2.0)
        same = replace(video, full=video.full[:1] + 1e-3 * video.full, static=video.static)
        with index.writer() as writer:
            writer.put(Record(tmp_path / "x.mp4", "x.mp4"), 1, Stamp(1, 1), "x", same)
        rows = search(index, Query({"full": same.full[3]}), limit=100).hits
        assert [hit.folded for hit in rows if hit.name == "x.mp4"] == [39]


def test_filters(fill: Fill, tmp_path: Path) -> None:
    names = ["a/x.mp4", "a/b/y.mp4", "ab/z.mp4", "Ä/Long name_%.mp4"]
    says = [("jump", "train"), ("run", "test"), (None, None), ("jump", "test")]
    records = [
        Record(tmp_path / name, name, label=label, split=split)
        for name, (label, split) in zip(names, says, strict=True)
    ]
    with fill([3, 3, 3, 3], records) as index:

        def found(**only: object) -> set[str]:
            wanted = Filter(**only)  # type: ignore[arg-type]
            names = {
                hit.name
                for hit in search(index, query_clip(index, 1), only=wanted, limit=99, group=False).hits
            }
            listed = clips(index, wanted, limit=99)
            assert count(index, wanted) == len(listed)
            assert {one.name for one in listed} - {"a/x.mp4"} == names - {"a/x.mp4"}  # the query is left out
            return {one.name for one in listed}

        assert found(folder="a") == {"a/x.mp4", "a/b/y.mp4"}
        assert found(folder="/a/b/") == {"a/b/y.mp4"}
        assert found(labels=("jump",)) == {"a/x.mp4", "Ä/Long name_%.mp4"}
        assert found(labels=("", "run")) == {"ab/z.mp4", "a/b/y.mp4"}
        assert found(splits=("test",), labels=("jump",)) == {"Ä/Long name_%.mp4"}
        assert found(text="LONG NAME_%") == found(text="ä/long") == {"Ä/Long name_%.mp4"}
        assert found(text="%x") == found(text="'; DROP TABLE clips") == set()
        assert found(video=3) == {"ab/z.mp4"}
        assert found(after=2.5) == set()
        listed = clips(index, Filter(after=1, before=3))
        assert {(one.start, one.stop) for one in listed} == {(1, 3)}
        assert [one.name for one in clips(index, offset=2, limit=2)] == ["a/b/y.mp4", "a/x.mp4"]
        assert facets(index)["folder"] == {"a": 6, "a/b": 3, "ab": 3, "Ä": 3}
        assert facets(index)["label"] == {"": 3, "jump": 6, "run": 3}
        assert entry(index, 99) is None
        one = entry(index, 4)
        assert one is not None
        assert (one.name, one.label, one.given, one.split) == ("a/b/y.mp4", "run", False, "test")


def test_graphs_propose_and_scores_stay_exact(
    fill: Fill, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ranking, "EXACT_UP_TO", 100)
    monkeypatch.setattr(approximate, "LEAST", 100)
    with fill([20] * 40) as index:
        approximate.sync(index)
        with index.writer() as writer:
            writer.remove([1])
            writer.put(Record(tmp_path / "n.mp4", "n.mp4"), 1, Stamp(1, 1), "n", made_up(30, seed=99))
        for mode in MODES:
            hits = wanted = 0
            for clip in (30, 400, 805):
                query = query_clip(index, clip)
                near = search(index, query, mode=mode, group=False)
                true = search(index, query, mode=mode, group=False, exact=True)
                scores = {
                    hit.clip: hit.score
                    for hit in search(index, query, mode=mode, group=False, limit=9999, exact=True).hits
                }
                assert all(hit.score == pytest.approx(scores[hit.clip], abs=1e-6) for hit in near.hits)
                hits += len({hit.clip for hit in near.hits} & {hit.clip for hit in true.hits})
                wanted += len(true.hits)
            assert hits >= 0.9 * wanted
        newest = search(index, query_clip(index, 805), only=Filter(text="n.mp4"), group=False, exact=False)
        assert {hit.name for hit in newest.hits} == {"n.mp4"}
        approximate.sync(index)  # adds what is new
        facts = json.loads((index.folder / "graph-both.json").read_text())
        assert (facts["last"], facts["clips"]) == (830, 800)
        assert len(list(index.folder.glob("graph-both-*.usearch"))) == 1
        with index.writer() as writer:
            writer.remove(list(range(2, 30)))
        approximate.sync(index)  # most is gone: built anew
        assert json.loads((index.folder / "graph-both.json").read_text())["clips"] == len(index)


def test_without_appearance_only_one_mode(fill: Fill) -> None:
    with fill([3, 3], appearance=False) as index:
        assert not list(index.folder.glob("static*"))
        assert search(index, query_clip(index, 1)).hits
        for mode in ("motion", "appearance"):
            with pytest.raises(InputError, match="needs appearance vectors"):
                search(index, query_clip(index, 1), mode=mode)  # type: ignore[arg-type]


def test_another_model_or_other_settings_are_refused(fill: Fill, loaded: Loaded) -> None:
    with fill([2]) as index:
        index.check(loaded, Settings())
        with pytest.raises(OutputError, match=r"hop: 0.0 → 0.5"):
            index.check(loaded, Settings(hop=0.5))
        config = Config(clip=replace(CLIP, stride=3), train=Train(precision="fp32"))
        with pytest.raises(
            OutputError, match=r"model.identity: \w+ → \w+; model.clip: .*'stride': 2.*'stride': 3"
        ):
            index.check(Loaded(loaded.encoder, config, "made up", 0), Settings())


def test_an_index_carries_its_encoder(fill: Fill, loaded: Loaded) -> None:
    with fill([2]) as index:
        assert index.clip == CLIP
        assert index.encoder("cpu") is index.encoder("cpu")
        facts = json.loads((index.folder / FACTS).read_text())
        facts["model"]["identity"] = "0"
        (index.folder / FACTS).write_text(json.dumps(facts))
        with Index.open(index.folder) as other, pytest.raises(CheckpointError, match="not the encoder"):
            other.encoder("cpu")


def test_what_is_no_index(fill: Fill, loaded: Loaded, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no index is there"):
        Index.open(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    with pytest.raises(OutputError, match="is no index"):
        Index.create(tmp_path / "full", loaded, Settings())
    folder = fill([2]).folder
    facts = (folder / FACTS).read_text()
    for text, says in [("{", "is damaged"), (facts.replace('"format": 1', '"format": 2'), "has format 2")]:
        (folder / FACTS).write_text(text)
        with pytest.raises(DataError, match=says):
            Index.open(folder)
    (folder / FACTS).write_text(facts)
    (folder / "full-0.f32").write_bytes(b"short")
    with Index.open(folder) as index, pytest.raises(DataError, match="cut off"):
        index.state()
    (folder / DATABASE).write_text("no database" * 100)
    with pytest.raises(DataError, match="damaged"):
        Index.open(folder)
    (folder / DATABASE).unlink()
    with pytest.raises(DataError, match="missing"):
        Index.open(folder)


def test_an_index_that_another_process_made_just_before_is_opened(fill: Fill, loaded: Loaded) -> None:
    with fill([2, 1]) as index, Index.create(index.folder, loaded, Settings(length=9)) as other:
        assert len(other) == 3
        assert other.settings == index.settings


def test_an_index_is_made_by_one_process_at_a_time(loaded: Loaded, tmp_path: Path) -> None:
    with alone(tmp_path / "new", "making it"), pytest.raises(OutputError, match="another process"):
        Index.create(tmp_path / "new", loaded, Settings())


def test_a_creation_that_was_interrupted_begins_anew(fill: Fill, loaded: Loaded, tmp_path: Path) -> None:
    index = fill([2])
    index.close()
    for path in index.folder.glob("*.f32"):
        path.unlink()
    (index.folder / FACTS).unlink()
    with Index.create(index.folder, loaded, Settings()) as again:
        assert len(again) == 0
        assert search(again, Query({"full": np.ones(128)})).hits == ()


def test_files_outside_the_roots_are_never_given_out(fill: Fill, tmp_path: Path) -> None:
    inside, outside = tmp_path / "videos", tmp_path / "videos2"
    inside.mkdir()
    outside.mkdir()
    for path in (inside / "a.mp4", inside / "a.txt", outside / "b.mp4"):
        path.write_bytes(b"x")
    (inside / "link.mp4").symlink_to(outside / "b.mp4")
    (inside / "good.mp4").symlink_to("a.mp4")
    (inside / "loop.mp4").symlink_to("loop.mp4")
    paths = ["a.mp4", "good.mp4", "link.mp4", "../videos2/b.mp4", "gone.mp4", "a.txt", "loop.mp4"]
    with fill([1] * len(paths), [Record(inside / path, path) for path in paths]) as index:
        with index.store.transaction() as database:
            database.execute("UPDATE roots SET path = ?", (str(inside),))
        assert index.locate(1) == index.locate(2) == (inside / "a.mp4").resolve()
        for video in (3, 4):
            with pytest.raises(InputError, match="outside"):
                index.locate(video)
        assert index.locate(6) == (inside / "a.txt").resolve()  # a list may name files of any ending
        for video in (5, 7):
            with pytest.raises(InputError, match="not there any more"):
                index.locate(video)
        with pytest.raises(InputError, match="has no video 99"):
            index.locate(99)


def test_clips_are_found_by_video_and_time(fill: Fill, tmp_path: Path) -> None:
    names = ["a/x.mp4", "b/x.mp4", "b/yx.mp4"]
    with fill([5, 5, 5], [Record(tmp_path / name, name) for name in names]) as index:
        assert find_clip(index, "b/x.mp4", 0.0) == 6
        assert find_clip(index, "yx.mp4", 3.4) == 13  # clips of 2 s at 0, 1, 2, …: middles at 1, 2, 3, …
        assert find_clip(index, "yx.mp4", 6.0) == 15
        for name, at, says in [
            ("x.mp4", 0, "2 videos"),
            ("z.mp4", 0, "has no video 'z.mp4' among 3"),
            ("yx.mp4", 6.1, "0 to 6.00 s"),
        ]:
            with pytest.raises(InputError, match=says):
                find_clip(index, name, at)


def test_threads_share_an_index(fill: Fill) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with fill([20, 20]) as index, ThreadPoolExecutor(4) as threads:
        query = query_clip(index, 5)
        found = list(threads.map(lambda _: search(index, query).hits, range(40)))
        assert all(one == found[0] for one in found)
        assert os.path.isdir(index.folder)


def test_motion_finds_the_same_motion_in_another_place(fill: Fill, tmp_path: Path) -> None:
    looks, moves = 5 * np.eye(128, dtype=np.float32)[:4], 3 * np.eye(128, dtype=np.float32)[64:68]
    with fill([]) as index:
        with index.writer() as writer:
            root = writer.root(str(tmp_path))
            for look in range(4):
                for move in range(4):
                    one = made_up(1, seed=4 * look + move)
                    assert one.static is not None
                    static = 0.2 * one.static + looks[look]
                    full = static + 0.2 * (one.full - one.static) + moves[move]
                    name = f"look {look}, move {move}.mp4"
                    vectors = replace(one, full=full, static=static)
                    writer.put(Record(tmp_path / name, name), root, Stamp(1, 1), name, vectors)

        def best(mode: Mode) -> set[str]:
            return {hit.name for hit in search(index, query_clip(index, 1), mode=mode, limit=3).hits}

        assert best("motion") == {f"look {look}, move 0.mp4" for look in (1, 2, 3)}
        assert best("appearance") == best("both") == {f"look 0, move {move}.mp4" for move in (1, 2, 3)}
