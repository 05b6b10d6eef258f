"""Features that are kept: when they are used, and what happens to bad files."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kinevec.config import Clip, Config, Model, Train
from kinevec.data.decode import VideoInfo
from kinevec.data.records import Record
from kinevec.data.source import Collection, Rejected
from kinevec.encoders import Loaded
from kinevec.evaluate import cache as module
from kinevec.evaluate.cache import FeatureCache, cached_features, features_key, file_fingerprint
from kinevec.evaluate.features import Features
from kinevec.models import build_encoder
from kinevec.runtime import seeded
from painted import coloured_set

CONFIG = Config(clip=Clip(frames=4, stride=1, size=16), model=Model("tiny"), train=Train(precision="fp32"))


def loaded(seed: int = 0, config: Config = CONFIG) -> Loaded:
    with seeded(seed):
        return Loaded(build_encoder("tiny"), config, f"seed {seed}", 0)


@pytest.fixture
def videos(tmp_path: Path) -> Collection:
    (tmp_path / "videos").mkdir()
    return coloured_set(tmp_path / "videos", "aabb", ["train", "test"] * 2)


@pytest.fixture
def extracted(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Names of the encoders of each call of `extract`."""
    calls: list[list[str]] = []
    real = module.extract

    def counted(
        encoders: dict[str, torch.nn.Module], *args: object, **options: object
    ) -> dict[str, Features]:
        calls.append(list(encoders))
        return real(encoders, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "extract", counted)
    return calls


def features(videos: Collection, cache: FeatureCache | None, **encoders: Loaded) -> dict[str, Features]:
    return cached_features(encoders or {"a": loaded()}, videos, clips=2, device="cpu", cache=cache)


def test_what_was_kept_is_not_computed_again(
    videos: Collection, tmp_path: Path, extracted: list[list[str]]
) -> None:
    cache = FeatureCache(tmp_path / "features")
    first = features(videos, cache, a=loaded(0), b=loaded(1))
    again = features(videos, cache, a=loaded(0), b=loaded(1))
    assert extracted == [["a", "b"]]
    for name in ("a", "b"):
        np.testing.assert_array_equal(first[name].clips, again[name].clips)
        assert again[name].collection == videos
    more = features(videos, cache, c=loaded(2), b=loaded(1))
    assert extracted == [["a", "b"], ["c"]]
    assert list(more) == ["c", "b"]
    features(videos, None)
    assert extracted[2:] == [["a"]]


def test_others_may_read_it(videos: Collection, tmp_path: Path, extracted: list[list[str]]) -> None:
    features(videos, FeatureCache(tmp_path / "features"))
    (plain := tmp_path / "plain").touch()
    assert [path.stat().st_mode for path in (tmp_path / "features").iterdir()] == [plain.stat().st_mode]


def test_labels_and_splits_may_change(videos: Collection, tmp_path: Path, extracted: list[list[str]]) -> None:
    cache = FeatureCache(tmp_path / "features")
    features(videos, cache)
    records = tuple(replace(record, label="z", split="train") for record in videos.records)
    found = features(Collection(records, videos.infos, ()), cache)["a"]
    assert len(extracted) == 1
    assert set(found.labels) == {"z"}


def key(videos: Collection, **changes: object) -> str:
    given: dict[str, object] = {"loaded": loaded(), "clips": 2, "crops": 1, "device": "cpu"} | changes
    return features_key(collection=videos, **given)  # type: ignore[arg-type]


def test_the_key_holds_all_that_features_depend_on(videos: Collection) -> None:
    keys = [
        key(videos),
        key(videos, loaded=loaded(1)),
        key(videos, loaded=loaded(0, replace(CONFIG, clip=Clip(frames=4, stride=2, size=16)))),
        key(videos, loaded=loaded(0, replace(CONFIG, train=Train(precision="bf16")))),
        key(videos, clips=3),
        key(videos, crops=3),
        key(Collection(videos.records[::-1], videos.infos[::-1], ())),
        key(Collection(videos.records[:-1], videos.infos[:-1], ())),
    ]
    assert len(set(keys)) == len(keys)
    assert key(videos) == keys[0]
    assert all(len(text) == 32 for text in keys)


def test_a_changed_file_is_another_file(videos: Collection) -> None:
    before = file_fingerprint(videos)
    path = videos.records[0].path
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    changed = file_fingerprint(videos)
    path.unlink()
    assert len({before, changed, file_fingerprint(videos)}) == 3


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 64
    path.write_bytes(content)


