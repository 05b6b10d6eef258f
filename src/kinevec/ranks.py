"""The processes that train together: who this one is among them, and what they say to each other.

`torchrun` starts them and tells each by its environment who it is. Every function here is a no-op for a process
that is alone, and costs it nothing.

Two groups connect the ranks. One carries tensors, by nccl between GPUs and gloo between CPUs. The other carries
words between the processors, always by gloo: whether to stop, whether all have a batch. When a process dies its
connections close, and all that wait for a word from it hear so at once.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from kinevec.errors import ConfigError, KinevecError, TrainingError, UsageError
from kinevec.runtime import pick_device

T = TypeVar("T")

MEETING = timedelta(minutes=10)  # for all ranks to start
# For a tensor. All ranks have their batch when they begin a step, so that only their speed can differ.
STEP = {"gloo": timedelta(minutes=5), "nccl": timedelta(seconds=50)}
WORDS = timedelta(days=1)  # for a word: the first rank may decode for hours while the others wait
SILENCE = timedelta(minutes=10)  # for a word once training has begun: as long as a loader or a save may take

_words: "dist.ProcessGroup | None" = None


def world() -> int:
    """How many processes train together; 1 for a process that is alone."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if world() > 1 else 0


def first() -> bool:
    """Whether this is the rank that writes files and speaks."""
    return rank() == 0


def follows() -> bool:
    """Whether `torchrun` started this process as another than the first; known before they meet and after."""
    return os.environ.get("RANK", "0") != "0" and int(os.environ.get("WORLD_SIZE", "1")) > 1


def neighbours() -> int:
    """How many of the ranks share this machine's processor, this one among them."""
    return max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))) if world() > 1 else 1


@contextmanager
def joined(device: str) -> Iterator[torch.device]:
    """Meets the other ranks where `torchrun` started several processes, and parts from them in the end.

    Yields:
        The device of this rank: where `device` is "auto" or "cuda", each rank of a machine has a GPU of its own.

    Raises:
        ConfigError: there are fewer GPUs than ranks on this machine, or all are to share one.
        UsageError: the other ranks are not to be found.
        TrainingError: contact with another rank was lost.
    """
    picked = pick_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "RANK" not in os.environ or not dist.is_available():
        yield picked
        return
    if picked.type == "cuda":
        picked = _own_gpu(picked)
        torch.cuda.set_device(picked)
    global _words
    backend = "nccl" if picked.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, timeout=MEETING)
        _words = dist.new_group(backend="gloo", timeout=WORDS)
        dist.distributed_c10d._set_pg_timeout(STEP[backend], dist.group.WORLD)
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            f"rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']} does not find the others: "
            f"{str(error).splitlines()[0]}; start all of them with torchrun"
        ) from error
    try:
        with _said_once():
            yield picked
    except RuntimeError as error:
        if not _is_lost_contact(error):
            raise
        raise TrainingError(
            f"rank {rank()} lost contact with another rank, which died or stopped with a message of its own "
            f"({str(error).splitlines()[0]}); the last checkpoint is whole: --resume goes on from there"
        ) from error
    finally:
        _words = None
        with suppress(RuntimeError):
            dist.destroy_process_group()


def training_begins() -> None:
    """From now on no rank has a reason to be silent for hours: one that is has vanished."""
    if world() > 1:
        dist.distributed_c10d._set_pg_timeout(SILENCE, _words)


def exchange(values: Sequence[int]) -> list[list[int]]:
    """What each rank says, in their order: as many numbers from each. Waits for all of them."""
    if world() == 1:
        return [list(values)]
    mine = torch.tensor(values, dtype=torch.long)
    all_ = [torch.empty_like(mine) for _ in range(world())]
    dist.all_gather(all_, mine, group=_words)
    return [said.tolist() for said in all_]


@contextmanager
def together() -> Iterator[None]:
    """Work that must succeed on every rank: where it fails on one, all stop after it.

    Raises:
        TrainingError: it failed on another rank.
    """
    if world() == 1:
        yield
        return
    try:
        yield
    except (KinevecError, OSError):
        exchange([1])
        raise
    refuse_failed([bool(failed) for (failed,) in exchange([0])])


def refuse_failed(failed: Sequence[bool]) -> None:
    """Stops this rank where another one failed.

    Raises:
        TrainingError: so it is.
    """
    if any(failed):
        names = ", ".join(str(place) for place, wrong in enumerate(failed) if wrong)
        raise TrainingError(f"rank {rank()} stopped since rank {names} failed, whose own message says why")


