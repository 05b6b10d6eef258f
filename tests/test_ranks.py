"""What ranks say to each other, with four real processes: dealt clips, sums, and batch norms over all batches."""

from typing import Any

import pytest
import torch
from torch import nn

import rank_jobs
from kinevec import ranks
from kinevec.errors import ConfigError, UsageError
from kinevec.models.norm import synchronise

WORLD = 4  # so that two of them do not send each other as many samples as they get


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    return rank_jobs.results(rank_jobs.job(WORLD, "primitive", folder), folder)


@pytest.fixture
def said(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one["primitives"] for one in found]


def test_ranks_know_who_they_are(said: list[dict[str, Any]]) -> None:
    assert [(one["rank"], one["world"], one["neighbours"]) for one in said] == [(r, 4, 4) for r in range(4)]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_samples_are_dealt_out_evenly_and_come_home(count: int, said: list[dict[str, Any]]) -> None:
    dealt = [one[f"dealt {count}"].tolist() for one in said]
    assert dealt == [
        [place for place in range(WORLD * count) if place % WORLD == rank] for rank in range(WORLD)
    ]
    for rank, one in enumerate(said):
        assert one[f"home {count}"].tolist() == [*range(rank * count, (rank + 1) * count)]
        sources = [place // count for place in dealt[rank]]
        shares = [sources.count(source) for source in range(WORLD)]
        assert max(shares) - min(shares) <= 1  # of every rank alike: few of its own


def test_clips_keep_their_layout(said: list[dict[str, Any]]) -> None:
    assert all(one["layout"] and one["clips home"] and not one["clips"] for one in said)


def test_gathered_and_averaged_tensors_are_the_same_on_all_ranks(said: list[dict[str, Any]]) -> None:
    whole = torch.cat([rank_jobs.mine(WORLD, rank, 2, 3) for rank in range(WORLD)])
    for one in said:
        assert torch.equal(one["gathered"], whole)
        assert torch.equal(one["averaged"][0], torch.full((2,), 1.5))
        assert torch.equal(one["averaged"][1], torch.full((1, 3), 3.0))
        assert one["exchanged"] == [[0, 7], [1, 7], [2, 7], [3, 7]]
        assert one["shared"] == "of 0"
        assert one["collected"] == [("x", 0), ("x", 1), ("x", 2), ("x", 3)]


def test_what_fails_on_one_rank_stops_all(said: list[dict[str, Any]]) -> None:
    assert [one["together"] for one in said] == [
        "TrainingError: rank 0 stopped since rank 1 failed, whose own message says why",
        "DataError: no such video",
        "TrainingError: rank 2 stopped since rank 1 failed, whose own message says why",
        "TrainingError: rank 3 stopped since rank 1 failed, whose own message says why",
    ]
    assert [one["shared fails"].partition(":")[0] for one in said] == [
        "ConfigError",
        "TrainingError",
        "TrainingError",
        "TrainingError",
    ]


@pytest.mark.parametrize("groups", [1, 2])
def test_synchronised_batch_norms_equal_those_of_one_whole_batch(
    groups: int, found: list[dict[str, Any]]
) -> None:
    """Outputs, gradients of clips and weights, and running statistics; with groups, of each group's whole batch."""
    parts = [rank_jobs.mine(WORLD, rank, 4, 3, 3, 5, 5).chunk(groups) for rank in range(WORLD)]
    batches = [torch.cat([part[group] for part in parts]).requires_grad_() for group in range(groups)]
    model = rank_jobs.small_model()
    size = 4 // groups
    outs = [model(batch) for batch in batches]
    mine = [torch.cat([out[rank * size : (rank + 1) * size] for out in outs]) for rank in range(WORLD)]
    torch.stack([rank_jobs.some_loss(out, 4 * rank) for rank, out in enumerate(mine)]).sum().backward()  # type: ignore[no-untyped-call]
    norms = [one["norms"] for one in found]
    close = {"rtol": 2e-4, "atol": 2e-5}
    for rank, one in enumerate(norms):
        torch.testing.assert_close(one[f"out {groups}"], mine[rank].detach(), **close)
        grads = [batch.grad[rank * size : (rank + 1) * size] for batch in batches if batch.grad is not None]
        torch.testing.assert_close(one[f"clips {groups}"], torch.cat(grads), **close)
        for name, buffer in model.named_buffers():
            torch.testing.assert_close(one[f"buffers {groups}"][name], buffer, **close)
            assert torch.equal(one[f"buffers {groups}"][name], norms[0][f"buffers {groups}"][name])
        whole = rank_jobs.mine(WORLD, rank, 4, 3, 3, 5, 5)
        torch.testing.assert_close(one[f"eval {groups}"], model.eval()(whole).detach(), **close)
    for sums, parameter in zip(
        zip(*(one[f"grads {groups}"] for one in norms), strict=True), model.parameters(), strict=True
    ):
        torch.testing.assert_close(torch.stack(sums).sum(0), parameter.grad, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("size", [8, 200, 10**6])
def test_gradients_become_the_mean_of_all_ranks(size: int, found: list[dict[str, Any]]) -> None:
    """Over two passes each, sent off in the second; a layer that no loss reaches stays without gradient."""
    layers = rank_jobs.gradient_layers()
    for rank in range(WORLD):
        for number in range(2):
            (rank_jobs.gradient_loss(layers, rank, number) / WORLD).backward()  # type: ignore[no-untyped-call]
    right = [p.grad for layer in layers for p in layer.parameters()]
    assert [grad is None for grad in right] == [False] * 2 + [True] * 2 + [False] * 4
    for one in found:
        for got, expected, first in zip(
            one["gradients"][f"grads {size}"], right, found[0]["gradients"][f"grads {size}"], strict=True
        ):
            assert (got is None) == (expected is None)
            if got is not None and expected is not None:
                torch.testing.assert_close(got, expected)
                assert torch.equal(got, first)
    # Of buckets that each hold one parameter, those of the last two layers leave during the backward pass.
    sent = {8: (8, 4), 200: (2, 0), 10**6: (1, 0)}[size]
    names = ("buckets", "sent", "quiet")
    assert tuple(found[0]["gradients"][f"{name} {size}"] for name in names) == (*sent, sent[1])


def test_a_process_that_is_alone_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.arange(6.0).view(3, 2)
    assert (ranks.world(), ranks.rank(), ranks.first(), ranks.neighbours()) == (1, 0, True, 1)
    assert all(done is x for done in (ranks.deal(x), ranks.undeal(x), ranks.gather(x)))
    ranks.average_([x])
    assert ranks.exchange([3, 4]) == [[3, 4]]
    assert ranks.shared(lambda: 5) == 5
    assert ranks.collected(5) == [5]
    monkeypatch.setenv("RANK", "0")  # torchrun with one process
    monkeypatch.setenv("WORLD_SIZE", "1")
    with ranks.joined("cpu") as device, ranks.together():
        assert (str(device), ranks.world()) == ("cpu", 1)


def test_ranks_that_do_not_meet_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    words = "rank 0 of 2 does not find the others: .*; start all of them with torchrun"
    with pytest.raises(UsageError, match=words), ranks.joined("cpu"):
        pass


@pytest.mark.parametrize(
    ("local", "device", "words"),
    [
        ("1", "cuda", ""),
        ("2", "cuda", "rank 2 of this machine finds 2 GPUs; start at most so many ranks on it"),
        ("0", "cuda:1", "train.device is 'cuda:1', but each rank needs a GPU of its own"),
    ],
)
def test_each_rank_of_a_machine_has_a_gpu_of_its_own(
    local: str, device: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", local)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    if words:
        with pytest.raises(ConfigError, match=words):
            ranks._own_gpu(torch.device(device))
    else:
        assert ranks._own_gpu(torch.device(device)) == torch.device("cuda:1")


def test_synchronised_norms_refuse_what_they_do_not_know() -> None:
    norm = nn.BatchNorm1d(3, momentum=None)
    synchronise([norm])
    with pytest.raises(ValueError, match="without running statistics, or with a plain mean"):
        norm(torch.zeros(2, 3))
