"""What the tests of several ranks let real processes do: a script, and how to start it.

`start(2, "train", folder)` runs the job `train` of this file in two processes that meet by gloo, as those that
`torchrun` starts. Each leaves what it found in `folder/RANK.pt`. One start serves many tests, since importing PyTorch
takes most of its time.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinevec import ranks
from kinevec.config import (
    Clip,
    Config,
    Data,
    Fima,
    Flow,
    Method,
    Model,
    Mscl,
    Sampling,
    Terms,
    Train,
    Views,
)
from kinevec.data import Collection, find_records, open_videos
from kinevec.errors import ConfigError, DataError, KinevecError
from kinevec.methods.method import Losses
from kinevec.methods.method import Method as Learner
from kinevec.models.norm import batch_norms, grouped_statistics, synchronise
from kinevec.train import failures, supply, trainer
from kinevec.train.gradients import GradientMean
from kinevec.train.loop import pretrain
from kinevec.train.trainer import Trainer

MOCO = Config(
    clip=Clip(frames=8, stride=2, size=24),
    flow=Flow(method="dis-ultrafast", gap=1, short_side=32),
    data=Data(workers=0),
    views=Views(area=(0.5, 1.0), flip=0),
    model=Model("tiny"),
    method=Method(dim=16, hidden=32, centred=True, queue=32, damping=0.98, temperature=0.2, momentum=0.9),
    mscl=Mscl(width=4, blocks=1, neck="linear"),
    fima=Fima(
        vanilla_queue=32, dense_queue=20, local_queue=64, width=16, heads=2, feedforward=16, dropout=0.2
    ),
    train=Train(epochs=2, batch=8, lr=0.02, warmup_epochs=0, precision="fp32"),
)
MSCL = replace(
    MOCO, terms=Terms(flow=1, cross=1, rotated=1, local=1), sampling=Sampling(near=True, moving=True)
)
FIMA = replace(MOCO, terms=Terms(vanilla=1, pixel=1, frame=1), method=replace(MOCO.method, symmetric=True))
METHODS = {"moco": MOCO, "mscl": MSCL, "fima": FIMA}
# Terms without negatives from the batch, whose losses depend on it as a whole only through batch norms.
SEPARABLE = {
    "mscl": MSCL,
    "vanilla": replace(FIMA, terms=Terms(vanilla=1)),
}
# A fresh encoder has gradients of a norm of some hundreds: larger steps would blow rounding up.
SEPARABLE = {
    name: replace(config, train=replace(config.train, lr=2e-4)) for name, config in SEPARABLE.items()
}
IN_PARTS = {
    name: replace(config, train=replace(config.train, lr=2e-4, epochs=1)) for name, config in METHODS.items()
}
SKIPPING = replace(MOCO, train=replace(MOCO.train, on_nan="skip"))
BF16 = replace(MOCO, train=replace(MOCO.train, precision="bf16"))
BROKEN = replace(MOCO, data=Data(workers=0, store="files"))
STEPS = 4  # two an epoch, of 8 of 16 videos


@contextmanager
def shifted() -> Iterator[None]:
    """Inside, the batch norms of a fresh method have offsets that differ from 0.

    Without them a channel that is the same everywhere, as a painted flow without motion makes, comes out as rounding
    about 0, and rounding decides which of its gradients a ReLU lets through.
    """

    def make(config: Config) -> Learner:
        model = Learner(config)
        with torch.no_grad():
            for norm in batch_norms(model):
                norm.bias.copy_(0.5 * torch.cos(torch.arange(len(norm.bias))))
        return model

    before = trainer.Method
    trainer.Method = make  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        trainer.Method = before  # type: ignore[misc]


def with_norms(config: Config, query: str, key: str) -> Config:
    return replace(config, method=replace(config.method, query_norm=query, key_norm=key))  # type: ignore[arg-type]


def in_parts(config: Config, accumulate: int) -> Config:
    return replace(config, train=replace(config.train, accumulate=accumulate))


def collection(videos: Path) -> Collection:
    return open_videos(find_records(videos))


def damaged(videos: Path, folder: Path) -> Collection:
    """A copy of the videos, some of which are cut short after they were probed."""
    shutil.copytree(videos, folder)
    found = collection(folder)
    for record in found.records[::4]:
        record.path.write_bytes(record.path.read_bytes()[:200])
    return found


# ---------------------------------------------------------------------------------------------------- starting


def ports(count: int) -> list[int]:
    """Free ones."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    found = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return found


