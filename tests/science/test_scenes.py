"""People are cut out where they are, and backgrounds have to do with classes exactly as claimed."""

import colorsys
from itertools import pairwise

import cv2
import numpy as np
import pytest
from made_people import FRAMES, disc, walk
from numpy.typing import NDArray
from people import Person, cut_out, silhouette, window
from scenes import KINDS, Look, family_of, scene

LOOK = Look(size=64, drift=0.01)


@pytest.fixture(scope="module")
def person() -> Person:
    return cut_out(walk("right"), 64, 0.1)


def nobody(size: int = 64) -> Person:
    """Someone who covers nothing, so that only the background is to be seen."""
    return Person(np.zeros((FRAMES, size, size), np.float32), np.zeros((FRAMES, size, size), np.float32))


def test_silhouette_is_the_disc_without_specks() -> None:
    grey = np.where(disc(30, 40), 150, 0)
    grey[2:4, 2:4] = 150  # a speck
    grey[60, :] = 60  # darker than any person
    assert np.array_equal(silhouette(grey.astype(np.uint8)), disc(30, 40))


def test_silhouette_of_nobody_is_empty() -> None:
    assert not silhouette(np.zeros((8, 8), np.uint8)).any()
    with pytest.raises(ValueError, match="nobody"):
        window(np.zeros((3, 8, 8), bool), 0.1)


def test_window_is_the_square_around_all_frames() -> None:
    masks = np.zeros((100, 40, 60), bool)
    masks[:, 10:30, 20:26] = True  # 20 high
    masks[50:53, 15:17, 26:30] = True  # 3 % of the frames: a reach to column 29
    masks[0, 0, 0] = True  # 1 %: not counted
    assert window(masks, 0.0) == (15, 10, 20)  # 10 wide, so 5 pixels to either side
    assert window(masks, 0.25) == (10, 5, 30)


