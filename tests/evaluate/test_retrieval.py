"""Retrieval against plain loops."""

import numpy as np
import pytest
from numpy.typing import NDArray

from kinevec.evaluate.retrieval import neighbours, prepared, retrieval
from reference import evaluate as reference


def features(rows: int, seed: int, dim: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(1.0, 1.0, (rows, dim)).astype(np.float32)


def labels(rows: int, seed: int, classes: int = 4) -> list[str]:
    return [f"class {i}" for i in np.random.default_rng(seed).integers(0, classes, rows)]


def test_prepared_is_centred_and_of_unit_length() -> None:
    x = features(9, 0)
    before = x.copy()
    for mean in (x.mean(0), np.arange(5, dtype=np.float32)):
        expected = reference.unit(x.astype(float) - mean.astype(float))
        np.testing.assert_allclose(prepared(x, mean), expected, atol=1e-6)
        assert prepared(x, mean).dtype == np.float32
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_scale_of_features_does_not_matter(scale: float) -> None:
    query, gallery = features(6, 3), features(8, 4)
    order, similarity = neighbours(query, gallery, 8)
    scaled, scaled_similarity = neighbours(query * np.float32(scale), gallery * np.float32(scale), 8)
    assert order.tolist() == scaled.tolist()
    np.testing.assert_allclose(similarity, scaled_similarity, atol=1e-5)


def test_a_vector_at_the_mean_is_like_nothing() -> None:
    x = np.array([[1, 1], [3, 1], [2, 1]], np.float32)  # the last one is the mean
    np.testing.assert_array_equal(prepared(x, x.mean(0))[2], [0, 0])
    order, similarity = neighbours(x, x[:1], 1)
    assert order.tolist() == [[0]] * 3
    assert similarity.tolist() == [[0]] * 3


def test_a_single_query_is_centred_by_the_gallerys_mean() -> None:
    gallery = features(17, 2) * 3 + 2
    for seed in range(5):
        query = features(1, seed) * 3 + 2
        order, similarity = neighbours(query, gallery, 17)
        assert order.tolist() == reference.ranking(query.astype(float), gallery.astype(float))
        assert similarity[0, 0] > 0.3


def test_two_queries_are_centred_by_their_own_mean_which_makes_them_opposites() -> None:
    query, gallery = features(2, 1), features(17, 2) * 3 + 2
    order, similarity = neighbours(query, gallery, 17)
    assert order.tolist() == reference.ranking(query.astype(float), gallery.astype(float))
    np.testing.assert_allclose(similarity[0], -similarity[1][::-1], atol=1e-6)


def test_neighbours_are_the_most_similar_in_order() -> None:
    query, gallery = features(11, 1), features(17, 2) * 3 + 2
    order, similarity = neighbours(query, gallery, 6)
    ranks = reference.ranking(query.astype(float), gallery.astype(float))
    assert order.shape == similarity.shape == (11, 6)
    assert order.tolist() == [rank[:6] for rank in ranks]
    q = reference.unit(query.astype(float) - query.astype(float).mean(0))
    g = reference.unit(gallery.astype(float) - gallery.astype(float).mean(0))
    np.testing.assert_allclose(similarity, [g[o] @ v for o, v in zip(order, q, strict=True)], atol=1e-6)


def test_each_side_is_centred_by_its_own_mean() -> None:
    query, gallery = features(6, 3), features(8, 4)
    order, similarity = neighbours(query, gallery, 8)
    moved, moved_similarity = neighbours(query + 7, gallery - np.float32(3), 8)
    assert order.tolist() == moved.tolist()
    np.testing.assert_allclose(similarity, moved_similarity, atol=1e-5)


def test_equal_similarities_keep_the_order_of_the_gallery() -> None:
    gallery = np.array([[0, -1], [0, 1], [-1, 0], [0, 1], [1, 0], [0, 1], [0, -2]], np.float32)
    gallery -= gallery.mean(0)
    query = np.array([[0, 1], [0, -1]], np.float32)
    order, _ = neighbours(query, gallery, 7)
    assert order[0, :3].tolist() == [1, 3, 5]
    assert order[1, -3:].tolist() == [1, 3, 5]


def test_recall_is_any_of_the_k_nearest() -> None:
    query, gallery = features(30, 5), features(60, 6)
    wanted, known = labels(30, 7, 12), labels(60, 8, 12)
    ks = (1, 2, 5, 10, 60)
    found = retrieval(query, wanted, gallery, known, ks)
    ranks = reference.ranking(query.astype(float), gallery.astype(float))
    assert found == pytest.approx({f"R@{k}": reference.recall(ranks, wanted, known, k) for k in ks})
    assert len({round(value, 6) for value in found.values()}) > 3


def test_defaults_are_the_protocols_ks() -> None:
    found = retrieval(features(3, 0), labels(3, 0), features(60, 1), labels(60, 1))
    assert list(found) == ["R@1", "R@5", "R@10", "R@20", "R@50"]


def test_a_k_beyond_the_gallery_counts_the_whole_gallery() -> None:
    found = retrieval(features(4, 0), ["a", "b", "c", "a"], features(3, 1), ["a", "b", "b"], (2, 3, 50))
    assert found["R@3"] == found["R@50"] == 75.0


def test_own_videos_find_themselves_and_unknown_labels_nothing() -> None:
    gallery = features(20, 9)
    known = [str(i) for i in range(20)]
    assert retrieval(gallery, known, gallery, known, (1,)) == {"R@1": 100.0}
    assert retrieval(gallery, ["new"] * 20, gallery, known, (1, 20)) == {"R@1": 0.0, "R@20": 0.0}
