"""The linear probe: its optimum, its scores, and what it may and may not look at."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinevec.evaluate import classify
from kinevec.evaluate.classify import FOLDS, PENALTIES, fit, folds, keeps_groups, linear_probe
from reference import evaluate as reference

Clips = NDArray[np.float32]
STRONGEST, STRONG, MIDDLE, WEAK, WEAKEST = PENALTIES


def blobs(
    videos: int, classes: int, spread: float, seed: int, clips: int = 2, dim: int = 6
) -> tuple[Clips, list[str]]:
    """(V, M, C) clips about one direction per class, of any length, and labels."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, dim))
    y = np.arange(videos) % classes
    x = centres[y][:, None] + spread * rng.normal(size=(videos, clips, dim))
    return (x * rng.uniform(0.5, 2, (videos, clips, 1))).astype(np.float32), [f"class {i}" for i in y]


def record_fits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, float]]:
    """(x, penalty) of every call of `fit` from now on."""
    calls: list[tuple[Tensor, float]] = []

    def recorded(
        x: Tensor, y: Tensor, classes: int, penalty: float, *, start: Tensor | None = None
    ) -> Tensor:
        calls.append((x.clone(), penalty))
        return fit(x, y, classes, penalty, start=start)

    monkeypatch.setattr(classify, "fit", recorded)
    return calls


@pytest.mark.parametrize("penalty", [1e-3, 1e-2, 0.3])
@pytest.mark.parametrize("offset", [0.0, 5.0])
def test_fit_reaches_the_optimum_of_its_objective(penalty: float, offset: float) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(offset, 1, (30, 2, 4)), rng.integers(0, 3, 30)
    weights = fit(torch.tensor(x), torch.tensor(y), 3, penalty)
    assert weights.shape == (5, 3)
    assert weights.dtype == torch.float64
    assert not weights.requires_grad
    gradient = reference.objective_gradient(weights.numpy(), x, y.tolist(), penalty)
    start = reference.objective_gradient(np.zeros((5, 3)), x, y.tolist(), penalty)
    assert np.abs(start).max() > 0.1
    assert np.abs(gradient).max() < 1e-4


def test_a_penalty_means_the_same_for_features_of_any_scale_and_place() -> None:
    x, labels = blobs(40, 4, 0.8, 0)
    y, x = torch.tensor([int(label[-1]) for label in labels]), x.astype(np.float64)
    for moved in (1e-3 * x, 1 + 1e-3 * x, 50 * x):
        scores, other = (
            reference.logits(fit(torch.from_numpy(clips), y, 4, 1e-2).numpy(), clips) for clips in (x, moved)
        )
        np.testing.assert_allclose(scores, other, atol=1e-3)
        assert np.abs(scores).max() > 1


def test_a_stronger_penalty_gives_smaller_weights() -> None:
    x, labels = blobs(40, 4, 0.3, 0)
    y = torch.tensor([int(label[-1]) for label in labels])
    sizes = [float(fit(torch.from_numpy(x), y, 4, p)[:-1].norm()) for p in PENALTIES]
    assert sizes == sorted(sizes)
    assert list(PENALTIES) == sorted(PENALTIES, reverse=True)


def test_where_a_fit_starts_does_not_decide_where_it_ends() -> None:
    x, labels = blobs(40, 4, 0.8, 0)
    y, clips = torch.tensor([int(label[-1]) for label in labels]), torch.from_numpy(x + 3)
    elsewhere = fit(clips, y, 4, 1e-1)
    again, direct = fit(clips, y, 4, 1e-3, start=elsewhere), fit(clips, y, 4, 1e-3)
    torch.testing.assert_close(again, direct, rtol=1e-2, atol=1e-2)
    assert not torch.allclose(elsewhere, direct, rtol=0.1, atol=0.1)


def test_a_fit_that_starts_at_its_end_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = blobs(40, 4, 0.8, 0)
    y, clips = torch.tensor([int(label[-1]) for label in labels]), torch.from_numpy(x + 3)
    end = fit(clips, y, 4, 1e-2)
    monkeypatch.setattr(classify, "MAX_STEPS", 1)
    torch.testing.assert_close(fit(clips, y, 4, 1e-2, start=end), end, rtol=1e-3, atol=1e-3)


def test_separable_classes_are_told_apart_without_error() -> None:
    train, test = blobs(40, 4, 0.1, 0), blobs(20, 4, 0.1, 1)
    probe = linear_probe(*train, *test)
    assert (probe.top1, probe.top5, probe.per_class) == (100, 100, 100)
    assert probe.predicted == test[1]
    assert probe.penalty in PENALTIES


def test_shuffled_labels_stay_near_chance() -> None:
    (train, labels), (test, test_labels) = blobs(120, 4, 0.3, 0), blobs(400, 4, 0.3, 1)
    rng = np.random.default_rng(2)
    probe = linear_probe(train, list(rng.permutation(labels)), test, list(rng.permutation(test_labels)))
    assert 17 < probe.top1 < 33  # 25 ± 3.7 standard deviations


