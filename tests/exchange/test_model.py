"""Files in, vectors out."""

import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import faults
import kinevec
from faults import numbered_video
from kinevec import encoders
from kinevec.config import Clip, Config, Model, Train
from kinevec.data.files import find_records
from kinevec.data.source import open_videos
from kinevec.encoders import Loaded
from kinevec.errors import DataError, InputError, VideoError
from kinevec.evaluate.features import extract
from kinevec.models import build_encoder
from kinevec.runtime import seeded
from kinevec.train.checkpoint import save_encoder

CONFIG = Config(clip=Clip(frames=4, stride=2, size=32), model=Model("tiny"), train=Train(precision="bf16"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for label, count in (("b", 2), ("a", 1)):
        (folder / label).mkdir()
        for i in range(count):
            numbered_video(folder / label / f"{i}.mp4", 9 + i, (48, 40))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    with seeded(5):
        save_encoder(folder, build_encoder("tiny"), CONFIG, step=17)
    return folder


def test_a_list_gives_a_row_for_each_file_in_its_order(run: Path, videos: Path) -> None:
    model = kinevec.load(run, precision="fp32", device="cpu")
    files = [videos / "b" / "1.mp4", str(videos / "a" / "0.mp4"), videos / "b" / "1.mp4"]
    progress: list[tuple[int, int]] = []
    found = model.embed(files, clips=3, progress=lambda *at: progress.append(at))
    assert progress == [(1, 3), (2, 3), (3, 3)]
    assert found.names == tuple(map(str, files))
    assert (found.vectors.shape, found.vectors.dtype, len(found)) == ((3, 128), np.float32, 3)
    np.testing.assert_array_equal(found.vectors[0], found.vectors[2])
    assert np.abs(found.vectors[0] - found.vectors[1]).max() > 1e-3
    np.testing.assert_array_equal(np.asarray(found), found.vectors)
    assert np.asarray(found, dtype=np.float64).dtype == np.float64
    assert [name for name, _ in found] == list(found.names)
    assert repr(found) == "Embeddings(3 videos × 128 numbers)"


def test_vectors_are_the_video_features_of_the_evaluation(run: Path, videos: Path) -> None:
    collection = open_videos(find_records(videos))
    exact = replace(CONFIG, train=Train(precision="fp32"))
    expected = extract({"it": encoders.load(run).encoder}, exact, collection, device="cpu")["it"]
    found = kinevec.load(run, precision="fp32", device="cpu").embed(videos)
    assert found.names == ("a/0.mp4", "b/0.mp4", "b/1.mp4") == tuple(collection.names())
    np.testing.assert_allclose(found.vectors, expected.videos, rtol=1e-5, atol=1e-6)


def test_features_are_the_pooled_map_of_normalised_clips(run: Path, videos: Path) -> None:
    model = kinevec.load(run, precision="fp32", device="cpu")
    clips = model.clips(videos / "a" / "0.mp4", 2)
    assert (clips.shape, clips.dtype) == ((2, 4, 32, 32, 3), np.uint8)
    mean, std = np.array(CONFIG.views.mean), np.array(CONFIG.views.std)
    batch = torch.from_numpy((clips / 255 - mean) / std).permute(0, 4, 1, 2, 3)
    with torch.no_grad():
        maps = encoders.load(run).encoder.eval().double()(batch).numpy()
    np.testing.assert_allclose(model.map(clips).numpy(), maps, atol=1e-4 * np.abs(maps).max())
    np.testing.assert_allclose(model.encode(clips), maps.mean((2, 3, 4)), atol=1e-4 * np.abs(maps).max())


def test_precision_is_what_was_asked_for(run: Path, videos: Path) -> None:
    exact, rough, auto = (
        kinevec.load(run, precision=precision, device="cpu").embed([videos / "a" / "0.mp4"], clips=1).vectors
        for precision in ("fp32", "bf16", "auto")
    )
    assert 0 < np.abs(exact - rough).max() < 0.05 * np.abs(exact).max()
    assert any(np.array_equal(auto, other) for other in (exact, rough))
    with pytest.raises(ValueError, match="precision is 'half'"):
        kinevec.load(run, precision="half")  # type: ignore[arg-type]


def test_files_of_a_list_that_cannot_be_read_are_an_error(run: Path, videos: Path, tmp_path: Path) -> None:
    model = kinevec.load(run)
    broken = faults.zero_byte(tmp_path / "empty.mp4")
    for bad in (broken, tmp_path / "missing.mp4", videos):
        with pytest.raises(VideoError, match=bad.name):
            model.embed([videos / "a" / "0.mp4", bad], clips=1)
    with pytest.raises(InputError, match="list of files to embed is empty"):
        model.embed([])


def test_files_of_a_folder_that_cannot_be_read_are_left_out_and_said(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    numbered_video(tmp_path / "b.mp4", 9, (48, 40))
    faults.zero_byte(tmp_path / "a.mp4")
    model = kinevec.load(run)
    with caplog.at_level(logging.WARNING, "kinevec"):
        found = model.embed(tmp_path, clips=1)
    assert found.names == ("b.mp4",)
    assert [(item.name, item.reason) for item in found.rejected] == [("a.mp4", "empty file (0 bytes)")]
    assert "left out a.mp4: empty file" in caplog.text
    assert repr(found) == "Embeddings(1 videos × 128 numbers, 1 files left out)"
    (tmp_path / "b.mp4").unlink()
    with pytest.raises(DataError, match=r"none of 1 videos can be read; the first, a.mp4: empty file"):
        model.embed(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        model.embed(tmp_path / "missing")


def test_one_file_and_lists_in_a_csv(run: Path, videos: Path, tmp_path: Path) -> None:
    model = kinevec.load(run)
    assert model.embed(str(videos / "a" / "0.mp4"), clips=1).names == ("0.mp4",)
    (videos / "some.csv").write_text("path\nb/1.mp4\n")
    assert model.embed(videos / "some.csv", clips=1).names == ("b/1.mp4",)


def test_it_prints_shapes_and_counts_and_knows_its_identity(run: Path) -> None:
    model = kinevec.load(run)
    assert repr(model).startswith(
        "Model(tiny: 4 frames of 32×32 at stride 2 → 128 numbers; 0.9 M parameters, 17"
    )
    assert "Conv" not in repr(model)
    loaded = encoders.load(run)
    assert isinstance(loaded, Loaded)
    assert model.identity == loaded.identity
    assert model.config == CONFIG


def test_importing_the_package_alone_imports_nothing_heavy_and_offers_what_it_says() -> None:
    check = (
        "import sys, kinevec; heavy = {'torch', 'numpy', 'av', 'cv2'} & set(sys.modules); "
        "assert not heavy, heavy; assert {'load', 'Model', 'Embeddings'} <= set(dir(kinevec))"
    )
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60)
    assert callable(kinevec.load)
    with pytest.raises(AttributeError, match="'kinevec' has no attribute 'lod'"):
        kinevec.lod  # type: ignore[attr-defined]  # noqa: B018
