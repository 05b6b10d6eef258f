"""Features come from exactly the frames of the protocol, of every video that decodes."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from faults import numbered_video, read_number
from kinevec.config import Clip, Config, Train, Views
from kinevec.data.decode import Clip as Frames
from kinevec.data.decode import VideoInfo, read_clip
from kinevec.data.records import Record
from kinevec.data.sampling import even_clips
from kinevec.data.source import Collection, Rejected, open_videos
from kinevec.errors import CheckpointError, DataError
from kinevec.evaluate import features as module
from kinevec.evaluate.features import Features
from kinevec.models import build_encoder
from kinevec.models.conv import Conv3d
from kinevec.views import geometry

extract = partial(module.extract, device="cpu")

SIZE = 40
VIEWS = Views(mean=(0.2, 0.3, 0.4), std=(0.5, 0.6, 0.7))
CONFIG = Config(clip=Clip(frames=3, stride=4, size=SIZE), views=VIEWS, train=Train(precision="fp32"))


class Seeing(nn.Module):
    """Says everything of what it is given: every value is a channel."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[tuple[int, ...]] = []
        self.trained: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(tuple(x.shape))
        self.trained.append(self.training)
        assert not torch.is_grad_enabled()
        return x.flatten(1)[:, :, None, None, None]


def shown(clip: NDArray[np.float32]) -> list[int]:
    """The numbers on the frames that `Seeing` was given as one clip."""
    frames = clip.reshape(3, CONFIG.clip.frames, SIZE, SIZE).transpose(1, 2, 3, 0)
    return [read_number(frame) for frame in 255 * (frames * VIEWS.std + VIEWS.mean)]


def videos(folder: Path, lengths: dict[str, int], size: tuple[int, int] = (80, 80)) -> Collection:
    paths = [numbered_video(folder / f"{name}.mp4", frames, size) for name, frames in lengths.items()]
    return open_videos([Record(path, path.name, label=path.stem[0]) for path in paths])


def test_an_encoder_sees_the_clips_of_the_protocol_whole_and_upright(tmp_path: Path) -> None:
    lengths = {"a1": 30, "a2": 9, "b1": 5, "b2": 1}  # much longer than a clip, just as long, shorter, a still
    encoder = Seeing()
    found = extract({"seeing": encoder}, CONFIG, videos(tmp_path, lengths), clips=4)["seeing"]
    assert found.clips.shape == (4, 4, 3 * 3 * SIZE * SIZE)
    assert found.clips.dtype == np.float32
    expected = {
        "a1": [[0, 4, 8], [7, 11, 15], [14, 18, 22], [21, 25, 29]],
        "a2": [[0, 4, 8]] * 4,
        "b1": [[0, 4, 3]] * 4,
        "b2": [[0, 0, 0]] * 4,
    }
    for (name, frames), clips in zip(lengths.items(), found.clips, strict=True):
        assert [shown(clip) for clip in clips] == expected[name] == even_clips(frames, CONFIG.clip, 4)
    assert encoder.batches == [(4, 3, 3, SIZE, SIZE)] * 4


def test_the_central_square_is_seen(tmp_path: Path) -> None:
    wide = videos(tmp_path, {"a": 9}, size=(160, 80))
    clips = extract({"seeing": Seeing()}, CONFIG, wide, clips=1)["seeing"].clips[0]
    frames = clips[0].reshape(3, 3, SIZE, SIZE).transpose(1, 2, 3, 0) * VIEWS.std + VIEWS.mean
    source = read_clip(wide.infos[0].path, [0, 4, 8]).frames[:, :, 40:120].astype(float) / 255
    halved = source.reshape(3, SIZE, 2, SIZE, 2, 3).mean((2, 4))
    assert (
        np.abs(frames - halved).mean() < 0.02
    )  # antialiasing reaches a little further than the mean of 4 pixels
    assert np.abs(frames[:, :, ::-1] - halved).mean() > 0.1