def test_the_length_of_features_does_not_matter() -> None:
    (train, labels), (test, test_labels) = blobs(24, 3, 0.5, 0), blobs(12, 3, 0.5, 1)
    rng = np.random.default_rng(3)
    scaled = (test * rng.uniform(0.1, 9, (12, 2, 1))).astype(np.float32)
    assert linear_probe(train, labels, test, test_labels) == linear_probe(train, labels, scaled, test_labels)


def test_test_videos_are_only_scored() -> None:
    """What is predicted for some test videos does not depend on the others, nor on any of their labels."""
    (train, labels), (test, test_labels) = blobs(40, 4, 0.8, 0), blobs(30, 4, 0.8, 1)
    one = linear_probe(train, labels, test, test_labels)
    changed = test.copy()
    changed[15:] = -3 * changed[15:][::-1]
    other = linear_probe(train, labels, changed, test_labels[::-1])
    assert one.penalty == other.penalty
    assert one.predicted[:15] == other.predicted[:15]
    assert one.predicted[15:] != other.predicted[15:]


def places_in(train: Clips, x: Tensor) -> list[int]:
    """Which training videos a call of `fit` saw."""
    unit = np.stack([reference.unit(video) for video in train.astype(float)])
    return [int(np.abs(unit - video.numpy()).max((1, 2)).argmin()) for video in x]


