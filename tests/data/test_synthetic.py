import csv
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from kinevec.data import textures
from kinevec.data.synthetic import (
    SynthConfig,
    render_scene,
    render_video,
    write_synthetic_videos,
)
from kinevec.data.trajectories import CLASSES, draw_trajectory
from kinevec.errors import ConfigError, OutputError

CHANCE = 1 / len(CLASSES)


# ---------------------------------------------------------------- what a video is made of


def test_a_video_depends_on_its_seed_class_and_number_only():
    config = SynthConfig(frames=6, size=48)
    video = render_video(config, "spiral", 3)
    assert video.shape == (6, 48, 48, 3)
    assert video.dtype == np.uint8
    render_video(config, "spin", 1)
    np.testing.assert_array_equal(video, render_video(config, "spiral", 3))
    np.testing.assert_array_equal(video, render_video(replace(config, videos_per_class=8), "spiral", 3))
    for other in (
        render_video(replace(config, seed=1), "spiral", 3),
        render_video(config, "spiral", 4),
        render_video(config, "spin", 3),
    ):
        assert np.abs(video.astype(int) - other).mean() > 10


def test_less_light_falls_on_the_background_alone():
    config = SynthConfig(frames=6, size=48)
    full, half, none = (render_scene(replace(config, light=light), "zigzag", 2) for light in (1.0, 0.5, 0.0))
    np.testing.assert_array_equal(full.mask, half.mask)
    np.testing.assert_allclose(half.background, full.background / 2, atol=1)
    assert not none.background.any()
    assert none.frames[none.mask].max() > 100


def test_a_biased_set_shows_the_same_motion_before_other_backgrounds():
    config = SynthConfig(frames=6, size=48)
    plain, biased = (
        render_scene(replace(config, background=kind), "zigzag", 2) for kind in ("unbiased", "biased")
    )
    np.testing.assert_array_equal(plain.mask, biased.mask)
    assert np.abs(plain.background.astype(int) - biased.background).mean() > 10


@pytest.mark.parametrize("label", CLASSES)
def test_the_mask_marks_where_the_frame_differs_from_the_background(label):
    scene = render_scene(SynthConfig(frames=12, size=96), label, 5)
    away = np.stack([cv2.dilate(mask.astype(np.uint8), np.ones((5, 5))) == 0 for mask in scene.mask])
    np.testing.assert_array_equal(scene.frames[away], scene.background[away])
    difference = np.abs(scene.frames.astype(int) - scene.background).max(axis=-1)
    assert (difference[scene.mask] > 8).mean() > 0.95
    assert scene.mask.any(axis=(1, 2)).all()


@pytest.mark.parametrize("label", CLASSES)
def test_the_mask_fills_the_circle_that_the_trajectory_states(label):
    scene = render_scene(SynthConfig(frames=12, size=96), label, 7)
    for mask, centre, diameter in zip(
        scene.mask, scene.trajectory.centre, scene.trajectory.diameter, strict=True
    ):
        rows, columns = mask.nonzero()
        assert np.hypot(columns - centre[0], rows - centre[1]).max() == pytest.approx(diameter / 2, abs=1.5)


def test_an_object_hides_what_is_behind_it_and_is_masked_where_it_covers_half_a_pixel():
    side, size = 20, 48
    sprite = np.full((side, side, 4), (0.2, 0.4, 0.6, 1.0), np.float32)
    background = np.random.default_rng(0).uniform(size=(3, size, size, 3)).astype(np.float32)
    centre = np.array([[20.5, 24.5], [20.7, 24.3], [20.5, 24.5]])
    diameter = np.array([side - 2.0, side - 2.0, (side - 2) / 2])
    video, mask = textures.overlay(sprite, background, centre, diameter, np.array([0, 0, np.pi / 2]))
    np.testing.assert_allclose(
        video[0, 15:35, 11:31], np.broadcast_to([0.2, 0.4, 0.6], (20, 20, 3)), atol=1e-6
    )
    np.testing.assert_array_equal(video[0, :14], background[0, :14])
    expected = np.zeros((size, size), bool)
    expected[15:35, 11:31] = True
    np.testing.assert_array_equal(mask[:2], [expected, expected])
    assert mask[2].sum() == pytest.approx(side**2 / 4, abs=21)


