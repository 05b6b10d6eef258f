"""`train.compile`: the same model under the same names, and the same losses while it learns.

Traced and guarded as in earnest, but not lowered to C++, which takes a minute: `benchmarks/step.py --check-compile`
does that.
"""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

import method_steps as steps
from kinevec.config import Config, Terms
from kinevec.errors import ConfigError
from kinevec.methods.method import Method
from kinevec.models import encoder
from kinevec.models.conv import Route, channels_last
from kinevec.models.encoder import Encoder, compile_encoders
from kinevec.models.guard import guard_bf16

ROUTES: tuple[Route, ...] = ("padded", "fp32", "padded", "flat")
CPU = torch.device("cpu")
CONFIG = steps.configured(
    Terms(instance=1, local=1, vanilla=1, pixel=1, frame=1),
    replace(steps.CONTRAST, symmetric=True),
    replace(steps.SMALL_MSCL, neck="linear"),
    replace(steps.SMALL_FIMA, together=True),
)


@pytest.fixture(autouse=True)
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))


def learnt(config: Config, *, compiled: bool) -> list[dict[str, float]]:
    """The terms of two steps in bf16, and what the key side and the statistics came to."""
    model = steps.build(config)
    channels_last(model)
    guard_bf16(model, steps.clips(config).rgb[0], lambda _: model(steps.clips(config)))
    for place, route in enumerate(ROUTES):
        model.get_submodule(f"rgb.encoder.layer{place + 1}.0.conv1.0").route = route  # type: ignore[assignment]
    names = list(model.state_dict())
    if compiled:
        compile_encoders(model, CPU)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.01)
    seen = []
    for step in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            losses = model(steps.clips(config, seed=step))
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        model.advance(losses, step, 2)
        sums = {name: float(value.double().abs().sum()) for name, value in model.state_dict().items()}
        seen.append(steps.values(losses) | sums)
    assert list(model.state_dict()) == names
    return seen


def test_a_compiled_method_learns_the_same() -> None:
    """With batch norms that treat motion keys by kind, and RGB keys as ever."""
    plain, compiled = learnt(CONFIG, compiled=False), learnt(CONFIG, compiled=True)
    for one, other in zip(compiled, plain, strict=True):
        assert one == pytest.approx(other, rel=1e-5)


def test_every_encoder_is_compiled_query_and_key_side(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []

    def note(stages: object, *, dynamic: bool) -> object:
        assert not dynamic
        compiled.append(stages.__self__)  # type: ignore[attr-defined]
        return stages

    monkeypatch.setattr(torch, "compile", note)
    model = Method(steps.configured(Terms(flow=1, local=1)))
    compile_encoders(model, CPU)
    assert {id(x) for x in compiled} == {id(x) for x in model.modules() if isinstance(x, Encoder)}
    assert len(compiled) == 4


def test_a_cpu_without_compiler_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"train\.compile needs a C\+\+ compiler"):
        compile_encoders(nn.Identity(), CPU)
    compile_encoders(nn.Identity(), torch.device("cuda"))
