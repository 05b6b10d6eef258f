"""A linear classifier on frozen features (docs/evaluation.md, linear probe)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from kinevec.runtime import one_thread

# L2 on the weights, beside a mean loss over features of unit mean square deviation. From strong to weak: each
# fit starts where the one before ended.
PENALTIES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
FOLDS = 4  # of train, to choose the penalty by cross-validation
MAX_STEPS = 100  # of L-BFGS; the smallest penalties stop there, the others converge before


@dataclass(frozen=True)
class Probe:
    """What a linear probe found.

    Attributes:
        top1, top5, per_class: accuracy over test videos in percent; the last is the mean over classes.
        penalty: the L2 weight that was chosen by cross-validation within train.
        predicted: (V,) predicted label of every test video.
        hits: (V, 2) whether the right label is the first, and among the first five.
    """

    top1: float
    top5: float
    per_class: float
    penalty: float
    predicted: list[str]
    hits: NDArray[np.bool_] = field(compare=False, repr=False)


def linear_probe(
    train: NDArray[np.float32],
    train_labels: Sequence[str],
    test: NDArray[np.float32],
    test_labels: Sequence[str],
    *,
    groups: Sequence[str | None] | None = None,
    seed: int = 0,
) -> Probe:
    """Multinomial logistic regression on L2-normalised clip features; scores are averaged over clips.

    The penalty is chosen by cross-validation within train, whose folds keep groups whole where there are
    groups; the classifier is then fitted again on all of train. Test videos are only scored.

    Args:
        train: (V, M, C) clip features; test likewise.
        train_labels: (V,); a test label that train lacks counts as never right.
        groups: (V,) of the training videos, who or what they show.
        seed: of the folds.
    """
    classes = sorted(set(train_labels))
    place = {label: i for i, label in enumerate(classes)}
    x, y = _unit(train), torch.tensor([place[label] for label in train_labels])
    fold = torch.from_numpy(folds(train_labels, groups or [], np.random.default_rng(seed)))
    penalty = _best_penalty(x, y, len(classes), fold)
    weights = fit(x, y, len(classes), penalty)
    ranked = torch.sort(_scores(weights, _unit(test)), dim=1, descending=True, stable=True).indices
    truth = torch.tensor([place.get(label, -1) for label in test_labels])
    hit = (ranked[:, :5] == truth[:, None]).numpy()
    per_class = [hit[np.array(test_labels) == label, 0].mean() for label in sorted(set(test_labels))]
    return Probe(
        top1=100 * float(hit[:, 0].mean()),
        top5=100 * float(hit.any(1).mean()),
        per_class=100 * float(np.mean(per_class)),
        penalty=penalty,
        predicted=[classes[i] for i in ranked[:, 0]],
        hits=np.stack([hit[:, 0], hit.any(1)], 1),
    )


def folds(labels: Sequence[str], groups: Sequence[str | None], rng: np.random.Generator) -> NDArray[np.int64]:
    """(V,) numbers of the folds for cross-validation, below `FOLDS`.

    Groups are kept whole where there are any and no label lives in a single one; otherwise the videos of
    each label are dealt out evenly. A video without a group is one by itself.
    """
    result = np.zeros(len(labels), dtype=np.int64)
    if keeps_groups(labels, groups):
        names = _group_names(groups)
        known = sorted(set(names))
        rank = {known[place]: order for order, place in enumerate(rng.permutation(len(known)))}
        result[:] = [rank[name] % FOLDS for name in names]
        return result
    for label in sorted(set(labels)):
        places = rng.permutation([i for i, other in enumerate(labels) if other == label])
        result[places] = np.arange(len(places)) % FOLDS
    return result


def keeps_groups(labels: Sequence[str], groups: Sequence[str | None]) -> bool:
    """Whether `folds` keeps groups whole."""
    homes: dict[str, set[str]] = {}
    for label, name in zip(labels, _group_names(groups), strict=False):  # no groups at all: an empty list
        homes.setdefault(label, set()).add(name)
    return any(groups) and min(map(len, homes.values())) > 1


def _group_names(groups: Sequence[str | None]) -> list[str]:
    """A name for each video's group; \0 keeps those of videos without one apart from all others."""
    return [group or f"\0{place}" for place, group in enumerate(groups)]


def _best_penalty(x: Tensor, y: Tensor, classes: int, fold: Tensor) -> float:
    """The penalty with most right held-out videos over all folds; of equals the strongest."""
    right = dict.fromkeys(PENALTIES, 0)
    for held in (fold == number for number in range(FOLDS)):
        if held.all() or not held.any():  # nothing to fit, or nothing to judge
            continue
        weights = None
        for penalty in PENALTIES:
            weights = fit(x[~held], y[~held], classes, penalty, start=weights)
            right[penalty] += int((_scores(weights, x[held]).argmax(1) == y[held]).sum())
    return max(PENALTIES, key=lambda penalty: (right[penalty], penalty))


def fit(x: Tensor, y: Tensor, classes: int, penalty: float, *, start: Tensor | None = None) -> Tensor:
    """Minimises mean cross-entropy over clips + penalty·‖W‖²·s², by L-BFGS in float64.

    s² is the mean squared deviation of the features from their mean.

    Args:
        x: (V, M, C); every clip has its video's label y (V,).
        start: weights (C + 1, classes) to begin with; None begins with zeros.

    Returns:
        (C + 1, classes): weights, and last the bias, which carries no penalty.
    """
    v, m, c = x.shape
    flat = x.reshape(v * m, c).double()
    # Centring changes no solution, the bias takes it up. One scale for all features changes the penalty's
    # unit only: unit-length features may differ by 1 or by 0.001, and a penalty must mean the same for both.
    mean = flat.mean(0)
    scale = (flat - mean).square().sum(1).mean().sqrt().clamp(min=1e-12)
    flat = torch.cat([(flat - mean) / scale, torch.ones(v * m, 1, dtype=torch.float64)], 1)
    labels = y.repeat_interleave(m)
    weights = torch.zeros(c + 1, classes, dtype=torch.float64)
    if start is not None:
        weights[:-1] = start[:-1] * scale
        weights[-1] = start[-1] + mean @ start[:-1]
    weights.requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [weights], max_iter=MAX_STEPS, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(flat @ weights, labels) + penalty * weights[:-1].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with one_thread():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    result = weights.detach()
    result[:-1] /= scale
    result[-1] -= mean @ result[:-1]
    return result


def _scores(weights: Tensor, x: Tensor) -> Tensor:
    """(V, classes): softmax scores of the clips (V, M, C), averaged over each video."""
    logits = x.double() @ weights[:-1] + weights[-1]
    return logits.softmax(-1).mean(1)


def _unit(clips: NDArray[np.float32]) -> Tensor:
    return F.normalize(torch.from_numpy(clips), dim=-1)
