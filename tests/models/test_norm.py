"""Grouped batch norm against what it stands for: one pass after the other."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinevec.models import build_encoder
from kinevec.models.conv import channels_last
from kinevec.models.heads import Projector
from kinevec.models.norm import grouped_statistics
from kinevec.runtime import seeded


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def groups_of(shape: tuple[int, ...], count: int) -> list[Tensor]:
    """Batches that differ in mean and spread, so that mixing them would show."""
    return [(1 + i) * noise(*shape, seed=i) + 2 * i for i in range(count)]


def buffers(model: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def mlp() -> nn.Module:
    """Batch norms of one and two dimensions, one of them below another module, one with a running average."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=None)),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(16, 5),
        nn.BatchNorm1d(5),
    )


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "tiny": (lambda: build_encoder("tiny"), (4, 3, 4, 24, 24)),
    "i3d": (lambda: build_encoder("i3d"), (3, 3, 8, 32, 32)),
    "projector": (lambda: Projector(7, 6, 5, centred=True), (4, 7)),
    "projector of cells": (lambda: Projector(7, 6, 5, centred=True), (3, 4, 7)),
    "one and two dimensions": (mlp, (4, 3, 4, 4)),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_one_pass_in_groups_equals_separate_passes(name: str, training: bool) -> None:
    make, shape = MODELS[name]
    with seeded(0):
        apart = make()
    apart(groups_of(shape, 1)[0])  # statistics that are not the first ones
    apart.train(training)
    together = copy.deepcopy(apart)
    parts = groups_of(shape, 3)
    with torch.no_grad():
        expected = torch.cat([apart(part) for part in parts])
        with grouped_statistics(together, 3):
            got = together(torch.cat(parts))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    after = buffers(apart)
    for key, buffer in buffers(together).items():
        torch.testing.assert_close(buffer, after[key], rtol=1e-5, atol=1e-6, msg=key)
    counters = {int(value) for key, value in after.items() if key.endswith("num_batches_tracked")}
    assert counters == {4 if training else 1}


@pytest.mark.parametrize("momentum", [0.1, None])
def test_statistics_by_hand(momentum: float | None) -> None:
    norm = nn.BatchNorm1d(2, momentum=momentum)
    first, second = torch.tensor([[0.0, 1.0], [2.0, 5.0]]), torch.tensor([[10.0, 0.0], [20.0, 8.0]])
    with grouped_statistics(norm, 2):
        got = norm(torch.cat([first, second]))
    torch.testing.assert_close(got, torch.tensor([[-1.0, -1], [1, 1]] * 2), rtol=0, atol=1e-4)
    means = [torch.tensor([1.0, 3.0]), torch.tensor([15.0, 4.0])]
    expected = 0.9 * 0.1 * means[0] + 0.1 * means[1] if momentum else (means[0] + means[1]) / 2
    torch.testing.assert_close(norm.running_mean, expected)
    assert norm.num_batches_tracked == 2


def test_mixed_statistics_would_show() -> None:
    with seeded(0):
        model = build_encoder("tiny")
    parts = groups_of((4, 3, 4, 24, 24), 2)
    with torch.no_grad():
        mixed = model(torch.cat(parts))
        with grouped_statistics(model, 2):
            grouped = model(torch.cat(parts))
    assert float((mixed - grouped).norm() / grouped.norm()) > 0.1


def test_gradients_are_those_of_separate_passes() -> None:
    with seeded(0):
        apart = mlp()
    together = copy.deepcopy(apart)
    parts = groups_of((4, 3, 4, 4), 2)
    upstream = noise(8, 5, seed=9)
    (torch.cat([apart(part) for part in parts]) * upstream).sum().backward()
    with grouped_statistics(together, 2):
        (together(torch.cat(parts)) * upstream).sum().backward()
    for ours, theirs in zip(together.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)


