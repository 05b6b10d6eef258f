"""What every encoder has to offer, whatever its architecture."""

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from kinevec.methods.memory import key_copy, move_towards
from kinevec.models import ENCODERS, Encoder, build_encoder
from kinevec.models.conv import Conv3d
from kinevec.models.guard import guard_bf16
from kinevec.runtime import seeded
from reference.receptive import Row, centred_field


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_all_are_there() -> None:
    assert list(ENCODERS) == ["tiny", "r3d18", "r2plus1d18", "i3d", "slowonly50"]


@pytest.mark.parametrize("name", ENCODERS)
def test_widths_are_those_of_the_stages(name: str) -> None:
    with FakeTensorMode():
        encoder = build_encoder(name)
        x = torch.zeros(2, 3, 8, 48, 64)
        maps, result = encoder.stages(x), encoder(x)
    assert isinstance(encoder, Encoder)
    assert tuple(m.shape[1] for m in maps) == encoder.widths
    assert encoder.channels == encoder.widths[3]
    assert result.shape == maps[3].shape
    convolutions = [module for module in encoder.modules() if isinstance(module, nn.Conv3d)]
    assert {type(module) for module in convolutions} == {Conv3d}


def test_an_encoder_needs_stages() -> None:
    with pytest.raises(TypeError, match="stages"):
        Encoder()  # type: ignore[abstract]


@pytest.mark.parametrize("name", ENCODERS)
def test_key_copies_are_encoders_of_their_own(name: str) -> None:
    with seeded(0):
        query = build_encoder(name)
    key = key_copy(query)
    assert isinstance(key, Encoder)
    assert key.widths == query.widths
    x = noise(2, 3, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(key.eval()(x), query.eval()(x))
        next(query.parameters()).add_(1.0)
    assert not torch.equal(next(key.parameters()), next(query.parameters()))
    move_towards(key, query, 0.0)
    assert all(torch.equal(k, q) for k, q in zip(key.parameters(), query.parameters(), strict=True))
    assert not any(parameter.requires_grad for parameter in key.parameters())


@pytest.mark.parametrize("name", ["i3d", "slowonly50"])
def test_guard_walks_through(name: str) -> None:
    with seeded(0):
        encoder = build_encoder(name)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    for layer in encoder.modules():
        if isinstance(layer, Conv3d):
            layer.route = "fp32"
    changed = guard_bf16(encoder, noise(2, 3, 16, 32, 32))
    routes = {key: m.route for key, m in encoder.named_modules() if isinstance(m, Conv3d)}
    assert {key: route for key, route in routes.items() if route != "plain"} == changed
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())
    assert len(changed) < len(routes) / 2


# (kernel, stride) of every layer between the frames and the last feature map, along one axis.
def resnet(stem: tuple[int, int], blocks: int, strides: tuple[int, int, int, int]) -> Row:
    """Two convolutions of 3 in a block."""
    row = [stem]
    for stride in strides:
        row += [(3, stride)] + [(3, 1)] * (2 * blocks - 1)
    return row


SLOW_STAGES = ((3, 1), (4, 2), (6, 2), (3, 2))
FIELDS: dict[tuple[str, str], tuple[Row, int]] = {
    ("r3d18", "time"): (resnet((3, 1), 2, (1, 2, 2, 2)), 109),
    ("r3d18", "space"): (resnet((7, 2), 2, (1, 2, 2, 2)), 219),
    ("r2plus1d18", "time"): (resnet((3, 1), 2, (1, 2, 2, 2)), 109),
    ("r2plus1d18", "space"): (resnet((7, 2), 2, (1, 2, 2, 2)), 219),
    ("tiny", "time"): (resnet((3, 1), 1, (1, 2, 2, 1)), 41),
    ("tiny", "space"): (resnet((7, 2), 1, (1, 2, 2, 2)), 99),
    ("slowonly50", "time"): ([(3, 1)] * 9, 19),
    ("slowonly50", "space"): (
        [(7, 2), (3, 2)] + [pair for n, s in SLOW_STAGES for pair in [(3, s)] + [(3, 1)] * (n - 1)],
        427,
    ),
}


@pytest.mark.parametrize(("name", "axis"), FIELDS)
def test_receptive_field(name: str, axis: str) -> None:
    """With positive weights an impulse reaches exactly the cells whose receptive field holds it."""
    row, extent = FIELDS[name, axis]
    stride = 1
    for _, step in row:
        stride *= step
    cell = -(-extent // (2 * stride)) + 1
    first, last = centred_field(row, cell)
    assert last - first + 1 == extent
    assert first >= 1
    encoder = build_encoder(name).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.ndim == 5:
                parameter.fill_(1 / parameter[0].numel())
        size = last + 2 + stride
        impulses = torch.zeros(4, 3, *((size, 8, 8) if axis == "time" else (1, 8, size)))
        for n, place in enumerate([first - 1, first, last, last + 1]):
            impulses[n].select(1 if axis == "time" else 3, place).fill_(1.0)
        features = encoder(impulses)
    reached = features.amax(dim=(1, 3, 4) if axis == "time" else (1, 2, 3))[:, cell] > 0
    assert reached.tolist() == [False, True, True, False]