def test_window_stays_and_black_is_put_where_it_leaves_the_frame() -> None:
    person = cut_out(walk("right"), 64, 0.5)  # from 10 to 53 wide: a side of 86 in a frame of 64
    assert person.opacity.shape == (FRAMES, 64, 64)
    assert not person.opacity[:, :4].any()
    assert not person.opacity[:, -4:].any()
    columns = [np.average(np.arange(64), weights=frame.sum(0)) for frame in person.opacity]
    x, _, side = window(walk("right") > 70, 0.5)
    wanted = [(32 + t - FRAMES // 2 + 0.5 - x) * 64 / side - 0.5 for t in range(FRAMES)]
    np.testing.assert_allclose(columns, wanted, atol=0.15)


def test_person_has_its_brightness_up_to_the_edge(person: Person) -> None:
    inside = person.opacity > 0.3
    assert person.grey[inside].min() > 140
    assert person.grey.max() == 150


@pytest.mark.parametrize("split", ["train", "test"])
def test_biased_backgrounds_tell_the_class_in_train_and_another_in_test(split: str) -> None:
    for classes in (2, 4, 5, 27):
        for label in range(classes):
            families = {
                family_of("biased", label, classes, split, np.random.default_rng(i)) for i in range(9)
            }
            assert families == ({label} if split == "train" else {(label + classes // 2) % classes})
    test = [family_of("biased", label, 27, "test", np.random.default_rng(0)) for label in range(27)]
    assert sorted(test) == list(range(27))  # every class's background misleads to one class
    assert all(family != label for label, family in enumerate(test))


def test_unbiased_backgrounds_know_neither_class_nor_split() -> None:
    drawn = [
        [family_of("unbiased", label, 27, split, np.random.default_rng(i)) for i in range(2700)]
        for label, split in ((0, "train"), (5, "train"), (5, "test"))
    ]
    assert drawn[0] == drawn[1] == drawn[2]
    counts = np.bincount(drawn[0], minlength=27)
    assert counts.min() > 60  # 100 each; 4 standard deviations
    assert counts.max() < 140


def test_sets_differ_in_nothing_but_the_background(person: Person) -> None:
    videos = {kind: scene(person, LOOK, kind, 1, 4, "train", np.random.default_rng(7)) for kind in KINDS}
    whole = cv2.erode(person.opacity[5], np.ones((9, 9)))  # away from the soft edge
    bare = cv2.dilate(person.opacity[5], np.ones((9, 9))) == 0
    for video in videos.values():
        assert np.array_equal(video[5][whole == 1], videos["original"][5][whole == 1])
    assert not videos["original"][5][bare].any()
    assert videos["unbiased"][5][bare].min() > 0
    assert (videos["unbiased"] != videos["biased"]).any()


def test_pixels_that_compression_mixed_with_black_do_not_darken_the_person() -> None:
    sharp = walk("up")
    mixed = np.where(
        sharp > 0, 150, np.where(np.stack([cv2.dilate(frame, np.ones((3, 3))) for frame in sharp]), 80, 0)
    )
    person = cut_out(mixed.astype(np.uint8), 64, 0.1)
    assert person.opacity.sum() > 1.1 * cut_out(sharp, 64, 0.1).opacity.sum()
    assert person.grey[person.opacity > 0.3].min() > 140


def test_person_is_tinted_and_brightened(person: Person) -> None:
    grey = scene(
        person, Look(size=64, gain=1.2, clothes=0), "original", 0, 4, "train", np.random.default_rng(0)
    )
    assert np.median(grey[5][person.opacity[5] == 1]) == pytest.approx(180, abs=1)
    tinted = scene(person, Look(size=64, clothes=0.5), "original", 0, 4, "train", np.random.default_rng(0))
    colour = tinted[5][32, 27]
    assert colour.max() == round(1.25 * 150)
    assert colour.min() < colour.max() - 5


def test_background_has_its_familys_hue_and_the_looks_contrast_and_light() -> None:
    plain, half, full, dark = (
        scene(nobody(), look, "biased", 2, 4, "train", np.random.default_rng(3)).astype(float)
        for look in (
            Look(size=64, texture=0, light=1, drift=0),
            Look(size=64, texture=0.5, light=1, drift=0),
            Look(size=64, texture=1, light=1, drift=0),
            Look(size=64, texture=1, light=0.5, drift=0),
        )
    )
    assert plain.std((0, 1, 2)).max() < 0.01
    np.testing.assert_allclose(half.std((0, 1, 2)), full.std((0, 1, 2)) / 2, rtol=0.03)
    np.testing.assert_allclose(dark, full / 2, atol=0.6)
    for label in range(4):
        for seed in range(5):
            video = scene(nobody(), LOOK, "biased", label, 4, "train", np.random.default_rng(seed))
            hue = colorsys.rgb_to_hsv(*(video.mean((0, 1, 2)) / 255))[0]
            assert (
                abs((hue - label / 4 + 0.5) % 1 - 0.5) < 0.11
            )  # a family strays by a quarter of the way to the next


def drift_of(video: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(T - 1, 2): by how many pixels the picture moves from each frame to the next; least squares on gradients."""
    grey = video.astype(np.float64).mean(-1)
    shifts = []
    for first, second in pairwise(grey):
        down, right = np.gradient((first + second) / 2)
        inner = np.s_[2:-2, 2:-2]
        slopes = np.stack([right[inner].ravel(), down[inner].ravel()], 1)
        shifts.append(np.linalg.lstsq(slopes, (first - second)[inner].ravel(), rcond=None)[0])
    return np.array(shifts)


def test_camera_drifts_evenly_and_slowly() -> None:
    look = Look(size=64, texture=1, light=1, drift=0.015)
    speeds = []
    for seed in range(8):
        shifts = drift_of(scene(nobody(), look, "unbiased", 0, 4, "train", np.random.default_rng(seed)))
        assert shifts.std(0).max() < 0.05  # pixels
        speeds.append(np.hypot(*shifts.mean(0)) / 64)
    assert max(speeds) < 1.03 * 0.015
    assert max(speeds) > 0.01
    still = scene(nobody(), Look(size=64, drift=0), "unbiased", 0, 4, "train", np.random.default_rng(0))
    assert np.array_equal(still[0], still[-1])


def test_same_seed_same_scene(person: Person) -> None:
    one, again, other = (
        scene(person, LOOK, "unbiased", 0, 4, "train", np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(one, again)
    assert (one != other).any()