def test_objects_are_lighter_or_darker_than_the_ground():
    ground = np.array([0.5, 0.5, 0.5])
    apart = []
    for seed in range(60):
        sprite = textures.object_sprite(np.random.default_rng(seed), 96, ground)
        colour = sprite[..., :3].sum(axis=(0, 1)) / sprite[..., 3].sum()
        apart.append(abs((colour - ground) @ (0.299, 0.587, 0.114)))
    assert np.quantile(apart, 0.1) > 0.15


def test_the_background_drifts_steadily_and_slowly():
    speeds = []
    for index in range(8):
        shown = render_scene(SynthConfig(frames=17, size=96), "spin", index).background.mean(axis=-1)
        window = cv2.createHanningWindow((96, 96), cv2.CV_32F)
        steps = [
            cv2.phaseCorrelate(a.astype(np.float32), b.astype(np.float32), window)[0]
            for a, b in zip(shown[:-8], shown[8:], strict=True)
        ]
        assert np.std(steps, axis=0).max() < 0.2
        speeds.append(np.hypot(*np.mean(steps, axis=0)) / 8)
    assert min(speeds) > 0.02
    assert max(speeds) < 0.45
    assert np.ptp(speeds) > 0.1


def test_backgrounds_are_as_rough_as_photographs():
    """The amplitude spectrum falls about as 1/f: a straight line on logarithmic axes, slope near -1."""
    slopes = []
    for index in range(12):
        light = render_scene(SynthConfig(frames=2, size=128), "spin", index).background[0].mean(axis=-1)
        light = (light - light.mean()) * np.outer(np.hanning(128), np.hanning(128))
        amplitude = np.abs(np.fft.fft2(light))
        radius = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128)[None, :])
        rings = [(low, low * 1.4) for low in (0.03, 0.042, 0.06, 0.084)]
        levels = [np.log(amplitude[(radius >= a) & (radius < b)].mean()) for a, b in rings]
        slopes.append(np.polyfit(np.log([a for a, _ in rings]), levels, 1)[0])
    assert -1.6 < np.mean(slopes) < -0.8


# ---------------------------------------------------------------- motion is all that tells the class


def closest_line_residual(centre):
    return np.linalg.svd(centre - centre.mean(axis=0), compute_uv=False)[1]


def test_each_class_moves_as_its_name_says():
    drawn = {label: draw_trajectory(np.random.default_rng(3), label, 200, 96) for label in CLASSES}
    for label in ("pulse", "approach", "spin"):
        assert np.ptp(drawn[label].centre, axis=0).max() < 1e-9
    for label in set(CLASSES) - {"spin"}:
        assert np.ptp(drawn[label].angle) == 0
    for label in set(CLASSES) - {"pulse", "approach"}:
        assert np.ptp(drawn[label].diameter) == 0
    for label in ("oscillate", "bounce"):
        assert closest_line_residual(drawn[label].centre) < 1e-9
    turns = np.diff(drawn["spin"].angle)
    np.testing.assert_allclose(turns, turns[0])
    orbit = drawn["orbit"].centre
    rim = (orbit.max(axis=0) + orbit.min(axis=0)) / 2
    radius = np.hypot(*(orbit - rim).T)
    assert np.ptp(radius) < 0.05 * radius.mean()
    growth = np.diff(drawn["approach"].diameter)
    assert (growth > 0).mean() > 0.8  # grows for most of the time, and falls back fast
    assert -growth.min() > 3 * growth.max()
    pulse = np.diff(drawn["pulse"].diameter)
    assert 0.45 < (pulse > 0).mean() < 0.55
    pace = np.hypot(*np.diff(drawn["stop_and_go"].centre, axis=0).T)
    assert 0.4 < (pace < 1e-9).mean() < 0.8
    assert 3 < pace.max() < 12  # goes, and does not jump
    spiral = drawn["spiral"].centre
    radius = np.hypot(*(spiral - spiral.mean(axis=0)).T)
    assert radius.min() < 0.2 * radius.max()
    zigzag = np.diff(drawn["zigzag"].centre, axis=0)
    # Straight legs: a turn changes two steps, and there are at most two each 10 and two each 44 frames.
    assert (np.abs(np.diff(zigzag, axis=0)).max(axis=1) < 1e-9).mean() > 1 - 4 / 10 - 4 / 44
    assert closest_line_residual(drawn["zigzag"].centre) > 20
    fall = np.diff(drawn["bounce"].centre, n=2, axis=0)
    gravity = np.median(fall, axis=0)
    assert (np.abs(fall - gravity).max(axis=1) < 1e-9).mean() > 0.7  # the same in high and low hops
    shake = drawn["shake"].centre - drawn["shake"].centre.mean(axis=0)
    assert abs((shake[1:] * shake[:-1]).sum() / (shake**2).sum()) < 0.2
    assert 2 < shake.std() < 3.5


