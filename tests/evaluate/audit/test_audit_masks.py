"""Where the foreground is: files in their forms, the generator, and estimates."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from audit_cases import write_video

from kinevec.data.decode import VideoInfo, probe, read_clip
from kinevec.data.records import Record
from kinevec.data.synthetic import SynthConfig, render_scene, write_synthetic_videos
from kinevec.errors import ConfigError, InputError
from kinevec.evaluate.audit.masks import EstimatedMasks, FileMasks, GeneratedMasks, open_masks

SHAPE = (6, 32, 40)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "jump" / "a.mp4"
    path.parent.mkdir()
    write_video(path, np.full((*SHAPE, 3), 80, np.uint8))
    return path


@pytest.fixture
def info(video: Path) -> VideoInfo:
    return probe(video)


def truth() -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    for t in range(SHAPE[0]):
        mask[t, 8:20, 4 + 4 * t : 16 + 4 * t] = True
    return mask


def read(
    root: Path, info: VideoInfo, size: tuple[int, int] = SHAPE[1:], level: int = 127
) -> np.ndarray | None:
    numbers = [0, 2, 5]
    frames = np.zeros((3, *size, 3), np.uint8)
    return FileMasks(root, level).read(Record(info.path, "jump/a.mp4", "jump"), info, numbers, frames)


def test_arrays(tmp_path: Path, info: VideoInfo) -> None:
    (tmp_path / "jump").mkdir()
    np.save(tmp_path / "jump" / "a.npy", truth())
    np.testing.assert_array_equal(read(tmp_path, info), truth()[[0, 2, 5]])
    np.save(tmp_path / "jump" / "a.npy", np.where(truth(), 200, 90).astype(np.uint8))
    np.testing.assert_array_equal(read(tmp_path, info), truth()[[0, 2, 5]])
    assert read(tmp_path, info, level=80).all()  # type: ignore[union-attr]


def test_images(tmp_path: Path, info: VideoInfo) -> None:
    (tmp_path / "jump" / "a").mkdir(parents=True)
    for t, mask in enumerate(truth()):
        cv2.imwrite(str(tmp_path / "jump" / "a" / f"{t:03}.png"), mask.astype(np.uint8) * 255)
    np.testing.assert_array_equal(read(tmp_path, info), truth()[[0, 2, 5]])


def test_videos(tmp_path: Path, info: VideoInfo) -> None:
    (tmp_path / "jump").mkdir()
    write_video(tmp_path / "jump" / "a.mkv", truth()[..., None].repeat(3, -1).astype(np.uint8) * 255)
    np.testing.assert_array_equal(read(tmp_path, info), truth()[[0, 2, 5]])


def test_masks_of_another_size_are_fitted(tmp_path: Path, info: VideoInfo) -> None:
    (tmp_path / "jump").mkdir()
    np.save(tmp_path / "jump" / "a.npy", truth())
    np.testing.assert_array_equal(read(tmp_path, info, (16, 20)), truth()[[0, 2, 5], ::2, ::2])


def test_half_a_pixel_of_foreground_is_foreground(tmp_path: Path, info: VideoInfo) -> None:
    (tmp_path / "jump").mkdir()
    moved = np.roll(truth(), 1, 2)  # by one column: at half the size it covers half of those at its edges
    np.save(tmp_path / "jump" / "a.npy", moved)
    expected = moved[[0, 2, 5], ::2]
    np.testing.assert_array_equal(read(tmp_path, info, (16, 20)), expected[..., ::2] | expected[..., 1::2])


@pytest.mark.parametrize("kind", ["images", "array"])
def test_what_is_as_grey_as_the_level_is_background(tmp_path: Path, info: VideoInfo, kind: str) -> None:
    grey = np.where(truth(), 128, 127).astype(np.uint8)
    place = tmp_path / "jump" / "a"
    if kind == "array":
        place.parent.mkdir()
        np.save(place.with_suffix(".npy"), grey)
    else:
        place.mkdir(parents=True)
        for t, image in enumerate(grey):
            cv2.imwrite(str(place / f"{t:03}.png"), image)
    np.testing.assert_array_equal(read(tmp_path, info), truth()[[0, 2, 5]])
    assert read(tmp_path, info, level=126).all()  # type: ignore[union-attr]


def test_no_mask_is_none(tmp_path: Path, info: VideoInfo, caplog: pytest.LogCaptureFixture) -> None:
    assert read(tmp_path, info) is None
    (tmp_path / "jump").mkdir()
    assert read(tmp_path, info) is None
    np.save(tmp_path / "jump" / "a.npy", truth()[:5])
    assert read(tmp_path, info) is None
    assert "has 5 masks, but the video has 6 frames" in caplog.text
    (tmp_path / "jump" / "a.npy").write_bytes(b"no array")
    assert read(tmp_path, info) is None


def test_a_name_never_leads_out_of_the_folder(tmp_path: Path, info: VideoInfo) -> None:
    (tmp_path / "masks").mkdir()
    np.save(tmp_path / "a.npy", truth())
    frames = np.zeros((1, *SHAPE[1:], 3), np.uint8)
    for name in ("../a.mp4", str(tmp_path / "a.mp4")):
        assert FileMasks(tmp_path / "masks").read(Record(info.path, name), info, [0], frames) is None


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder of masks"):
        open_masks(tmp_path / "none")
    with pytest.raises(ConfigError, match="255"):
        FileMasks(tmp_path, 255)
    (tmp_path / "synth.json").write_text("{}")
    with pytest.raises(InputError, match="not a list of how videos were made"):
        open_masks(tmp_path)


def test_generated_videos_know_their_object(tmp_path: Path) -> None:
    config = SynthConfig(videos_per_class=2, test_share=0.5, frames=4, size=32, seed=3)
    write_synthetic_videos(tmp_path, config)
    masks = open_masks(tmp_path)
    assert isinstance(masks, GeneratedMasks)
    assert json.loads((tmp_path / "synth.json").read_text())["seed"] == 3
    path = tmp_path / "videos" / "stop_and_go" / "stop_and_go_00001.mp4"
    info = probe(path)
    frames = np.zeros((2, 32, 32, 3), np.uint8)
    record = Record(path, "videos/stop_and_go/stop_and_go_00001.mp4", "stop_and_go")
    expected = render_scene(config, "stop_and_go", 1).mask
    np.testing.assert_array_equal(masks.read(record, info, [3, 1], frames), expected[[3, 1]])
    for name in ("other.mp4", "videos/orbit/orbit_00007.mp4", "x_1.mp4"):
        assert masks.read(Record(path, name), info, [0], frames[:1]) is None


def test_what_differs_in_a_single_colour_is_foreground(info: VideoInfo) -> None:
    """The mean over the colours of a change of 45 in one of them would be 15, which passes for noise."""
    frames = np.full((12, 64, 64, 3), 90, np.uint8)
    square = np.zeros(frames.shape[:3], bool)
    for t in range(12):
        square[t, 16:32, 4 * t : 4 * t + 16] = True
    frames[square, 0] += 45
    found = EstimatedMasks().read(Record(info.path, "a.mp4"), info, range(12), frames)
    assert found is not None
    assert (found & square).sum() / (found | square).sum() > 0.8


def test_what_moves_before_a_still_ground_is_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ground = rng.integers(60, 120, (12, 16, 1)).repeat(4, 0).repeat(4, 1)
    frames = np.repeat(ground[None], 12, 0).repeat(3, -1).astype(np.uint8)
    truth = np.zeros(frames.shape[:3], bool)
    for t in range(12):
        truth[t, 16:32, 4 * t : 4 * t + 16] = True
    frames[truth] = rng.integers(170, 250, (truth.sum(), 1)).astype(np.uint8)
    write_video(tmp_path / "a.mp4", frames)
    info = probe(tmp_path / "a.mp4")
    decoded = read_clip(info.path, range(12), info=info).frames
    found = EstimatedMasks().read(Record(info.path, "a.mp4"), info, range(12), decoded)
    assert found is not None
    overlap = (found & truth).sum() / (found | truth).sum()
    assert overlap > 0.8
    still = EstimatedMasks().read(Record(info.path, "a.mp4"), info, [0, 0, 0], decoded[[0, 0, 0]])
    assert still is not None
    assert not still.any()
