"""bf16 only where it is right: every convolution in use is checked against fp32 before training."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from kinevec.models.conv import Conv3d, Route

# bf16 rounds to 3 significant digits; a right gradient of a convolution differs from fp32 by well under
# this share, a wrong one by more than 1.
GRADIENT_TOLERANCE = 0.05


def guard_bf16(
    model: nn.Module, example: Tensor, run: Callable[[Tensor], object] | None = None
) -> dict[str, Route]:
    """Checks every convolution of a model in bf16 against fp32 and gives wrong ones a safe route.

    Runs the model once on `example` to see the shapes in use; each distinct (layer kind, input shape) is
    then computed forward and backward in both precisions, on the device of the example. A layer whose
    output or gradients differ by more than 5 % takes the first route that is right: flat, if its input is no
    deeper than its kernel; padded explicitly; or fp32.
    Batch-norm statistics and gradients are left as they were.

    Args:
        model: its `Conv3d` layers are those of `kinevec.models.conv`.
        example: (N, 3, T, H, W), a batch as in training.
        run: what to do with the example where calling the model is not it, such as
            `lambda x: model.neck(model.encoder.stages(x))`; everything it calls must belong to `model`.
            Layers that it does not reach are left alone.

    Returns:
        Name → route of the layers that need another route than the plain one.
    """
    shapes: dict[str, torch.Size] = {}
    layers = {name: module for name, module in model.named_modules() if isinstance(module, Conv3d)}

    def note_shape(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            shapes[name] = inputs[0].shape

        return hook

    hooks = [layer.register_forward_pre_hook(note_shape(name)) for name, layer in layers.items()]
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.no_grad():
        (run or model)(example)
    for name, buffer in model.named_buffers():
        buffer.copy_(kept[name])  # the run must not leave traces in batch-norm statistics
    for hook in hooks:
        hook.remove()

    routes: dict[tuple[object, ...], Route] = {}
    changed: dict[str, Route] = {}
    for name, shape in shapes.items():
        layer = layers[name]
        widths = (layer.in_channels, layer.out_channels, layer.groups)
        kind = (*widths, layer.kernel_size, layer.stride, layer.padding, layer.dilation, shape)
        if kind not in routes:
            routes[kind] = _safe_route(layer, shape)
        layer.route = routes[kind]
        if layer.route != "plain":
            changed[name] = layer.route
    return changed


def _safe_route(layer: Conv3d, shape: torch.Size) -> Route:
    generator = torch.Generator().manual_seed(0)
    few = (min(4, shape[0]), *shape[1:])
    device = layer.weight.device
    x = torch.randn(few, generator=generator).to(device).contiguous(memory_format=torch.channels_last_3d)
    right = _outcome(layer, x, "fp32")
    shallow = layer.can_be_flat and shape[2] <= layer.kernel_size[0]
    routes: tuple[Route, ...] = ("plain", "flat", "padded") if shallow else ("plain", "padded")
    for route in routes:
        got = _outcome(layer, x, route)
        if all(_relative_error(g, r) < GRADIENT_TOLERANCE for g, r in zip(got, right, strict=True)):
            return route
    return "fp32"


def _outcome(layer: Conv3d, x: Tensor, route: Route) -> tuple[Tensor, ...]:
    """Output, input gradient and weight gradient of one layer on a given route under bf16 autocast."""
    kept, layer.route = layer.route, route
    x = x.detach().requires_grad_(True)
    weight = layer.weight
    frozen = not weight.requires_grad
    weight.requires_grad_(True)
    with torch.autocast(x.device.type, torch.bfloat16):
        y = layer(x)
    upstream = torch.cos(torch.arange(y.numel(), device=y.device)).view(y.shape).to(y.dtype)
    gradients = torch.autograd.grad(y, [x, weight], upstream)
    weight.requires_grad_(not frozen)
    layer.route = kept
    return y.detach().float(), *(gradient.float() for gradient in gradients)


def _relative_error(got: Tensor, right: Tensor) -> float:
    error = float((got - right).norm() / right.norm().clamp(min=1e-12))
    return error if error == error else float("inf")  # NaN is wrong too
