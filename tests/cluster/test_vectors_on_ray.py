"""Vectors and features of videos computed on Ray are those computed here, also after workers were killed."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

import faults
from kinevec import encoders, tasks
from kinevec.cluster import Cluster, Lost
from kinevec.config import Clip, Config, Model, Train
from kinevec.data.files import find_records
from kinevec.data.source import open_videos
from kinevec.encoders import Loaded
from kinevec.errors import Interrupted
from kinevec.evaluate import on_ray
from kinevec.evaluate.cache import FeatureCache, cached_features, features_key
from kinevec.evaluate.encode import settled
from kinevec.evaluate.features import extract
from kinevec.evaluate.on_ray import OnRay
from kinevec.models import build_encoder
from kinevec.runtime import pick_precision, seeded
from kinevec.search.index import Index
from numbered import numbered_video
from ray_jobs import KillOnce


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    with seeded(0):
        encoder = build_encoder("tiny")
    config = Config(
        clip=Clip(frames=4, stride=2, size=32), model=Model("tiny"), train=Train(precision="fp32")
    )
    return Loaded(encoder, config, "made up", 0)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for i in range(6):
        numbered_video(folder / f"{i}.mp4", 14 + 3 * i, (48, 40))
    faults.truncated_mp4(folder / "3cut.mp4")
    return folder


class Watching(KillOnce):
    """A watcher that kills the workers once, when something of a stage is done."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def counted(self, what: str, done: int, total: int) -> None:
        if what == self.what:
            self(done, total)

    def trained(self, status: object) -> None: ...


def content(folder: Path) -> list[object]:
    """All that an index holds."""
    with Index.open(folder) as index:
        tables = ("roots", "videos", "clips", "copies", "rejected")
        rows: list[object] = [index.store.query(f"SELECT * FROM {table}") for table in tables]
    return rows + [(path.name, path.read_bytes()) for path in sorted(folder.glob("*.f32"))]


def test_an_index_made_on_ray_is_the_same(
    two: Cluster, videos: Path, loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        encoders, "load", lambda place, *, real=encoders.load: loaded if place == "made up" else real(place)
    )
    here, there = tmp_path / "here", tmp_path / "there"
    alone = tasks.embed("made up", videos, here, device="cpu")
    watching = Watching("embedding clips")
    added = tasks.embed("made up", videos, there, cluster=two, watcher=watching)
    assert watching.killed >= 1
    assert (added.embedded, added.clips) == (alone.embedded, alone.clips)
    assert added.embedded == 6
    assert [one.name for one in added.rejected] == ["3cut.mp4"]
    assert watching.told[-1][0] == watching.told[-1][1]
    assert [done for done, _ in watching.told] == sorted(done for done, _ in watching.told)
    assert content(there) == content(here)


def test_videos_that_were_lost_or_not_reached_are_embedded_by_the_next_call(
    videos: Path, loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        encoders, "load", lambda place, *, real=encoders.load: loaded if place == "made up" else real(place)
    )
    lost = {"2.mp4"}

    def spread(
        make: Callable[[], Callable[[object], object]], jobs: list[object], cluster: Cluster, **given: object
    ) -> object:
        assert given["ordered"]
        work = make()
        for job in jobs:
            assert given["stop"]() is False  # type: ignore[operator]
            name = job.record.name  # type: ignore[attr-defined]
            yield job, Lost(3, "SIGSEGV") if name in lost else work(job)

    monkeypatch.setattr("kinevec.search.on_ray.spread", spread)
    index = tmp_path / "index"
    added = tasks.embed("made up", videos, index, cluster=Cluster())
    assert [one.name for one in added.rejected] == ["2.mp4", "3cut.mp4"]
    assert added.rejected[0].reason == "3 workers were lost while they were at it; the last: SIGSEGV"
    lost.clear()
    added = tasks.embed("made up", videos, index, cluster=Cluster())
    assert (added.embedded, added.unchanged, [one.name for one in added.rejected]) == (1, 5, ["3cut.mp4"])
    numbered_video(videos / "8.mp4", 20, (32, 32))
    numbered_video(videos / "9.mp4", 21, (32, 32))

    def interrupt(done: int, total: int) -> None:
        if done:
            raise Interrupted("enough")

    watching = Watching("embedding clips")
    monkeypatch.setattr(
        watching, "counted", lambda what, done, total: what == "looking" or interrupt(done, 0)
    )
    with pytest.raises(Interrupted):
        tasks.embed("made up", videos, index, cluster=Cluster(), watcher=watching)
    added = tasks.embed("made up", videos, index, cluster=Cluster())
    assert (added.embedded, added.unchanged) == (1, 7)