def test_afterwards_everything_is_as_before_also_after_an_error() -> None:
    model, x = mlp(), noise(6, 3, 4, 4)
    plain = copy.deepcopy(model)
    before = [dict(vars(module)) for module in model.modules()]
    with grouped_statistics(model, 2):
        pass
    with pytest.raises(KeyError), grouped_statistics(model, 2):
        raise KeyError
    message = r"batch of 6, \(6, 4, 2, 2\), does not divide into 4"
    with pytest.raises(ValueError, match=message), grouped_statistics(model, 4):
        model(x)
    assert [dict(vars(module)) for module in model.modules()] == before
    assert torch.equal(model(x), plain(x))
    assert all(torch.equal(value, buffers(plain)[key]) for key, value in buffers(model).items())


def test_own_forwards_are_used_and_kept() -> None:
    norm = nn.BatchNorm1d(2)
    seen: list[int] = []

    def own(x: Tensor) -> Tensor:
        seen.append(len(x))
        return nn.BatchNorm1d.forward(norm, x)

    norm.forward = own  # type: ignore[method-assign]
    with grouped_statistics(norm, 2):
        with grouped_statistics(norm, 3):  # divides the parts again, whichever is the inner one
            norm(noise(24, 2))
        norm(noise(24, 2))
    norm(noise(24, 2))
    assert seen == [4] * 6 + [12] * 2 + [24]
    assert norm.forward is own


@pytest.mark.parametrize("groups", [0, -1])
def test_a_group_at_least(groups: int) -> None:
    context = grouped_statistics(nn.BatchNorm1d(2), groups)
    with pytest.raises(ValueError, match=f"at least 1 group, not {groups}"), context:
        pass


def test_eval_mode_takes_any_batch_and_the_batch_it_is_given() -> None:
    norm = nn.BatchNorm1d(2).eval()
    norm(noise(3, 2))
    x = noise(5, 2)
    with grouped_statistics(norm, 3):
        torch.testing.assert_close(norm(x), x / (1 + 1e-5) ** 0.5)


def test_without_running_statistics_eval_mode_is_grouped_too() -> None:
    norm = nn.BatchNorm1d(2, track_running_stats=False).eval()
    parts = groups_of((4, 2), 2)
    expected = torch.cat([norm(part) for part in parts])
    with grouped_statistics(norm, 2):
        torch.testing.assert_close(norm(torch.cat(parts)), expected)


def test_only_batch_norms_of_the_module_itself_are_affected() -> None:
    inside, outside = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    other = nn.InstanceNorm1d(2, track_running_stats=True)
    with grouped_statistics(nn.Sequential(inside, other), 2):
        assert "forward" in vars(inside)
        assert "forward" not in vars(outside)
        assert "forward" not in vars(other)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_memory_format_and_precision_pass_through(precision: torch.dtype) -> None:
    norm = nn.BatchNorm3d(4)
    x = noise(6, 4, 2, 3, 3).to(precision).contiguous(memory_format=torch.channels_last_3d)
    with torch.no_grad(), grouped_statistics(norm, 3):
        y = norm(x)
    assert y.is_contiguous(memory_format=torch.channels_last_3d)
    assert not y.is_contiguous()
    assert y.dtype == precision


def test_under_bf16_autocast_with_channels_last() -> None:
    with seeded(0):
        apart = build_encoder("tiny")
    channels_last(apart)
    together = copy.deepcopy(apart)
    parts = groups_of((4, 3, 4, 24, 24), 2)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected = torch.cat([apart(part) for part in parts])
        with grouped_statistics(together, 2):
            got = together(torch.cat(parts))
    assert got.dtype == expected.dtype == torch.bfloat16
    assert got.is_contiguous(memory_format=torch.channels_last_3d)
    assert F.cosine_similarity(got.float().flatten(1), expected.float().flatten(1)).min() > 0.999
    for key, buffer in buffers(together).items():
        torch.testing.assert_close(buffer, buffers(apart)[key], rtol=0.01, atol=0.01, msg=key)