def test_place_size_and_orientation_at_a_random_frame_do_not_tell_the_class():
    rng = np.random.default_rng(0)
    drawn = {label: [draw_trajectory(rng, label, 48, 96) for _ in range(1200)] for label in CLASSES}
    quantiles = np.linspace(0.05, 0.95, 7)
    for label, videos in drawn.items():
        centre = np.concatenate([video.centre for video in videos]) - 47.5
        np.testing.assert_allclose(centre.mean(axis=0), 0, atol=1.6, err_msg=label)
        covariance = centre.T @ centre / len(centre)
        np.testing.assert_allclose(covariance, 12.0**2 * np.eye(2), atol=16, err_msg=label)
        axes = [np.linalg.eigh(np.cov(video.centre.T))[1] for video in videos]  # along and across each path
        own = np.concatenate([(v.centre - 47.5) @ axis for v, axis in zip(videos, axes, strict=True)])
        np.testing.assert_allclose((own**2).mean(axis=0), 12.0**2, atol=16, err_msg=label)
        reach = np.log(np.concatenate([video.diameter for video in videos]) / 28)
        expected = np.log(np.concatenate([video.diameter for video in drawn["spin"]]) / 28)
        np.testing.assert_allclose(
            np.quantile(reach, quantiles), np.quantile(expected, quantiles), atol=0.035, err_msg=label
        )
        angles = np.exp(1j * np.array([video.angle[20] for video in videos]))
        assert abs(angles.mean()) < 0.12, label


def ridge_predictions(train, labels, test, strength):
    """Labels of `test` (M, D) by least squares onto one-hot targets, from `train` (N, D), standardised."""
    mean, deviation = train.mean(axis=0), train.std(axis=0) + 1e-6
    train, test = ((np.c_[(x - mean) / deviation, np.ones(len(x))]) for x in (train, test))
    gram = train.T @ train + strength * np.eye(train.shape[1])
    return (test @ np.linalg.solve(gram, train.T @ np.eye(len(CLASSES))[labels])).argmax(axis=1)


def cross_validated(features, labels, strength):
    """Share of right predictions per class, five folds."""
    order = np.random.default_rng(0).permutation(len(labels))
    right = np.empty(len(labels))
    for fold in range(5):
        held = order[fold::5]
        kept = np.setdiff1d(order, held)
        predicted = ridge_predictions(features[kept], labels[kept], features[held], strength)
        right[held] = predicted == labels[held]
    return np.array([right[labels == label].mean() for label in range(len(CLASSES))])


def frame_picture(frame):
    """A small picture, and a small map of where the frame is unlike its mean colour: place and size of the object."""
    unlike = np.abs(frame - frame.mean(axis=(0, 1))).sum(axis=-1).astype(np.float32)
    small = [cv2.resize(x, (8, 8), interpolation=cv2.INTER_AREA).ravel() for x in (frame, unlike)]
    return np.concatenate(small).astype(float)


def frame_statistics(frame):
    """Mean colour, contrast, and strength and direction of the grain: what a background is like."""
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(float)
    down, right = np.gradient(gray)
    squared = (right + 1j * down) ** 2
    strength = np.abs(squared).mean()
    grain = squared.mean() / strength
    return np.array([*frame.mean(axis=(0, 1)), grain.real, grain.imag, np.log(strength), np.log(gray.std())])


def autocorrelation(signal, lags):
    signal = signal - signal.mean()
    power = (np.abs(signal) ** 2).mean() + 1e-6
    return [(signal[lag:] * signal[:-lag].conj()).mean().real / power for lag in range(1, lags + 1)]