def shared(make: Callable[[], T]) -> T:
    """What the first rank makes, for all of them; it must be picklable.

    Raises:
        TrainingError: it failed on the first rank.
    """
    if world() == 1:
        return make()
    made: list[T | None] = [None]
    with together():
        if first():
            made = [make()]
    dist.broadcast_object_list(made, src=0, group=_words)
    result = made[0]
    assert result is not None
    return result


def collected(value: T) -> list[T]:
    """The values of all ranks in their order, for all of them; they must be picklable."""
    if world() == 1:
        return [value]
    all_: list[T | None] = [None] * world()
    dist.all_gather_object(all_, value, group=_words)
    return [one for one in all_ if one is not None]


def gather(x: Tensor) -> Tensor:
    """(N, ...) of each rank → (world·N, ...), by rank, the same on all of them; without gradient."""
    if world() == 1:
        return x
    mine = x.detach().contiguous()
    parts = [torch.empty_like(mine) for _ in range(world())]
    dist.all_gather(parts, mine)
    return torch.cat(parts)


def average_(tensors: Sequence[Tensor]) -> None:
    """Changes tensors in place to their mean over the ranks, in one message."""
    if world() == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    parts = torch.split(flat / world(), [tensor.numel() for tensor in tensors])
    torch._foreach_copy_(list(tensors), [part.view_as(t) for part, t in zip(parts, tensors, strict=True)])


def deal(x: Tensor) -> Tensor:
    """Deals the samples (N, ...) of all ranks out like cards: each rank gets N, and some of every rank.

    Sample i of rank r goes to rank `(r·N + i) mod world`. What is random about it is the order of the videos; so
    it needs no draw and no message about one. `undeal` takes them home.
    """
    if world() == 1:
        return x
    order, sent, received = _hands(len(x), rank(), world(), x.device)
    return _swap(x[order], sent, received)


def undeal(x: Tensor) -> Tensor:
    """Takes what was made of dealt samples (N, ...) back to the ranks they came from, in their order."""
    if world() == 1:
        return x
    order, sent, received = _hands(len(x), rank(), world(), x.device)
    return _swap(x, received, sent)[order.argsort()]


@cache  # numbers that go to a GPU are waited for: once, not in every step
def _hands(
    count: int, rank: int, world: int, device: torch.device
) -> tuple[Tensor, tuple[int, ...], tuple[int, ...]]:
    """The order (N,) in which a rank sends its samples, how many go to each rank, and how many come from each."""
    to = [(rank * count + i) % world for i in range(count)]
    order = torch.tensor(sorted(range(count), key=lambda i: to[i]), device=device)
    sent = tuple(to.count(place) for place in range(world))
    received = tuple(sum((r * count + i) % world == rank for i in range(count)) for r in range(world))
    return order, sent, received


def _swap(x: Tensor, sent: Sequence[int], received: Sequence[int]) -> Tensor:
    """Sends the first `sent[0]` samples to rank 0, and so on; (N, ...) in the layout that `x` has."""
    last = x.ndim == 5 and x.is_contiguous(memory_format=torch.channels_last_3d) and not x.is_contiguous()
    rows = x.movedim(1, -1) if last else x
    got = rows.new_empty(sum(received), *rows.shape[1:])
    dist.all_to_all_single(got, rows.contiguous(), list(received), list(sent))
    return got.movedim(-1, 1) if last else got


@contextmanager
def _said_once() -> Iterator[None]:
    """What all ranks would say alike is said by the first; what went wrong with a rank's own clips, by that one."""
    levels = {"kinevec": logging.ERROR, "kinevec.train.failures": logging.WARNING} if rank() else {}
    loggers = {logging.getLogger(name): level for name, level in levels.items()}
    before = {logger: logger.level for logger in loggers}
    for logger, level in loggers.items():
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)


def _own_gpu(picked: torch.device) -> torch.device:
    place, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if str(picked) != "cuda":
        raise ConfigError(
            f"train.device is '{picked}', but each rank needs a GPU of its own; set train.device=auto"
        )
    if place >= there:
        raise ConfigError(
            f"rank {place} of this machine finds {there} GPUs; start at most so many ranks on it "
            "(torchrun --nproc-per-node), or set train.device=cpu"
        )
    return torch.device("cuda", place)


def _is_lost_contact(error: RuntimeError) -> bool:
    words = str(error)
    return isinstance(error, dist.DistError) or any(part in words for part in ("gloo", "NCCL", "c10d"))
