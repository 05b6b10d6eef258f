"""Where a run reads frames, flow and change of motion from: one case for each way, and for each refusal."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from kinevec.config import Clip, Config, Data, Flow, Method, Sampling, Terms
from kinevec.data import Collection, find_records, open_videos
from kinevec.data.manifest import Manifest, read_manifest
from kinevec.data.prepare import PrepareConfig
from kinevec.data.prepare.flow import build_cache
from kinevec.data.source import FileSource, FrameStore
from kinevec.errors import ConfigError, DataError
from kinevec.motion.cache import FlowCache
from kinevec.motion.frames import ComputedFlow, clip_flow
from kinevec.motion.statistics import color_differential
from kinevec.motion.store import FlowStore
from kinevec.train import supply as room
from kinevec.train.supply import FLOW, FRAMES, Supply, open_supply
from preparing import make_videos, run

FAST = Flow(method="dis-fast", gap=2, short_side=32)
CONFIG = Config(clip=Clip(frames=4, stride=1, size=16), flow=FAST, terms=Terms(flow=1))
PLAIN = replace(CONFIG, terms=Terms())
MOVING = Sampling(moving=True)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of 6, 7 and 8 frames: as they are, prepared with and without motion, and with cached flow."""
    root = tmp_path_factory.mktemp("supply")
    videos = make_videos(root / "videos", "a.mp4", "b.mp4", "c.mp4")
    run(videos, root / "still")
    run(videos, root / "measured", PrepareConfig(short_side=32))
    run(videos, root / "cached", PrepareConfig(short_side=32))
    build_cache(root / "cached", FAST, workers=0)
    return root


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flow is computed in this process: others take seconds to start."""
    monkeypatch.setattr(room, "cores", lambda: 1)


@pytest.fixture
def collection(folders: Path) -> Collection:
    return open_videos(find_records(folders / "videos"))


def prepared(folders: Path, name: Literal["still", "measured", "cached"]) -> Manifest:
    return read_manifest(folders / name)


def stored(config: Config, store: Literal["auto", "cache", "run", "none"], **flow: Any) -> Config:
    return replace(config, flow=replace(config.flow, store=store, **flow))


def limited(config: Config, size: float, store: Literal["auto", "frames", "files"] = "files") -> Config:
    """With room for so many bytes."""
    return replace(config, data=Data(store=store, store_limit_gb=size / 1e9))


def moving(config: Config) -> Config:
    return replace(config, sampling=MOVING)


def opened(config: Config, videos: Collection | Manifest, folder: Path) -> Supply:
    return open_supply(config, videos, folder, None, None)


def assert_same_flow(supply: Supply, index: int) -> None:
    """As the flow of the clip computed anew, up to eight bits a component."""
    assert supply.flows is not None
    numbers = list(range(supply.source.frames(index)))
    exact = clip_flow(supply.source, index, numbers, FAST)
    assert np.abs(exact).max() > 0
    largest = np.abs(exact).max((1, 2, 3), keepdims=True)
    assert (np.abs(supply.flows.read(index, numbers) - exact) <= largest / 254 * (1 + 1e-5)).all()


@pytest.mark.parametrize(
    ("store", "spare", "kind"),
    [("frames", -1, FrameStore), ("files", 0, FileSource), ("auto", 0, FrameStore), ("auto", -1, FileSource)],
)
def test_frames_are_decoded_once_where_asked_or_where_they_fit(
    store: Literal["auto", "frames", "files"], spare: int, kind: type, collection: Collection, tmp_path: Path
) -> None:
    size = FrameStore.plan(collection, 36)[1]  # 16 pixels of the smallest crop, a fifth of the area
    seen: list[tuple[int, int]] = []
    config = limited(PLAIN, size + spare, store)
    supply = open_supply(config, collection, tmp_path, lambda *place: seen.append(place), None)
    assert type(supply.source) is kind
    assert (tmp_path / FRAMES).exists() == bool(seen) == (kind is FrameStore)
    assert supply.facts == {"store": "frames" if kind is FrameStore else "files"}
    assert [supply.source.frames(i) for i in range(3)] == list(supply.videos.frames) == [6, 7, 8]


@pytest.mark.parametrize("name", [None, "still", "cached"])
def test_no_flow_is_made_where_none_is_needed(name: Any, folders: Path, tmp_path: Path) -> None:
    """Not even a method that there is not is an obstacle."""
    videos = prepared(folders, name) if name else open_videos(find_records(folders / "videos"))
    for store in ("auto", "cache", "run", "none"):
        supply = opened(stored(PLAIN, store, method="no such"), videos, tmp_path)
        assert (supply.flows, supply.change, supply.facts) == (None, None, {"store": "frames"})
    assert not (tmp_path / FLOW).exists()


def test_flow_is_computed_once_when_a_run_starts(collection: Collection, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    config = limited(stored(CONFIG, "run"), 0)  # asked for, whatever it takes
    supply = open_supply(config, collection, tmp_path, None, lambda *place: seen.append(place))
    assert isinstance(supply.flows, FlowStore)
    assert supply.facts == {"store": "files", "flow_store": "run"}
    assert supply.flows.path == tmp_path / FLOW
    assert supply.flows.names == ("a.mp4", "b.mp4", "c.mp4")
    assert seen[-1] == (3, 3)
    assert supply.change is None
    with pytest.raises(ValueError, match="scores"):  # nobody asked for them
        supply.flows.change(0)
    assert_same_flow(supply, 1)


@pytest.mark.parametrize(("spare", "kind"), [(0, FlowStore), (-1, ComputedFlow)])
@pytest.mark.parametrize("name", [None, "measured"])
def test_auto_computes_flow_once_where_it_fits(
    name: Any, spare: int, kind: type, folders: Path, collection: Collection, tmp_path: Path
) -> None:
    videos = prepared(folders, name) if name else collection
    supply = opened(
        limited(CONFIG, FlowStore.plan(videos.frames, videos.sizes, FAST) + spare), videos, tmp_path
    )
    assert type(supply.flows) is kind
    assert supply.facts["flow_store"] == ("run" if kind is FlowStore else "none")
    assert (tmp_path / FLOW).exists() == (kind is FlowStore)
    assert_same_flow(supply, 2)


def test_flow_of_decoded_frames_is_planned_at_their_size(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    plan = FlowStore.plan

    def note(frames: Any, sizes: Any, flow: Flow) -> int:
        asked.append(np.asarray(sizes).tolist())
        return plan(frames, sizes, flow)

    monkeypatch.setattr(FlowStore, "plan", note)
    opened(replace(CONFIG, data=Data(store="frames")), collection, tmp_path)
    assert asked == [[[36, 44]] * 3]
    asked.clear()
    opened(replace(CONFIG, data=Data(store="files")), collection, tmp_path)
    assert asked == [[[40, 48]] * 3]


@pytest.mark.parametrize("name", [None, "cached"])
def test_flow_of_every_clip_anew(name: Any, folders: Path, collection: Collection, tmp_path: Path) -> None:
    videos = prepared(folders, name) if name else collection
    supply = opened(stored(CONFIG, "none"), videos, tmp_path)
    assert isinstance(supply.flows, ComputedFlow)
    assert supply.flows.source is supply.source
    assert supply.flows.flow == replace(FAST, store="none")
    assert supply.facts == {"store": "frames", "flow_store": "none"}
    assert not (tmp_path / FLOW).exists()


@pytest.mark.parametrize("store", ["auto", "cache"])
def test_cached_flow_is_taken_where_it_is_there(
    store: Literal["auto", "cache"], folders: Path, tmp_path: Path
) -> None:
    data = prepared(folders, "cached")
    config = replace(stored(CONFIG, store), data=Data(store="files"))
    supply = opened(config, data.take([2, 0]), tmp_path)
    assert isinstance(supply.flows, FlowCache)
    assert supply.facts == {"store": "files", "flow_store": "cache"}
    assert supply.change is None
    assert not (tmp_path / FLOW).exists()
    for index in range(2):
        assert_same_flow(supply, index)


def test_a_run_can_compute_its_flow_beside_a_cache(folders: Path, tmp_path: Path) -> None:
    supply = opened(stored(CONFIG, "run", gap=1), prepared(folders, "cached"), tmp_path)
    assert isinstance(supply.flows, FlowStore)


@pytest.mark.parametrize("store", ["auto", "cache"])
def test_cached_flow_of_other_settings_is_refused(
    store: Literal["auto", "cache"], folders: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        DataError, match=r"flow was cached with .*gap 2.*; this run wants gap 3: run `kinevec"
    ):
        opened(stored(CONFIG, store, gap=3), prepared(folders, "cached"), tmp_path)


def test_a_cache_that_is_not_there_is_refused(folders: Path, collection: Collection, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only a folder made by `kinevec prepare` has a flow cache"):
        opened(stored(CONFIG, "cache"), collection, tmp_path)
    with pytest.raises(DataError, match="no flow was cached; run `kinevec flow "):
        opened(stored(CONFIG, "cache"), prepared(folders, "measured"), tmp_path)
    with pytest.raises(DataError, match="only a folder made by `kinevec prepare` has a flow cache"):
        opened(moving(stored(PLAIN, "cache")), collection, tmp_path)  # needed for the scores alone


def change_of_flow(supply: Supply, index: int) -> np.ndarray:
    numbers = list(range(supply.source.frames(index)))
    return color_differential(clip_flow(supply.source, index, numbers, FAST))


@pytest.mark.parametrize("terms", [Terms(), Terms(flow=1)])
@pytest.mark.parametrize("name", [None, "measured", "cached"])
def test_the_change_of_motion_is_that_of_the_flow_at_hand(
    name: Any, terms: Terms, folders: Path, collection: Collection, tmp_path: Path
) -> None:
    """A store's or a cache's own; where there is neither, what was measured when the videos were prepared."""
    videos = prepared(folders, name) if name else collection
    supply = opened(moving(replace(CONFIG, terms=terms)), videos, tmp_path)
    assert supply.change is not None
    by_flow = name is None or bool(terms.flow)  # prepared videos need no flow for the scores alone
    kind = type(None) if not by_flow else FlowCache if name == "cached" else FlowStore
    assert type(supply.flows) is kind
    for index in range(3):
        change, of_flow = supply.change(index), change_of_flow(supply, index)
        assert change.shape == (6 + index,)
        if by_flow:
            known = len(change) - FAST.gap - 1
            np.testing.assert_allclose(change[:known], of_flow[:known], rtol=1e-5)
        else:
            assert isinstance(videos, Manifest)
            measured = videos.motion(index)
            assert measured is not None
            np.testing.assert_array_equal(change[:-2], measured[1][:-2])
            assert change[-2:].tolist() == [change[-3]] * 2  # of the last two frames none is known
            assert np.abs(change - of_flow).max() > 1e-3


def test_flow_of_every_clip_anew_leaves_the_change_to_the_manifest(
    folders: Path, collection: Collection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, data = moving(stored(CONFIG, "none")), prepared(folders, "measured")
    supply = opened(config, data, tmp_path)
    assert f"and not over {FAST.gap} frames (flow.gap): run `kinevec flow` on this folder" in caplog.text
    caplog.clear()
    opened(moving(stored(CONFIG, "none", gap=1)), data, tmp_path)
    assert not caplog.text
    assert isinstance(supply.flows, ComputedFlow)
    assert supply.change is not None
    measured = data.motion(1)
    assert measured is not None
    np.testing.assert_array_equal(supply.change(1)[:-2], measured[1][:-2])
    with pytest.raises(
        DataError, match=r"sampling\.moving needs to know how each video moves: .*flow.store=run"
    ):
        opened(config, collection, tmp_path)
    with pytest.raises(DataError, match=r"sampling\.moving needs to know how each video moves"):
        opened(limited(moving(CONFIG), 0), collection, tmp_path)  # auto, and no room


def test_videos_prepared_without_motion_are_refused_in_words(folders: Path, tmp_path: Path) -> None:
    supply = opened(moving(PLAIN), prepared(folders, "still"), tmp_path)
    assert supply.change is not None
    with pytest.raises(
        DataError, match=r"still: was prepared without motion statistics, which sampling\.moving"
    ):
        supply.change(0)
    # Where the flow is there, its own scores serve.
    supply = opened(moving(CONFIG), prepared(folders, "still"), tmp_path)
    assert supply.change is not None
    known = 6 - FAST.gap - 1
    np.testing.assert_allclose(supply.change(0)[:known], change_of_flow(supply, 0)[:known], rtol=1e-5)


def learned(config: Config, store: Literal["auto", "run", "none"], weights: Path) -> Config:
    return replace(config, flow=Flow(method="raft", weights=str(weights), gap=2, short_side=32, store=store))


def test_flow_by_a_network_is_computed_once_or_not_at_all(
    folders: Path, collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "raft.pth"
    weights.touch()
    found: list[int] = []

    def note(*_: Any, workers: int, **__: Any) -> None:
        found.append(workers)

    monkeypatch.setattr(FlowStore, "build", note)
    monkeypatch.setattr(room, "cores", lambda: 7)
    for store in ("auto", "run"):
        opened(learned(CONFIG, store, weights), collection, tmp_path)
    opened(stored(CONFIG, "run"), collection, tmp_path)
    assert found == [1, 1, 7]  # one process has the device to itself
    for config in (learned(CONFIG, "none", weights), limited(learned(CONFIG, "auto", weights), 0)):
        with pytest.raises(
            ConfigError, match=r"flow by raft is not computed clip by clip: set flow.store=run"
        ):
            opened(config, collection, tmp_path)
    with pytest.raises(
        DataError, match=r"flow was cached with method dis-fast.*; this run wants method raft"
    ):
        opened(learned(CONFIG, "auto", weights), prepared(folders, "cached"), tmp_path)


def test_flow_of_fima_and_of_differences(collection: Collection, tmp_path: Path) -> None:
    fima = replace(CONFIG, terms=Terms(pixel=1), method=Method(symmetric=True))
    assert opened(fima, collection, tmp_path).flows is None  # made of differences
    assert (
        opened(replace(fima, fima=replace(fima.fima, motion="flow")), collection, tmp_path).flows is not None
    )