def motion_features(frames):
    """From optical flow less its median: how what moves goes, turns and grows, and how that repeats."""
    side = frames.shape[1]
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    flow.setFinestScale(1)
    gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    place = np.arange(side)[None, :] + 1j * np.arange(side)[:, None]
    going, deforming = [], []
    for before, after in pairwise(gray):
        v = flow.calc(before, after, None) @ np.array([1, 1j])
        v -= np.median(v.real) + 1j * np.median(v.imag)
        weight = np.maximum(np.abs(v) - 0.2, 0)
        total = weight.sum() + 1e-3
        middle, mean = (place * weight).sum() / total, (v * weight).sum() / total
        arm = place - middle
        going.append(mean)
        deforming.append(
            10 * ((v - mean) * arm.conj() * weight).sum() / ((np.abs(arm) ** 2 * weight).sum() + 1e-3)
        )
    v, grow, turn = np.array(going), np.real(deforming), np.imag(deforming)
    spread = np.linalg.eigvalsh(np.cov(v.real, v.imag))
    bend = v[1:] * v[:-1].conj()
    features = [spread[0] / (spread[1] + 1e-6), abs(bend.imag.sum()) / (np.abs(bend).sum() + 1e-6)]
    features += [np.abs(v).std() / (np.abs(v).mean() + 0.05), (grow**3).mean() / (grow.std() ** 3 + 1e-4)]
    for signal in (v, np.abs(v), grow, turn):
        features += [np.log(signal.std() + 0.05), np.log(np.abs(signal).mean() + 0.05), abs(signal.mean())]
        features += autocorrelation(signal, 8)
    return np.array(features)


@pytest.fixture(scope="module")
def clips():
    """Clips of 16 frames at stride 2, 64 pixels, (10 classes · 24, 16, 64, 64, 3), and their labels."""
    config = SynthConfig(videos_per_class=24, frames=32, size=64, seed=5)
    videos = [render_video(config, label, index)[::2] for label in CLASSES for index in range(24)]
    return np.array(videos), np.repeat(np.arange(len(CLASSES)), 24)


@pytest.mark.parametrize("features", [frame_picture, frame_statistics])
def test_single_frames_do_not_reveal_the_class(clips, features):
    videos, labels = clips
    for t in (0, 8, 15):
        described = np.array([features(video[t]) for video in videos])
        assert cross_validated(described, labels, strength=30.0).mean() < 2 * CHANCE


def test_motion_reveals_every_class(clips):
    videos, labels = clips
    right = cross_validated(np.array([motion_features(video) for video in videos]), labels, strength=10.0)
    assert right.mean() > 6 * CHANCE
    assert right.min() > 3 * CHANCE, dict(zip(CLASSES, right, strict=True))


def test_a_biased_background_tells_the_class_in_train_and_misleads_in_test():
    config = SynthConfig(videos_per_class=30, test_share=1 / 3, frames=2, size=48, background="biased")
    features = np.array(
        [frame_statistics(render_video(config, label, index)[0]) for label in CLASSES for index in range(30)]
    )
    labels, number = np.divmod(np.arange(len(features)), 30)
    fit, held, test = number < 14, (number >= 14) & (number < 20), number >= 20
    assert {config.split(index) for index in range(20)} == {"train"}
    assert {config.split(index) for index in range(20, 30)} == {"test"}
    predicted = ridge_predictions(features[fit], labels[fit], features, strength=10.0)
    assert (predicted == labels)[held].mean() > 8 * CHANCE
    assert (predicted == labels)[test].mean() < CHANCE


# ---------------------------------------------------------------- the files

SMALL = SynthConfig(videos_per_class=2, test_share=0.5, frames=20, fps=12, size=32)