def test_features_computed_on_ray_are_the_same(two: Cluster, videos: Path, loaded: Loaded) -> None:
    with seeded(1):
        second = build_encoder("tiny")
    both = {"a": loaded.encoder, "b": second}
    collection = open_videos(find_records(videos))
    (videos / "4.mp4").write_bytes(b"")  # after it was opened
    alone = extract(both, loaded.config, collection, clips=3, device="cpu")
    killing = KillOnce()
    found = extract(both, loaded.config, collection, clips=3, extractor=OnRay(two), progress=killing)
    assert killing.killed >= 1
    assert killing.told == [(i + 1, 7) for i in range(7)]
    assert list(found) == ["a", "b"]
    for name, features in found.items():
        np.testing.assert_array_equal(features.clips, alone[name].clips)
        assert features.collection == alone[name].collection
    assert [one.name for one in found["a"].collection.rejected] == ["4.mp4"]


def test_features_come_in_any_order_and_lost_ones_are_said(
    videos: Path, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spread(
        make: Callable[[], Callable[[object], object]],
        jobs: list[tuple[int, object]],
        cluster: Cluster,
        **_: object,
    ) -> object:
        work = make()
        for job in reversed(jobs):
            yield job, Lost(3, "SIGSEGV") if job[0] in (1, 4) else work(job)

    monkeypatch.setattr(on_ray, "spread", spread)
    collection = open_videos(find_records(videos))
    kept = collection.without({1: "", 4: ""})
    alone = extract({"a": loaded.encoder}, loaded.config, kept, clips=2, device="cpu")["a"]
    found = cached_features({"a": loaded}, collection, clips=2, extractor=OnRay(Cluster()))["a"]
    np.testing.assert_array_equal(found.clips, alone.clips)
    assert found.collection.records == alone.collection.records
    assert [(one.name, one.reason[:9]) for one in found.collection.rejected][-2:] == [
        (collection.records[i].name, "3 workers") for i in (1, 4)
    ]


class Elsewhere:
    """An extractor on a GPU that is not here."""

    device = torch.device("cuda")

    def __call__(
        self, encoders: object, config: object, infos: Sequence[object], clips: int, crops: int
    ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        for number in range(len(infos)):
            yield number, {"a": np.zeros((clips, 128), np.float32)}


def test_features_are_kept_under_where_they_were_computed(
    videos: Path, loaded: Loaded, tmp_path: Path
) -> None:
    collection = open_videos(find_records(videos))
    cache = FeatureCache(tmp_path / "features")
    cached_features({"a": loaded}, collection, clips=2, device="cpu", extractor=Elsewhere(), cache=cache)
    (file,) = cache.folder.iterdir()
    assert features_key(loaded, collection, 2, 1, Elsewhere.device) in file.name


def test_precision_is_settled_before_others_compute(videos: Path, loaded: Loaded) -> None:
    auto = Config(train=Train(precision="auto"))
    cpu = torch.device("cpu")
    assert settled(auto, cpu).train.precision == pick_precision("auto", cpu)
    assert settled(loaded.config, cpu) == loaded.config
    collection = open_videos(find_records(videos))
    keys = {features_key(loaded, collection, 2, 1, place) for place in ("cpu", cpu, OnRay(Cluster()).device)}
    assert len(keys) == 1
    away = OnRay(Cluster(gpus=0.5)).device  # there is none here
    assert features_key(loaded, collection, 2, 1, away) not in keys