def _text(path: Path) -> None:
    path.write_text("features")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_cut, _flip, _text, _empty])
def test_a_damaged_file_is_computed_anew_with_a_warning(
    damage: Callable[[Path], None],
    videos: Collection,
    tmp_path: Path,
    extracted: list[list[str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache = FeatureCache(tmp_path / "features")
    first = features(videos, cache)["a"]
    (path,) = (tmp_path / "features").iterdir()
    damage(path)
    again = features(videos, cache)["a"]
    assert len(extracted) == 2
    assert "is damaged and is computed anew" in caplog.text
    np.testing.assert_array_equal(first.clips, again.clips)
    features(videos, cache)
    assert len(extracted) == 2  # and is whole again


def test_features_of_other_videos_are_not_taken(videos: Collection, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.write("k", Features(np.zeros((4, 2, 3), np.float32), videos), videos)
    part = videos.only(lambda record: record.split == "test")
    assert cache.read("k", videos) is not None
    assert cache.read("k", part) is None
    assert cache.read("other", videos) is None


def test_the_longest_unused_files_go(videos: Collection, tmp_path: Path) -> None:
    found = Features(np.zeros((4, 2, 100), np.float32), videos)
    folder = tmp_path / "features"
    folder.mkdir()
    (folder / "other.safetensors").write_bytes(bytes(100_000))
    cache = FeatureCache(folder, limit=11_000)  # three of 3,200 bytes and a header
    for turn, name in enumerate("abc"):
        cache.write(name, found, videos)
        os.utime(folder / f"features-{name}.safetensors", (turn, turn))
    assert cache.read("a", videos) is not None  # used now
    cache.write("d", found, videos)
    kept = sorted(path.name for path in folder.iterdir())
    assert kept == [*(f"features-{name}.safetensors" for name in "acd"), "other.safetensors"]


def test_what_is_too_large_is_not_kept(
    videos: Collection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "features"
    FeatureCache(folder, limit=3000).write("a", Features(np.zeros((4, 2, 100), np.float32), videos), videos)
    assert not folder.exists()
    assert "are not kept: 3,200 bytes, and at most 3,000" in caplog.text


def test_a_place_that_cannot_be_written_does_not_fail_the_work(
    videos: Collection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("mine")
    found = features(videos, FeatureCache(tmp_path / "file" / "features"))["a"]
    assert found.clips.shape == (4, 2, 128)
    assert "features are not kept" in caplog.text


def test_where_a_video_failed_nothing_is_kept(videos: Collection, tmp_path: Path) -> None:
    infos = (replace(videos.infos[0], path=Path("gone.mp4")), *videos.infos[1:])
    cache = FeatureCache(tmp_path / "features")
    found = features(Collection(videos.records, infos, ()), cache)["a"]
    assert len(found.collection) == 3
    assert not (tmp_path / "features").exists()


def test_encoders_are_judged_on_the_videos_that_all_of_them_have(tmp_path: Path) -> None:
    records = tuple(Record(tmp_path / name, name) for name in ("a", "b", "c"))
    infos = tuple(VideoInfo(record.path, 4, 4, np.zeros(1), None, (), "h264") for record in records)
    everything = Collection(records, infos, ())
    gone = (Rejected("b", "is not there"),)
    fewer = Collection((records[0], records[2]), (infos[0], infos[2]), gone)
    kept = Features(np.arange(3, dtype=np.float32).reshape(3, 1, 1), everything)
    made = Features(np.array([[[10.0]], [[12.0]]], np.float32), fewer)
    found = module._of_the_same({"made": made, "kept": kept}, ["kept", "made"])
    assert list(found) == ["kept", "made"]
    assert found["kept"].clips.ravel().tolist() == [0, 2]
    assert found["made"].clips.ravel().tolist() == [10, 12]
    assert {one.collection.rejected for one in found.values()} == {gone}


def test_encoders_whose_clips_differ_are_not_judged_together(videos: Collection) -> None:
    other = loaded(1, replace(CONFIG, clip=Clip(frames=4, stride=2, size=16)))
    with pytest.raises(ValueError, match="the clips of a, b differ in shape"):
        cached_features({"a": loaded(), "b": other}, videos, clips=1)
