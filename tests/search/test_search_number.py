"""How many groups: the strength by its definition, and sets whose number is known."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from kinevec.search.number import choose, in_words, strength, strengths


def families(
    seed: int, *, apart: float, videos: int = 16, clips: int = 4
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Six groups in two families of three; the clips of a video are nearly the same.

    Args:
        apart: of the groups of a family, in standard deviations of the videos; 0: there are no groups at all.
    """
    rng = np.random.default_rng(seed)
    family = np.repeat(rng.normal(size=(2, 64)), 3, axis=0) * (2 if apart else 0)
    centres = np.repeat(family + apart * rng.normal(size=(6, 64)), videos, axis=0)
    each = centres + rng.normal(size=centres.shape)
    x = np.repeat(each, clips, axis=0) + 0.1 * rng.normal(size=(6 * videos * clips, 64))
    x -= x.mean(0)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return unit.astype(np.float32), np.repeat(np.arange(6 * videos), clips)


def test_the_strength_is_the_smallest_share_of_pairs_that_stay_together() -> None:
    rng = np.random.default_rng(0)
    theirs, own = rng.integers(0, 3, 40), rng.integers(0, 4, 40)
    shares = []
    for group in range(4):
        members = [i for i in range(40) if own[i] == group]
        pairs = [(i, j) for i in members for j in members if i != j]
        shares.append(sum(theirs[i] == theirs[j] for i, j in pairs) / len(pairs))
    assert strength(theirs, own) == pytest.approx(min(shares))
    assert strength(np.array([0, 0, 1]), np.array([0, 0, 1])) == 0  # one clip has no pair
    assert strength(np.array([1, 1, 0, 0]), np.array([0, 0, 1, 1])) == 1


def test_six_groups_in_two_families_are_six_where_silhouettes_say_two() -> None:
    vectors, videos = families(0, apart=1.0)
    found = strengths(vectors, videos, np.random.default_rng(0))
    assert choose(found) == 6, found
    assert found[2] > 0.8  # the families are groups too
    assert "is 6 (prediction strength of at least 0.8; 2: 1.00" in in_words(found)
    groups = {k: KMeans(k, n_init=4, random_state=0).fit_predict(vectors) for k in (2, 6)}
    assert silhouette_score(vectors, groups[2]) > silhouette_score(vectors, groups[6])


def test_videos_are_no_groups_though_their_clips_are_alike() -> None:
    vectors, videos = families(0, apart=0.0, videos=4)
    found = strengths(vectors, videos, np.random.default_rng(0))
    assert max(value for k, value in found.items() if k > 2) < 0.8
    assert choose(found) == 2
    alone = strengths(vectors, np.zeros_like(videos), np.random.default_rng(0))
    assert min(alone) == 2  # of a single video, clips are split


def test_clips_that_coincide_make_no_groups(recwarn: pytest.WarningsRecorder) -> None:
    same = np.ones((120, 4), np.float32)
    found = strengths(same, np.repeat(np.arange(20), 6), np.random.default_rng(0))
    assert set(found.values()) == {0.0}
    assert not recwarn.list


def test_what_is_said_and_chosen_of_numbers_that_are_not_found_again() -> None:
    assert choose({2: 0.9, 3: 0.81, 4: 0.3}) == 3
    assert choose({2: 0.5, 3: 0.6}) == 3
    assert "best at 3 (prediction strength below 0.8; 2: 0.50, 3: 0.60)" in in_words({2: 0.5, 3: 0.6})
    assert (choose({}), in_words({})) == (2, "there are too few clips to try numbers of groups")
    assert "below 0.8; 2: 0.79)" in in_words({2: 0.7999})  # not 0.80
    assert "2: 0.57, 3: 0.29" in in_words({2: 0.57, 3: 0.29})
    few = np.eye(3, dtype=np.float32)
    assert strengths(few, np.arange(3), np.random.default_rng(0)) == {}