def test_the_penalty_is_chosen_by_folds_of_whole_groups_and_the_final_fit_sees_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, labels = blobs(40, 4, 0.5, 0)
    groups = [f"person {i // 4}" for i in range(40)]  # ten, each with all four labels
    calls = record_fits(monkeypatch)
    probe = linear_probe(train, labels, train[:5], labels[:5], groups=groups)
    assert [penalty for _, penalty in calls] == [*PENALTIES * FOLDS, probe.penalty]
    seen = [places_in(train, x) for x, _ in calls]
    held = [set(range(40)) - set(places) for places in seen[:: len(PENALTIES)][:FOLDS]]
    assert sorted(place for fold in held for place in fold) == list(range(40))  # every video once
    assert sorted(len(fold) for fold in held) == [8, 8, 12, 12]
    for fold in held:
        assert not {groups[i] for i in fold} & {groups[i] for i in set(range(40)) - fold}
    for number, places in enumerate(seen[:-1]):
        assert set(places) == set(seen[number // len(PENALTIES) * len(PENALTIES)])
    assert sorted(seen[-1]) == list(range(40))


@pytest.mark.parametrize("groups", [[], [None] * 24, ["one"] * 24, [f"person {i % 3}" for i in range(24)]])
def test_without_groups_that_tell_labels_are_dealt_out_evenly(groups: list[str | None]) -> None:
    labels = [f"class {i % 3}" for i in range(24)]  # the fourth case: every label lives in one group
    fold = folds(labels, groups, np.random.default_rng(0))
    for label in set(labels):
        found = [int(number) for number, other in zip(fold, labels, strict=True) if other == label]
        assert sorted(found) == sorted([0, 1, 2, 3] * 2)


def test_one_label_that_lives_in_a_single_group_is_enough_to_deal_all_out() -> None:
    """Whole groups would leave a fold's classifier without any video of it."""
    labels = [f"class {i % 3}" for i in range(24)]
    groups: list[str | None] = ["zoo" if i % 3 == 0 else f"person {i // 6}" for i in range(24)]
    assert not keeps_groups(labels, groups)
    fold = folds(labels, groups, np.random.default_rng(0))
    for label in set(labels):
        found = [int(number) for number, other in zip(fold, labels, strict=True) if other == label]
        assert sorted(found) == sorted([0, 1, 2, 3] * 2)


def test_a_video_without_a_group_leaves_the_others_whole() -> None:
    labels = [f"class {i % 3}" for i in range(24)]
    groups: list[str | None] = [f"person {i // 3}" for i in range(24)]
    groups[7] = None
    assert keeps_groups(labels, groups)
    fold = folds(labels, groups, np.random.default_rng(0))
    for group in set(groups) - {None}:
        assert len({int(n) for n, other in zip(fold, groups, strict=True) if other == group}) == 1
    alone: list[str | None] = ["tape"] * 8 + [None] * 16
    assert len(set(folds(labels, alone, np.random.default_rng(0))[:8].tolist())) == 1
    assert not keeps_groups(labels, [])
    assert not keeps_groups(labels, [f"person {i % 3}" for i in range(24)])


def test_two_groups_make_two_folds() -> None:
    groups: list[str | None] = ["one"] * 10 + ["other"] * 14
    fold = folds([f"class {i % 3}" for i in range(24)], groups, np.random.default_rng(0))
    assert sorted([set(fold[:10].tolist()), set(fold[10:].tolist())], key=min) == [{0}, {1}]


@pytest.mark.parametrize("groups", [[], [f"person {i // 3}" for i in range(24)]])
def test_folds_come_from_the_seed(groups: list[str | None]) -> None:
    labels = [f"class {i % 3}" for i in range(24)]
    first, again, other = (folds(labels, groups, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()


def test_the_penalty_is_judged_on_the_held_out_parts_alone() -> None:
    train, labels = blobs(
        48, 3, 2.0, 0, dim=30
    )  # few noisy videos of many numbers: what fits best does not last
    chosen = linear_probe(train, labels, train[:3], labels[:3], seed=5).penalty
    fold = folds(labels, [], np.random.default_rng(5))
    truth = np.array([int(label[-1]) for label in labels])
    unit = torch.from_numpy(np.stack([reference.unit(video) for video in train.astype(float)]))

    def right(held_out: bool) -> dict[float, int]:
        count = dict.fromkeys(PENALTIES, 0)
        for number in range(FOLDS):
            fitted = fold != number
            judged = ~fitted if held_out else fitted
            for penalty in PENALTIES:
                weights = fit(unit[fitted], torch.from_numpy(truth[fitted]), 3, penalty).numpy()
                predicted = reference.video_scores(weights, train[judged].astype(float)).argmax(1)
                count[penalty] += int((predicted == truth[judged]).sum())
        return count

    def best(count: dict[float, int]) -> float:
        return max(p for p in PENALTIES if count[p] == max(count.values()))

    assert best(right(held_out=False)) != best(right(held_out=True))
    assert chosen == best(right(held_out=True))


@pytest.mark.parametrize(
    ("good", "chosen"),
    [({WEAK}, WEAK), ({STRONG}, STRONG), ({WEAKEST, MIDDLE}, MIDDLE), (set(PENALTIES), STRONGEST)],
)
def test_the_best_penalty_on_held_out_videos_is_chosen_and_the_strongest_of_equals(
    good: set[float], chosen: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, labels = blobs(24, 3, 0.05, 0)

    def made_up(x: Tensor, y: Tensor, classes: int, penalty: float) -> Tensor:
        return fit(x, y, classes, MIDDLE) if penalty in good else torch.zeros(x.shape[2] + 1, classes)

    monkeypatch.setattr(classify, "fit", lambda *arguments, start=None: made_up(*arguments).double())
    assert linear_probe(train, labels, train[:3], labels[:3]).penalty == chosen


def test_one_video_a_label_can_be_probed() -> None:
    train, labels = blobs(3, 3, 0.1, 0)
    probe = linear_probe(train, labels, train, labels)
    assert probe.top1 == 100


def test_a_single_video_leaves_nothing_to_hold_out(monkeypatch: pytest.MonkeyPatch) -> None:
    train, labels = blobs(1, 1, 0.1, 0)
    calls = record_fits(monkeypatch)
    probe = linear_probe(train, labels, train, labels)
    assert (probe.penalty, probe.top1, len(calls)) == (STRONGEST, 100, 1)


def test_scores_are_averaged_over_clips_and_ranked(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    classes = 8
    weights = 4 * rng.normal(size=(5, classes))
    monkeypatch.setattr(classify, "fit", lambda *arguments, start=None: torch.tensor(weights))
    train = rng.normal(size=(classes, 1, 4)).astype(np.float32)
    test = rng.normal(size=(60, 3, 4)).astype(np.float32)
    labels = [f"{i}" for i in range(classes)]
    scores = reference.video_scores(weights, test.astype(float))
    ranked = [sorted(range(classes), key=lambda c: -row[c]) for row in scores]
    truth = np.array([rank[rng.choice([0, 2, 4, 5, 7])] for rank in ranked])
    probe = linear_probe(train, labels, test, [labels[i] for i in truth])
    assert probe.predicted == [labels[rank[0]] for rank in ranked]
    right = np.array([rank[0] == label for rank, label in zip(ranked, truth, strict=True)])
    five = [label in rank[:5] for rank, label in zip(ranked, truth, strict=True)]
    each = [right[truth == c].mean() for c in set(truth.tolist())]
    assert probe.top1 == pytest.approx(100 * right.mean(), rel=1e-12)
    assert probe.top5 == pytest.approx(100 * np.mean(five), rel=1e-12)
    assert probe.per_class == pytest.approx(100 * np.mean(each), rel=1e-12)
    assert abs(probe.top1 - probe.per_class) > 1
    # Averages of softmax scores and of logits disagree on some videos; the protocol has the former.
    unit = np.stack([reference.unit(video) for video in test.astype(float)])
    logits = reference.logits(weights, unit).mean(1).argmax(1)
    assert [labels[i] for i in logits] != probe.predicted


def test_labels_that_train_lacks_are_never_right() -> None:
    (train, labels), (test, known) = blobs(30, 3, 0.05, 0), blobs(12, 3, 0.05, 1)
    changed = [label if i < 6 else "new" for i, label in enumerate(known)]
    probe = linear_probe(train, labels, test, changed)
    assert probe.top1 == probe.top5 == 50
    assert probe.per_class == pytest.approx(75)  # three classes at 100 %, one at 0
    assert set(probe.predicted) <= set(labels)


def test_each_label_that_train_lacks_is_a_class_of_its_own() -> None:
    (train, labels), (test, known) = blobs(30, 3, 0.05, 0), blobs(12, 3, 0.05, 1)
    changed = [label if i < 6 else f"new {i % 3}" for i, label in enumerate(known)]
    assert linear_probe(train, labels, test, changed).per_class == pytest.approx(50)