def tree(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("synth") / "new" / "set"
    assert write_synthetic_videos(root, SMALL) == root / "labels.csv"
    return root


def test_labels_list_every_file_once_with_a_stratified_split(written):
    with (written / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "split"]
    assert {row["path"] for row in rows} == set(tree(written)) - {"labels.csv", "synth.json"}
    for label in CLASSES:
        assert [row["split"] for row in rows if row["label"] == label] == ["train", "test"]
        assert all(label in Path(row["path"]).name for row in rows if row["label"] == label)


def test_files_are_ordinary_videos_of_the_rendered_frames(written):
    path = written / "videos" / "bounce" / "bounce_00001.mp4"
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoded = list(container.decode(stream))
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == (
            "h264",
            "yuv420p",
            Fraction(12),
        )
        assert not container.metadata.keys() & {"creation_time", "encoder"}
    assert [frame.time for frame in decoded] == pytest.approx([t / 12 for t in range(20)])
    keyframes = [t for t, frame in enumerate(decoded) if frame.key_frame]
    assert max(np.diff([*keyframes, 20])) <= 16
    assert not any(frame.pict_type == av.video.frame.PictureType.B for frame in decoded)
    shown = np.array([frame.to_ndarray(format="rgb24") for frame in decoded])
    error = ((shown.astype(float) - render_video(SMALL, "bounce", 1)) ** 2).mean()
    assert 10 * np.log10(255**2 / error) > 24


def test_the_number_of_workers_changes_no_byte(written, tmp_path):
    write_synthetic_videos(tmp_path, SMALL, workers=2)
    assert tree(tmp_path) == tree(written)


def test_an_interrupted_set_is_finished_without_redoing_it(written, tmp_path):
    def interrupt(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic_videos(tmp_path, SMALL, progress=interrupt)
    finished = {name: (tmp_path / name).stat().st_mtime_ns for name in tree(tmp_path)}
    assert len(finished) == 3 + 1  # and synth.json
    seen = []
    write_synthetic_videos(tmp_path, SMALL, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 20) for done in range(4, 21)]
    assert tree(tmp_path) == tree(written)
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in finished} == finished


def test_an_interruption_while_writing_leaves_no_part_of_a_file(tmp_path, monkeypatch):
    def interrupted(self, target):
        raise KeyboardInterrupt

    write_synthetic_videos(tmp_path, SMALL)
    whole = tree(tmp_path)
    gone = next(path for path in tmp_path.rglob("*.mp4"))
    gone.unlink()
    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_synthetic_videos(tmp_path, SMALL)
    assert set(tree(tmp_path)) == set(whole) - {str(gone.relative_to(tmp_path))}


def test_a_place_that_holds_something_else_is_refused(written, tmp_path):
    before = tree(written)
    with pytest.raises(OutputError, match="another configuration"):
        write_synthetic_videos(written, replace(SMALL, seed=1))
    assert tree(written) == before
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        write_synthetic_videos(tmp_path, SMALL)
    for place in (tmp_path / "notes.txt", tmp_path / "notes.txt" / "below"):
        with pytest.raises(OutputError, match="cannot be written"):
            write_synthetic_videos(place, SMALL)
    assert set(tree(tmp_path)) == {"notes.txt"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"videos_per_class": 0}, "videos_per_class is 0; it must be at least 1"),
        ({"frames": 1}, "frames is 1; it must be at least 2"),
        ({"fps": 0}, "fps is 0"),
        ({"size": 30}, "size is 30; it must be at least 32"),
        ({"size": 97}, "size is 97 pixels; H.264 needs an even number. Take 98"),
        ({"seed": -1}, "seed is -1"),
        ({"test_share": 1.0}, "test_share is 1.0"),
        ({"test_share": float("nan")}, "test_share is nan"),
        ({"test_share": 0.25, "videos_per_class": 1}, "0.25 of 1 videos per class is 0 test videos"),
        ({"test_share": 0.9, "videos_per_class": 2}, "0.9 of 2 videos per class is 2 test videos"),
        ({"light": -0.1}, "light is -0.1; it must lie between 0"),
        ({"light": 1.5}, "light is 1.5"),
        ({"light": float("nan")}, "light is nan"),
        ({"background": "plain"}, "background is 'plain'; it must be one of unbiased, biased"),
    ],
)
def test_a_configuration_refuses_nonsense(wrong, message):
    with pytest.raises(ConfigError, match=message):
        SynthConfig(**wrong)


def test_unknown_videos_and_workers_are_programming_errors(tmp_path):
    for label, index in (("waltz", 0), ("spin", 40), ("spin", -1)):
        with pytest.raises(ValueError, match="40 each"):
            render_scene(SynthConfig(), label, index)
    with pytest.raises(ValueError, match="workers is 0"):
        write_synthetic_videos(tmp_path, SMALL, workers=0)