def environment(rank: int, world: int, meetings: Sequence[int]) -> dict[str, str]:
    """As torchrun sets it; `meetings` are ports, the first of which serves."""
    return os.environ | {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(meetings[0]),
        "MEETINGS": " ".join(map(str, meetings)),
        "PYTHONWARNINGS": "error",
    }


def start(world: int, command: Sequence[str | Path], folder: Path) -> list["subprocess.Popen[str]"]:
    """The same command in so many ranks; what each says goes to `folder/RANK.txt`."""
    folder.mkdir(parents=True, exist_ok=True)
    meetings = ports(30)
    processes = []
    for rank in range(world):
        with (folder / f"{rank}.txt").open("w") as said:
            processes.append(
                subprocess.Popen(
                    [sys.executable, *map(str, command)],
                    env=environment(rank, world, meetings),
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
    return processes


def job(world: int, name: str, folder: Path, *arguments: Path) -> list["subprocess.Popen[str]"]:
    """A job of this file in so many ranks."""
    return start(world, [__file__, name, folder, *arguments], folder)


def end(processes: Sequence["subprocess.Popen[str]"]) -> None:
    """Ends what still runs; torchrun passes that on."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def results(processes: Sequence["subprocess.Popen[str]"], folder: Path, seconds: float = 400) -> list[Any]:
    """What each rank left."""
    try:
        codes = [process.wait(seconds) for process in processes]
    finally:
        end(processes)
    said = "\n".join((folder / f"{rank}.txt").read_text() for rank in range(len(processes)))
    assert codes == [0] * len(processes), said
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(len(processes))]


# ---------------------------------------------------------------------------------------------------- in a rank


@contextmanager
def met() -> Iterator[None]:
    """Among the ranks, which meet at another port each time."""
    places = os.environ["MEETINGS"].split()
    os.environ["MASTER_PORT"] = places.pop(0)
    os.environ["MEETINGS"] = " ".join(places)
    with ranks.joined("cpu"):
        yield


def mine(world: int, rank: int, *shape: int) -> Tensor:
    """This rank's part of noise that all ranks could draw."""
    whole = torch.randn(world * shape[0], *shape[1:], generator=torch.Generator().manual_seed(0))
    return whole[rank * shape[0] : (rank + 1) * shape[0]]


def small_model() -> nn.Module:
    """Batch norms of three dimensions and of one, not at their first weights."""
    conv = nn.Sequential(nn.Conv3d(3, 4, 2), nn.BatchNorm3d(4), nn.ReLU(), nn.Flatten())
    model = nn.Sequential(conv, nn.Linear(4 * 2 * 4 * 4, 6), nn.BatchNorm1d(6, momentum=0.3))
    generator = torch.Generator().manual_seed(4)
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.2, 0.5, generator)
    return model


def some_loss(out: Tensor, first: int) -> Tensor:
    """Of the rows (N, C) of a larger batch that begin with row `first`; every one counts differently."""
    place = torch.arange(out.numel()) + first * out.shape[1]
    return (out * torch.cos(place).view_as(out)).sum()


def told(action: Callable[[], object]) -> str:
    try:
        action()
    except KinevecError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def primitives() -> dict[str, Any]:
    """Each of the helpers once."""
    world, rank = ranks.world(), ranks.rank()
    found: dict[str, Any] = {"world": world, "rank": rank, "neighbours": ranks.neighbours()}
    for count in (1, 2, 3, 5, 8):  # what a rank gets, and that it comes home
        own = torch.arange(count) + rank * count
        dealt = ranks.deal(own)
        found[f"dealt {count}"], found[f"home {count}"] = dealt, ranks.undeal(dealt)
    clips = mine(world, rank, 4, 3, 2, 5, 5).contiguous(memory_format=torch.channels_last_3d)
    dealt = ranks.deal(clips)
    found["layout"] = dealt.is_contiguous(memory_format=torch.channels_last_3d)
    found["clips"], found["clips home"] = torch.equal(dealt, clips), torch.equal(ranks.undeal(dealt), clips)
    found["gathered"] = ranks.gather(mine(world, rank, 2, 3))
    pair = [torch.full((2,), float(rank)), torch.full((1, 3), 2.0 * rank)]
    ranks.average_(pair)
    found["averaged"] = pair
    found["exchanged"] = ranks.exchange([rank, 7])
    found["shared"] = ranks.shared(lambda: f"of {ranks.rank()}")
    found["collected"] = ranks.collected(("x", rank))

    def fail() -> None:
        with ranks.together():
            if rank == 1:
                raise DataError("no such video")

    found["together"] = told(fail)

    def fail_first() -> None:
        ranks.shared(lambda: (_ for _ in ()).throw(ConfigError("no such thing")))

    found["shared fails"] = told(fail_first)
    return found


def norms() -> dict[str, Any]:
    """A synchronised model and its gradients, on this rank's part of a batch; and once more in groups."""
    world, rank = ranks.world(), ranks.rank()
    found: dict[str, Any] = {}
    for groups in (1, 2):
        clips = mine(world, rank, 4, 3, 3, 5, 5).requires_grad_()
        model = small_model()
        synchronise(batch_norms(model))
        with grouped_statistics(model, groups):
            out = model(clips)
        some_loss(out, rank * len(out)).backward()  # type: ignore[no-untyped-call]
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        found[f"out {groups}"], found[f"clips {groups}"] = out.detach(), clips.grad
        found[f"grads {groups}"] = grads
        found[f"buffers {groups}"] = {name: b.clone() for name, b in model.named_buffers()}
        found[f"eval {groups}"] = model.eval()(clips.detach()).detach()
    return found


def gradient_layers() -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(4, 4), nn.Linear(4, 1)]