@pytest.mark.parametrize(
    ("size", "decoded"),
    [
        ((160, 160), None),
        ((480, 160), None),
        ((200, 200), (160, 160)),
        ((400, 320), (160, 200)),
        ((320, 400), (200, 160)),
    ],
)
def test_large_frames_are_scaled_down_while_decoding(
    size: tuple[int, int], decoded: tuple[int, int] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert geometry.LARGE * SIZE == 160
    asked: list[tuple[int, int] | None] = []

    def recorded(path: Path, numbers: list[int], *, info: VideoInfo, size: tuple[int, int] | None) -> Frames:
        asked.append(size)
        return read_clip(path, numbers, info=info, size=size)

    collection = videos(tmp_path, {"a": 9}, size)
    monkeypatch.setattr(geometry, "LARGE", 99)
    exact = extract({"seeing": Seeing()}, CONFIG, collection, clips=1)["seeing"].clips
    monkeypatch.undo()
    monkeypatch.setattr(module, "read_clip", recorded)
    got = extract({"seeing": Seeing()}, CONFIG, collection, clips=1)["seeing"].clips
    assert asked == [decoded]
    assert np.abs(got - exact).mean() < 0.1  # of a range of 2


def test_ten_clips_a_video_unless_told_otherwise(tmp_path: Path) -> None:
    found = extract({"seeing": Seeing()}, CONFIG, videos(tmp_path, {"a": 12}))["seeing"]
    assert found.clips.shape[:2] == (1, 10)


def test_several_encoders_in_one_pass_are_as_each_alone_and_do_not_train(tmp_path: Path) -> None:
    collection = videos(tmp_path, {"a": 12, "b": 20})
    encoders = {"one": build_encoder("tiny"), "other": build_encoder("tiny")}
    before = {name: {k: v.clone() for k, v in e.state_dict().items()} for name, e in encoders.items()}
    together = extract(encoders, CONFIG, collection, clips=2)
    for name, encoder in encoders.items():
        assert together[name].clips.shape == (2, 2, encoder.channels)
        alone = extract({name: encoder}, CONFIG, collection, clips=2)[name]
        np.testing.assert_array_equal(alone.clips, together[name].clips)
        assert all(torch.equal(v, before[name][k]) for k, v in encoder.state_dict().items())
        assert not any(module.training for module in encoder.modules())
    assert np.abs(together["one"].clips - together["other"].clips).max() > 0.01
    seeing = Seeing()
    extract({"tiny": encoders["one"], "seeing": seeing}, CONFIG, collection, clips=2)
    assert seeing.trained == [False, False]


def test_features_are_the_pooled_encoder_output(tmp_path: Path) -> None:
    collection = videos(tmp_path, {"a": 12})
    inputs: list[Tensor] = []
    encoder = build_encoder("tiny")
    encoder.register_forward_pre_hook(lambda _, given: inputs.append(given[0].clone()))
    found = extract({"tiny": encoder}, CONFIG, collection, clips=2)["tiny"]
    with torch.no_grad():
        maps = encoder(inputs[0]).double().numpy()
    np.testing.assert_allclose(found.clips[0], maps.reshape(2, encoder.channels, -1).mean(2), atol=1e-5)


def test_bf16_features_are_close_to_exact_ones_in_float32(tmp_path: Path) -> None:
    collection = videos(tmp_path, {"a": 12})
    encoder = build_encoder("tiny")
    exact = extract({"tiny": encoder}, CONFIG, collection, clips=2)["tiny"].clips
    rough = replace(CONFIG, train=Train(precision="bf16"))
    got = extract({"tiny": encoder}, rough, collection, clips=2)["tiny"].clips
    assert got.dtype == np.float32
    assert 0 < np.linalg.norm(got - exact) / np.linalg.norm(exact) < 0.05


class WrongInBf16(Conv3d):
    """A convolution as on a processor that computes its bf16 form wrongly."""

    def forward(self, input: Tensor) -> Tensor:
        y = super().forward(input)
        return 2 * y if self.route == "plain" and torch.is_autocast_enabled("cpu") else y


def test_convolutions_that_are_wrong_in_bf16_are_not_used(tmp_path: Path) -> None:
    collection = videos(tmp_path, {"a": 12})
    encoders = {
        "one": nn.Sequential(WrongInBf16(3, 4, 3, 1, 1)),
        "other": nn.Sequential(WrongInBf16(3, 2, 3)),
    }
    exact, got = (
        extract(encoders, replace(CONFIG, train=Train(precision=precision)), collection, clips=2)
        for precision in ("fp32", "bf16")
    )
    for name, features in exact.items():
        assert np.linalg.norm(got[name].clips - features.clips) / np.linalg.norm(features.clips) < 0.05


def test_videos_that_do_not_decode_are_left_out_and_listed(tmp_path: Path) -> None:
    collection = videos(tmp_path, {"a1": 12, "a2": 12, "b1": 12, "b2": 12})
    (tmp_path / "a2.mp4").write_bytes(b"")  # damaged after it was probed
    (tmp_path / "b1.mp4").unlink()
    collection = Collection(collection.records, collection.infos, (Rejected("zero.mp4", "known before"),))
    progress: list[tuple[int, int]] = []
    found = extract(
        {"one": Seeing(), "other": Seeing()},
        CONFIG,
        collection,
        clips=2,
        progress=lambda *at: progress.append(at),
    )
    for features in found.values():
        assert [record.name for record in features.collection.records] == ["a1.mp4", "b2.mp4"]
        assert [info.path.name for info in features.collection.infos] == ["a1.mp4", "b2.mp4"]
        assert [item.name for item in features.collection.rejected] == ["zero.mp4", "a2.mp4", "b1.mp4"]
        assert all(item.reason for item in features.collection.rejected)
        assert len(features.clips) == 2
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_no_video_at_all_is_an_error_that_tells_of_the_first(tmp_path: Path) -> None:
    collection = videos(tmp_path, {"a": 12, "b": 12})
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "b.mp4").write_text("text")
    collection = Collection(collection.records, collection.infos, (Rejected("zero.mp4", "known before"),))
    first = extract_reason(collection.only(lambda record: record.name == "a.mp4"))
    second = extract_reason(collection.only(lambda record: record.name == "b.mp4"))
    assert first != second
    with pytest.raises(DataError, match=r"^none of 2 videos decodes; the first, a.mp4: ") as caught:
        extract({"seeing": Seeing()}, CONFIG, collection)
    assert str(caught.value).endswith(first)


