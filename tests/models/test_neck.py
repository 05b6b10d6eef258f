"""Necks against float64 loops over the whole pyramid, and no parameter without influence."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from kinevec.models import ENCODERS, build_encoder
from kinevec.models.conv import Conv3d
from kinevec.models.neck import LinearNeck, PyramidNeck, build_neck
from reference import neck as reference


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def with_biases(neck: nn.Module) -> dict[str, np.ndarray]:
    """Random float64 weights, as arrays."""
    neck.double()
    with torch.no_grad():
        for seed, parameter in enumerate(neck.parameters()):
            parameter.copy_(0.3 * noise(*parameter.shape, seed=seed))
    return {name: value.detach().numpy() for name, value in neck.state_dict().items()}


SIZES = [
    ((4, 4, 6), (2, 2, 3), (1, 1, 2)),  # halved in time and in space, rounded up
    ((2, 5, 3), (2, 3, 2), (2, 2, 1)),  # time as it is, odd frames
    ((5, 2, 2), (3, 1, 1), (2, 1, 1)),
]


@pytest.mark.parametrize("sizes", SIZES)
def test_pyramid_loops(sizes: tuple[tuple[int, int, int], ...]) -> None:
    neck = PyramidNeck((3, 4, 2), 5)
    weights = with_biases(neck)
    one = noise(2, 9, 4, 8, 8).double()
    maps = [
        noise(2, c, *size, seed=c).double().contiguous(memory_format=torch.channels_last_3d)
        for c, size in zip((3, 4, 2), sizes, strict=True)
    ]
    with torch.no_grad():
        got = neck((one, *maps)).numpy()
    expected = np.stack([reference.pyramid(*(m[n].numpy() for m in maps), weights) for n in range(2)])
    assert 0.2 < (expected > 0).mean() < 0.8
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def test_linear_neck_is_one_matrix_at_every_cell_of_stage_2() -> None:
    neck = LinearNeck(3, 5)
    weights = with_biases(neck)
    stages = tuple(noise(2, c, 2, 3, 4, seed=c).double() for c in (2, 3, 4, 5))
    with torch.no_grad():
        got = neck(stages).numpy()
    matrix, bias = weights["lateral2.weight"][:, :, 0, 0, 0], weights["lateral2.bias"]
    assert got.shape == (2, 5, 2, 3, 4)
    for n, t, y, x in np.ndindex(2, 2, 3, 4):
        expected = matrix @ stages[1][n, :, t, y, x].numpy() + bias
        np.testing.assert_allclose(got[n, :, t, y, x], expected, rtol=0, atol=1e-12)


def test_every_parameter_and_each_of_three_stages_has_influence() -> None:
    neck = PyramidNeck((3, 4, 2), 5)
    with_biases(neck)
    stages = [
        noise(2, c, *size, seed=c).double().requires_grad_(True)
        for c, size in zip((9, 3, 4, 2), ((4, 8, 8), *SIZES[0]), strict=True)
    ]
    neck(tuple(stages)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in neck.parameters())
    assert stages[0].grad is None
    assert all(s.grad is not None and s.grad.abs().max() > 0 for s in stages[1:])


@pytest.mark.parametrize(
    ("encoder", "pyramid"), [("tiny", 1_209_216), ("r3d18", 1_295_232), ("slowonly50", 1_639_296)]
)
def test_parameters_at_128(encoder: str, pyramid: int) -> None:
    with FakeTensorMode():
        widths = build_encoder(encoder).widths
        counts = [
            sum(p.numel() for p in build_neck(kind, widths, 128).parameters())
            for kind in ("pyramid", "linear")
        ]
    square = 128 * 128
    stated = 128 * sum(widths[1:]) + 2 * 9 * square + 2 * 27 * square + 7 * 128
    assert counts == [stated, 128 * widths[1] + 128]
    assert stated == pyramid


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("kind", ["pyramid", "linear"])
def test_fits_on_every_encoder(name: str, kind: str) -> None:
    with FakeTensorMode():
        encoder = build_encoder(name)
        stages = encoder.stages(torch.zeros(2, 3, 8, 70, 64))
        neck = build_neck(kind, encoder.widths, 24)
        assert neck(stages).shape == (2, 24, *stages[1].shape[2:])
    assert all(isinstance(m, Conv3d) for m in neck.modules() if isinstance(m, nn.Conv3d))


def test_starts_xavier_uniform_without_biases() -> None:
    for module in PyramidNeck((30, 40, 20), 50).modules():
        if isinstance(module, Conv3d):
            outputs, inputs, *kernel = module.weight.shape
            limit = (6 / ((inputs + outputs) * np.prod(kernel))) ** 0.5
            assert 0.95 * limit < float(module.weight.detach().abs().max()) <= limit
            assert module.bias is not None
            assert not module.bias.any()


def test_bf16_keeps_layout_and_comes_close() -> None:
    neck = PyramidNeck((3, 4, 2), 5)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for parameter in neck.parameters():
            parameter.normal_(std=0.3)
    maps = tuple(
        noise(2, c, *size, seed=c).contiguous(memory_format=torch.channels_last_3d)
        for c, size in zip((9, 3, 4, 2), ((4, 8, 8), *SIZES[0]), strict=True)
    )
    with torch.no_grad():
        exact = neck(maps)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = neck(maps)
    assert rounded.dtype == torch.bfloat16
    assert rounded.is_contiguous(memory_format=torch.channels_last_3d)
    assert float((rounded.float() - exact).norm() / exact.norm()) < 0.02


def test_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="'pyramid' or 'linear', not 'cone'"):
        build_neck("cone", (1, 2, 3, 4), 5)  # type: ignore[arg-type]