def gradient_loss(layers: Sequence[nn.Linear], rank: int, number: int) -> Tensor:
    """Of pass `number`; one layer takes no part."""
    x = torch.full((2, 3), 1.0 + rank + 10 * number)
    return layers[3](layers[2](F.relu(layers[0](x)))).square().mean()


def gradients() -> dict[str, Any]:
    """Means of gradients in buckets of several sizes, in two passes, with a parameter that takes no part."""
    found: dict[str, Any] = {}
    for size in (8, 200, 10**6):
        layers = gradient_layers()
        parameters = [p for layer in layers for p in layer.parameters()]
        averaged = GradientMean(parameters, bucket_bytes=size)
        for number in range(2):
            if number:
                averaged.begin()
            gradient_loss(layers, ranks.rank(), number).backward()  # type: ignore[no-untyped-call]
            if number:
                found[f"sent {size}"] = averaged.next
                averaged.finish()
        found[f"grads {size}"] = [None if p.grad is None else p.grad.clone() for p in parameters]
        found[f"buckets {size}"] = len(averaged.buckets)
        gradient_loss(layers, ranks.rank(), 0).backward()  # type: ignore[no-untyped-call]
        found[f"quiet {size}"] = averaged.next  # of the next step's first part nothing is sent
    return found


def run(config: Config, videos: Collection, folder: Path, **options: Any) -> dict[str, Any]:
    """Trains, and returns what this rank knows in the end."""
    known: dict[str, Any] = {"saves": 0, "decoded": 0, "flowed": 0, "statuses": 0}
    save = Trainer.save

    def saving(self: Trainer) -> None:
        save(self)
        known["saves"] += 1
        known["model"] = {name: value.clone() for name, value in self.model.state_dict().items()}
        known["step"] = self.step

    def count(name: str) -> Callable[..., None]:
        def note(*_: object) -> None:
            known[name] += 1

        return note

    Trainer.save = saving  # type: ignore[method-assign]
    places = os.environ["MEETINGS"].split()
    os.environ["MASTER_PORT"] = places.pop(0)
    os.environ["MEETINGS"] = " ".join(places)
    callbacks = {"on_status": count("statuses"), "on_decode": count("decoded"), "on_flow": count("flowed")}
    try:
        known["said"] = told(lambda: pretrain(config, videos, folder, **callbacks, **options))
    finally:
        Trainer.save = save  # type: ignore[method-assign]
    return known


