"""Devices, precision, seeds, and the guard against wrong bf16 convolutions, on real and on made-up faults."""

import contextlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinevec import runtime
from kinevec.errors import ConfigError
from kinevec.models import build_encoder
from kinevec.models.conv import Conv3d, Route, channels_last
from kinevec.runtime import (
    autocast,
    default_workers,
    guard_bf16,
    machine,
    one_thread,
    pick_device,
    pick_precision,
    provenance,
    seeded,
)

CPU = torch.device("cpu")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_pick_device() -> None:
    assert pick_device("cpu") == CPU
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:99", "xpu:99", "hpu", "meta"])
def test_devices_that_are_not_here_are_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"train.device is '{name}', which cannot be used here; try 'cpu'"):
        pick_device(name)


@pytest.mark.parametrize("native", [False, True])
def test_auto_precision_is_bf16_where_the_processor_has_it(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = "flags : fpu avx512f avx512_bf16 sse" if native else "flags : fpu avx512f sse"
    monkeypatch.setattr(Path, "read_text", lambda path: flags)
    assert pick_precision("auto", CPU) == ("bf16" if native else "fp32")
    assert pick_precision("fp32", CPU) == "fp32"
    assert pick_precision("bf16", CPU) == "bf16"


def test_auto_precision_is_fp32_where_the_processor_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert pick_precision("auto", CPU) == "fp32"


def test_autocast_is_bf16_or_nothing() -> None:
    a = noise(4, 4)
    with autocast(CPU, "bf16"):
        assert (a @ a).dtype == torch.bfloat16
    with autocast(CPU, "fp32"):
        assert (a @ a).dtype == torch.float32


@pytest.mark.parametrize(
    ("cores", "kind", "expected"),
    [(16, "cpu", 4), (7, "cpu", 1), (8, "cpu", 2), (1, "cpu", 1), (16, "cuda", 15), (1, "cuda", 1)],
)
def test_default_workers(cores: int, kind: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    assert default_workers(torch.device(kind)) == expected


def test_one_thread_for_a_while() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with contextlib.suppress(KeyError), one_thread():
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_seeded_modules_are_repeatable_and_the_global_generator_goes_on_as_if_nothing_had_been() -> None:
    before = torch.get_rng_state()
    with seeded(3):
        one = nn.Linear(5, 5)
    with seeded(3):
        again = nn.Linear(5, 5)
    with seeded(4):
        other = nn.Linear(5, 5)
    assert torch.equal(one.weight, again.weight)
    assert not torch.equal(one.weight, other.weight)
    assert torch.equal(torch.get_rng_state(), before)


def test_provenance_says_what_made_a_result() -> None:
    facts = provenance("cpu")
    assert json.loads(json.dumps(facts)) == facts
    assert facts["torch"] == torch.__version__
    assert (facts["device"], facts["machine"]) == ("cpu", machine("cpu"))
    assert facts["machine"].endswith(f", {torch.get_num_threads()} threads")
    assert provenance()["device"] == str(pick_device("auto"))
    assert {"made", "command", "kinevec", "commit", "python"} <= set(facts)
    assert facts["made"].endswith("+00:00")


def test_provenance_names_the_commit_of_the_source_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        person = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        run = ["git", "-C", str(tmp_path), *person, *arguments]
        return subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()

    def commit() -> object:
        runtime._commit.cache_clear()
        return provenance()["commit"]

    source = tmp_path / "src" / "kinevec" / "runtime.py"
    source.parent.mkdir(parents=True)
    source.touch()
    monkeypatch.setattr(runtime, "__file__", str(source))
    try:
        assert commit() is None  # an installed copy, outside of any source tree
        try:
            git("init")
        except FileNotFoundError:
            pytest.skip("git is not here")
        assert commit() is None  # no commit yet
        git("add", ".")
        git("commit", "-m", "all")
        assert commit() == git("rev-parse", "--short=12", "HEAD")
        source.write_text("# changed")
        assert commit() == git("rev-parse", "--short=12", "HEAD") + "+"
    finally:
        runtime._commit.cache_clear()


Fault = Literal["output", "input", "weight", "nan"]


class _Faulty(torch.autograd.Function):
    """Passes input and weight on; spoils one of the gradients by 10 %, or the weight's by a NaN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, fault: Fault) -> tuple[Tensor, Tensor]:
        ctx.fault = fault
        return x.clone(), weight.clone()

    @staticmethod
    def backward(ctx: Any, dx: Tensor, dw: Tensor) -> tuple[Tensor, Tensor, None]:
        dw = dw.clone()
        if ctx.fault == "nan":
            dw[0, 0, 0, 0, 0] = float("nan")
        return dx * (1.1 if ctx.fault == "input" else 1), dw * (1.1 if ctx.fault == "weight" else 1), None


class FaultyConv3d(Conv3d):
    """A convolution that is wrong by 10 % on some routes."""

    wrong_on: tuple[Route, ...] = ()
    fault: Fault = "output"

    def forward(self, input: Tensor) -> Tensor:
        if self.route not in self.wrong_on:
            return super().forward(input)
        x, weight = _Faulty.apply(input, self.weight, self.fault)  # type: ignore[no-untyped-call]
        y = F.conv3d(x, weight, self.bias, self.stride, self.padding)
        return y * 1.1 if self.fault == "output" else y


def small_model(*wrong_on: tuple[Route, ...], fault: Fault = "output") -> nn.Sequential:
    """One faulty convolution after the other, all of different shapes; batch norms between them."""
    model = nn.Sequential()
    channels = 3
    for i, routes in enumerate(wrong_on):
        conv = FaultyConv3d(channels, 4 + i, 3, 1, 1)
        conv.wrong_on, conv.fault = routes, fault
        channels = 4 + i
        model += nn.Sequential(conv, nn.BatchNorm3d(channels), nn.ReLU())
    return model


@pytest.mark.parametrize("fault", ["output", "input", "weight", "nan"])
def test_guard_gives_wrong_layers_a_route_that_is_right(fault: Fault) -> None:
    model = small_model((), ("plain",), ("plain", "padded"), fault=fault)
    assert guard_bf16(model, noise(2, 3, 4, 8, 8)) == {"3": "padded", "6": "fp32"}
    assert [layer.route for layer in model if isinstance(layer, Conv3d)] == ["plain", "padded", "fp32"]


def test_guard_judges_each_layer_by_its_own_shapes() -> None:
    model = small_model(("plain",), ("plain",))
    model[3].wrong_on = ()
    assert guard_bf16(model, noise(2, 3, 4, 8, 8)) == {"0": "padded"}


def test_guard_takes_back_routes_that_are_not_needed() -> None:
    model = small_model((), ())
    model[0].route = "fp32"
    assert guard_bf16(model, noise(2, 3, 4, 8, 8)) == {}
    assert model[0].route == "plain"


def test_guard_leaves_no_traces() -> None:
    model = small_model((), ("plain",), ())
    model[3].requires_grad_(False)
    model.train()
    model[4].eval()
    model(noise(2, 3, 4, 8, 8, seed=1))  # batch-norm statistics that are not the first ones
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    modes = [module.training for module in model.modules()]
    random = torch.get_rng_state()
    guard_bf16(model, noise(2, 3, 4, 8, 8, seed=2))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == flags
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(module._forward_pre_hooks for module in model.modules())


def layer_inputs(model: nn.Module, example: Tensor) -> dict[str, Tensor]:
    """What every convolution of the model is given in a bf16 step."""
    inputs: dict[str, Tensor] = {}
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, Conv3d)}
    hooks = [
        layer.register_forward_pre_hook(lambda _, given, name=name: inputs.update({name: given[0].detach()}))
        for name, layer in layers.items()
    ]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        model(example)
    for hook in hooks:
        hook.remove()
    return inputs


def weight_gradient_error(layer: Conv3d, x: Tensor) -> float:
    """How far the weight gradient of the layer as it is lies from the one of `F.conv3d` in fp32."""
    weight = layer.weight.detach().clone().requires_grad_(True)
    y = F.conv3d(x.float(), weight, None, layer.stride, layer.padding)
    upstream = noise(*y.shape, seed=1)
    (right,) = torch.autograd.grad(y, weight, upstream)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    (got,) = torch.autograd.grad(y, layer.weight, upstream.to(y.dtype))
    error = float((got - right).norm() / right.norm())
    return error if error == error else float("inf")


def test_all_weight_gradients_of_r3d18_at_16_frames_are_right_after_the_guard() -> None:
    """With AVX512-BF16, torch 2.13 computes those of the last stage (depth 2) wrongly."""
    with seeded(0):
        model = build_encoder("r3d18")
    channels_last(model)
    example = noise(2, 3, 16, 32, 32)
    inputs = layer_inputs(model, example)
    layers = {name: model.get_submodule(name) for name in inputs}
    wrong = {name for name, x in inputs.items() if weight_gradient_error(layers[name], x) > 0.05}  # type: ignore[arg-type]
    changed = guard_bf16(model, example)
    assert set(changed) == wrong
    for name, x in inputs.items():
        assert weight_gradient_error(layers[name], x) < 0.05, name  # type: ignore[arg-type]
    if torch.__version__.startswith("2.13.") and "avx512_bf16" in Path("/proc/cpuinfo").read_text():
        assert wrong == {"layer4.0.conv2.0", "layer4.1.conv1.0", "layer4.1.conv2.0"}
