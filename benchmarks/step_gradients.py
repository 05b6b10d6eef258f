"""Whether the gradients that training would use on this machine are right.

Each encoder learns from 4 clips of 16 × 112² in the precision of training, and every parameter's gradient is compared
with fp32 in two ways:

- alone: with the gradient that fp32 computes from what this very layer was given, its input and the gradient that
  came back to it. All that differs is how the layer computes: right ones differ by 0.3 %.
- in all: with that of a step in fp32 throughout. Errors of rounding add up from layer to layer, and a fresh network
  with batch norms magnifies them, so residual branches count a tenth here, and each parameter is held against what
  rounding alone does to it: a third step multiplies in fp32 what bf16 leaves of the numbers.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinevec import config as configuration
from kinevec.methods.method import Method
from kinevec.models.conv import Conv3d, channels_last
from kinevec.models.encoder import Encoder
from kinevec.models.guard import guard_bf16
from kinevec.models.resnet import BasicBlock
from kinevec.runtime import autocast, pick_device, pick_precision, seeded
from kinevec.train.clips import example_clips

ENCODERS = ("r3d18", "r2plus1d18")
CLIPS = 4
BRANCHES = 0.1  # weight of the last batch norm of each block
ALONE = 0.02  # relative error that one layer may make
IN_ALL = 2.0  # times the error of rounding alone
FLOOR = 0.01  # relative error in all that is always right
SHOWN = 5

Gradients = dict[str, Tensor]


def check_gradients() -> bool:
    """Prints what is found; whether all gradients are right."""
    device = pick_device("auto")
    precision = pick_precision("auto", device)
    print(f"training would use {precision} on {device} ({torch.get_num_threads()} threads)")
    right = True
    for name in ENCODERS:
        config = configuration.load("moco-r3d18", [f"model.name={name}", "clip.frames=16"])
        with seeded(0):
            model = Method(config).to(device)
            clips = torch.randn(CLIPS, 3, 16, 112, 112).to(device)
            classifier = torch.randn(model.encoder.channels, 10).to(device)
        channels_last(model)
        for block in model.encoder.modules():
            if isinstance(block, BasicBlock):
                nn.init.constant_(block.conv2[-1].weight, BRANCHES)
        clips = clips.contiguous(memory_format=torch.channels_last_3d)
        unguarded = copy.deepcopy(model.encoder)
        if precision == "bf16":  # as the trainer does
            example = example_clips(config, CLIPS, device)
            guard_bf16(model, example.rgb[0], lambda _, model=model, example=example: model(example))
        learn = partial(gradients, clips=clips, classifier=classifier)
        exact = learn(model.encoder, low=False)
        rounded = learn(emulated(model.encoder), low=precision == "bf16")
        routes = {
            n: m.route
            for n, m in model.encoder.named_modules()
            if isinstance(m, Conv3d) and m.route != "plain"
        }
        if routes:
            print(f"{name}: without the guard")
            with watched(unguarded) as alone:
                got = learn(unguarded, low=True)
            compare(got, exact, rounded, alone)
        ways = ", ".join(f"{n} {route}" for n, route in routes.items())
        print(f"{name}: with the guard, which changes {ways or 'nothing'}")
        with watched(model.encoder) as alone:
            got = learn(model.encoder, low=precision == "bf16")
        right &= compare(got, exact, rounded, alone)
    words = "is that of fp32 but for rounding" if right else "is NOT that of fp32: see above"
    print(f"{'ok' if right else 'FAIL'}: every gradient of {' and '.join(ENCODERS)} in {precision} {words}")
    return right


def gradients(encoder: Encoder, *, clips: Tensor, classifier: Tensor, low: bool) -> Gradients:
    """Of a linear classification of the clips into made-up classes."""
    encoder.zero_grad(set_to_none=True)
    with autocast(clips.device, "bf16" if low else "fp32"):
        features = encoder(clips)
    logits = features.float().mean((2, 3, 4)) @ classifier
    F.cross_entropy(logits, torch.arange(len(clips), device=clips.device)).backward()
    return {name: p.grad.double() for name, p in encoder.named_parameters() if p.grad is not None}


def emulated(encoder: Encoder) -> Encoder:
    """A copy whose convolutions multiply in fp32 what bf16 leaves of their numbers, and round the result."""

    def forward(layer: Conv3d, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            y = F.conv3d(rounded(x), rounded(layer.weight), None, layer.stride, layer.padding)
            return y.bfloat16()

    def rounded(x: Tensor) -> Tensor:
        return x.bfloat16().float()

    copied = copy.deepcopy(encoder)
    for layer in copied.modules():
        if isinstance(layer, Conv3d):
            layer.forward = partial(forward, layer)  # type: ignore[method-assign]
    return copied


@contextmanager
def watched(encoder: Encoder) -> Iterator[Gradients]:
    """Notes what each layer is given in a step; afterwards the result holds the gradients that follow in fp32."""
    inputs: dict[str, Tensor] = {}
    upstream: dict[str, Tensor] = {}
    layers = {n: m for n, m in encoder.named_modules() if isinstance(m, Conv3d | nn.BatchNorm3d)}

    def note(name: str, layer: nn.Module, given: tuple[Tensor], output: Tensor) -> None:
        inputs[name] = given[0].detach()
        output.register_hook(partial(upstream.__setitem__, name))

    hooks = [layer.register_forward_hook(partial(note, name)) for name, layer in layers.items()]
    alone: Gradients = {}
    yield alone
    for hook in hooks:
        hook.remove()
    for name, layer in layers.items():
        parameters = dict(layer.named_parameters())
        x = inputs.pop(name).float()
        if isinstance(layer, Conv3d):
            y = F.conv3d(x, layer.weight, None, layer.stride, layer.padding)
        else:
            y = F.batch_norm(x, None, None, layer.weight, layer.bias, training=True, eps=layer.eps)
        values = torch.autograd.grad(y, list(parameters.values()), upstream.pop(name).float())
        alone |= {f"{name}.{n}": value.double() for n, value in zip(parameters, values, strict=True)}


def compare(got: Gradients, exact: Gradients, rounded: Gradients, alone: Gradients) -> bool:
    """Prints the parameters furthest from what they should be; whether all are near."""
    rows = []
    for name, right in exact.items():
        own, error, explained = (
            distance(got[name], alone[name]),
            distance(got[name], right),
            distance(rounded[name], right),
        )
        cosine = float(F.cosine_similarity(got[name].flatten(), right.flatten(), dim=0))
        share = max(own / ALONE, error / max(IN_ALL * explained, FLOOR))  # of what is allowed
        rows.append((share, own, error, explained, cosine, name))
    rows.sort(reverse=True)
    print(f"  {'worst of ' + str(len(rows)):32} {'alone':>9} {'in all':>9} {'rounding':>9} {'cosine':>8}")
    for _, own, error, explained, cosine, name in rows[:SHOWN]:
        print(f"  {name:32} {own:9.2g} {error:9.2g} {explained:9.2g} {cosine:8.4f}")
    wrong = sum(not share <= 1 for share, *_ in rows)
    print(f"  {wrong} of {len(rows)} are wrong" + (": FAIL" if wrong else ""))
    return not wrong


def distance(got: Tensor, right: Tensor) -> float:
    """Relative error; infinite where it is not a number."""
    error = float((got - right).norm() / right.norm().clamp(min=1e-30))
    return error if error == error else float("inf")