@contextmanager
def at_step(step: int, rank: int, action: Callable[[Learner, Losses], None]) -> Iterator[None]:
    """Does something on one rank when a step is over."""
    advance = Learner.advance

    def acting(self: Learner, losses: Losses, number: int, total: int) -> None:
        advance(self, losses, number, total)
        if (number, int(os.environ["RANK"])) == (step, rank):
            action(self, losses)

    Learner.advance = acting  # type: ignore[method-assign]
    try:
        yield
    finally:
        Learner.advance = advance  # type: ignore[method-assign]


def interrupt(learner: Learner, losses: Losses) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def poison(learner: Learner, losses: Losses) -> None:
    for term in losses.terms.values():
        term.data.fill_(float("nan"))


def break_queue(learner: Learner, losses: Losses) -> None:
    learner.rgb.queue.keys[0, 0] = float("inf")


def train(folder: Path, videos: Path) -> dict[str, Any]:
    """Whole runs."""
    found: dict[str, Any] = {}
    seen = collection(videos)
    for name, config in METHODS.items():
        found[name] = run(config, seen, folder / name)
    for name, config in SEPARABLE.items():
        synchronised = with_norms(config, "synchronised", "synchronised")
        with shifted():
            found[f"{name} synchronised"] = run(synchronised, seen, folder / f"{name} synchronised")
    for name, config, parts in (("fima", IN_PARTS["fima"], 1), ("mscl", IN_PARTS["mscl"], 2)):
        own = in_parts(with_norms(config, "own", "own"), parts)
        with shifted():
            found[f"{name} in parts"] = run(own, seen, folder / f"{name} in parts")
    with at_step(1, 1, interrupt):
        found["stopped"] = run(MSCL, seen, folder / "resumed")
    found["resumed"] = run(MSCL, seen, folder / "resumed", resume=True)

    with at_step(2, 1, poison):
        found["nan"] = run(MOCO, seen, folder / "nan")
    with at_step(2, 1, poison):
        found["skip"] = run(SKIPPING, seen, folder / "skip")
    with at_step(3, 1, break_queue):
        found["queue"] = run(MOCO, seen, folder / "queue")
    found["bf16"] = run(BF16, seen, folder / "bf16")
    part = damaged(videos, folder / f"videos {os.environ['RANK']}")
    with at_step(2, 0, interrupt):
        run(BROKEN, part, folder / "broken")
    found["broken"] = run(BROKEN, part, folder / "broken", resume=True)
    failures.FEW_CLIPS = 8
    found["too many"] = run(
        replace(BROKEN, data=replace(BROKEN.data, failed_share=0.01)), part, folder / "many"
    )
    uneven = replace(MOCO, train=replace(MOCO.train, batch=9))
    found["uneven"] = run(uneven, seen, folder / "uneven")
    return found


def primitive(folder: Path) -> dict[str, Any]:
    with met():
        return {"primitives": primitives(), "norms": norms(), "gradients": gradients()}


if __name__ == "__main__":
    supply.cores = lambda: 1  # type: ignore[assignment]
    torch.set_num_threads(1)
    chosen, place, *rest = sys.argv[1:]
    outcome = {"train": train, "primitive": primitive}[chosen](Path(place), *map(Path, rest))  # type: ignore[operator]
    torch.save(outcome, Path(place) / f"{os.environ['RANK']}.pt")
