"""No part of a training step asks the device for a value: on a GPU the host would wait for it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kinevec.config import Clip, Config, Data, Fima, Flow, Method, Model, Mscl, Terms, Train
from kinevec.data import find_records, open_videos
from kinevec.data.batch import Batch
from kinevec.data.synthetic import SynthConfig, write_synthetic_videos
from kinevec.methods.method import Losses
from kinevec.motion.frames import ComputedFlow
from kinevec.train import trainer
from kinevec.train.loop import pretrain

EVERYTHING = Config(
    clip=Clip(frames=8, stride=2, size=32),
    flow=Flow(method="dis-ultrafast", gap=1, short_side=32, store="none"),
    data=Data(workers=0, store="files"),
    model=Model("tiny"),
    terms=Terms(flow=1, cross=1, rotated=1, local=1, vanilla=1, pixel=1, frame=1),
    method=Method(
        dim=8, hidden=16, centred=True, queue=12, damping=0.98, momentum_schedule="constant", symmetric=True
    ),
    mscl=Mscl(width=4, blocks=1),
    fima=Fima(
        vanilla_queue=12, dense_queue=20, local_queue=24, width=16, heads=2, feedforward=16, dropout=0.2
    ),
    train=Train(epochs=1, batch=2, warmup_epochs=0, precision="bf16"),
)
# What a GPU cannot answer without being waited for: a number, or a result as long as the values say.
ASKS = {
    torch.ops.aten._local_scalar_dense,
    torch.ops.aten.equal,
    torch.ops.aten.is_nonzero,
    torch.ops.aten.masked_select,
    torch.ops.aten.nonzero,
    torch.ops.aten.nonzero_numpy,
    torch.ops.aten.repeat_interleave,
    torch.ops.aten._unique2,
    torch.ops.aten.bincount,
    torch.ops.aten.lift_fresh,  # a tensor made of Python's numbers: they are copied while the host waits
}


class NoWaiting(TorchDispatchMode):
    """Inside, whatever would wait for a device fails."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = function.overloadpacket in (torch.ops.aten.index, torch.ops.aten.index_put_) and any(
            isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if function.overloadpacket in ASKS or by_mask:
            raise AssertionError(f"{function} waits for the device")
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: float(x.sum()),
        lambda x: bool(x.any()),
        lambda x: x[x > 0],
        lambda x: x.masked_fill_(x > 0, 0)[torch.nonzero(x)],
        lambda x: torch.equal(x, x),
        lambda x: x.sum().item(),
        lambda x: x + torch.tensor([1.0, 2.0, 3.0, 4.0]),
    ],
)
def test_what_waits_is_noticed(ask: Any) -> None:
    x = torch.arange(4.0)
    with NoWaiting(), pytest.raises(AssertionError, match="waits for the device"):
        ask(x)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_step_of_all_terms_never_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    write_synthetic_videos(
        tmp_path / "videos", SynthConfig(videos_per_class=1, test_share=0, frames=28, size=48)
    )
    found = open_videos(find_records(tmp_path / "videos"))
    kept = {record.name for record in found.records[:4]}
    steps: list[int] = []
    step = trainer.Trainer.train_step

    def watched(self: trainer.Trainer, batch: Batch) -> tuple[Losses, Tensor]:
        assert isinstance(self.supply.flows, ComputedFlow)
        steps.append(self.step)
        with NoWaiting():
            return step(self, batch)

    monkeypatch.setattr(trainer.Trainer, "train_step", watched)
    config = replace(EVERYTHING, train=replace(EVERYTHING.train, optimizer=optimizer))
    pretrain(config, found.only(lambda record: record.name in kept), tmp_path / "run")
    assert steps == [0, 1]