def extract_reason(collection: Collection) -> str:
    """Why the only video of a collection does not decode."""
    with pytest.raises(DataError) as caught:
        extract({"seeing": Seeing()}, CONFIG, collection)
    return str(caught.value).partition(": ")[2]


def made_up() -> Features:
    """Three videos with the features 0, 1, 2, ... in order."""
    clips = np.arange(3 * 2 * 2, dtype=np.float32).reshape(3, 2, 2)
    records = (
        Record(Path("x"), "x", label="b", split="test"),
        Record(Path("y"), "y", split="train"),
        Record(Path("z"), "z", label="a", split="test"),
    )
    return Features(clips, Collection(records, (None,) * 3, ()))  # type: ignore[arg-type]


def test_video_features_are_means_over_clips_and_parts_keep_them_with_their_records() -> None:
    features = made_up()
    np.testing.assert_array_equal(features.videos, [[1, 2], [5, 6], [9, 10]])
    assert features.labels == ["b", "", "a"]
    test = features.split("test")
    np.testing.assert_array_equal(test.videos, [[1, 2], [9, 10]])
    assert test.labels == ["b", "a"]
    assert len(features.split("val").collection) == 0
    np.testing.assert_array_equal(features.only(lambda record: record.name == "y").clips, features.clips[1:2])


def test_features_that_are_not_finite_are_refused_by_name(tmp_path: Path) -> None:
    """One such row would go into the mean that all others are centred by."""

    class Overflowing(Seeing):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 3e38 * 10

    collection = videos(tmp_path, {"a": 30})
    with pytest.raises(CheckpointError, match=r"big, .*a\.mp4: the encoder's features are not finite"):
        extract({"seeing": Seeing(), "big": Overflowing()}, CONFIG, collection)


def test_three_crops_follow_each_clip(tmp_path: Path) -> None:
    """Every view shows the frames of its clip; the middle one is the central square."""
    wide = videos(tmp_path, {"a": 30}, size=(160, 80))
    one, three = (module.clips_of(CONFIG, wide.infos[0], 2, crops) for crops in (1, 3))
    assert three.shape == (6, 3, SIZE, SIZE, 3)
    np.testing.assert_array_equal(three[[1, 4]], one)
    for clip, (first, last) in enumerate([(0, 8), (21, 29)]):
        source = read_clip(wide.infos[0].path, [first, last]).frames
        for crop, x in enumerate((0, 40, 80)):
            square = source[:, :, x : x + 80].reshape(2, SIZE, 2, SIZE, 2, 3).mean((2, 4))
            seen = three[3 * clip + crop][[0, 2]].astype(float)
            assert (
                np.abs(seen - square).mean() < 20
            )  # resized in another way; another part differs by far more
            others = [abs(seen - source[:, ::2, y : y + 80 : 2]).mean() for y in (0, 40, 80) if y != x]
            assert np.abs(seen - square).mean() < 0.5 * min(others)
    found = extract({"seeing": Seeing()}, CONFIG, wide, clips=2, crops=3)["seeing"]
    assert found.clips.shape[:2] == (1, 6)
