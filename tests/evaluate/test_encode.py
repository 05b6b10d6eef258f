"""A frozen encoder as a function."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kinevec.config import Clip, Config, Train, Views
from kinevec.evaluate import encode
from kinevec.evaluate.encode import ClipEncoder
from kinevec.models import build_encoder
from kinevec.runtime import seeded

CONFIG = Config(clip=Clip(frames=4, size=16), train=Train(precision="fp32"))


def clips(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 4, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def encoder() -> ClipEncoder:
    with seeded(0):
        return ClipEncoder(build_encoder("tiny"), CONFIG, "cpu")


def test_parts_give_what_the_whole_gives(encoder: ClipEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    given = clips(7)
    whole = encoder(given)
    assert whole.shape == (7, encoder.encoder.channels)  # type: ignore[operator]
    assert whole.dtype == np.float32
    monkeypatch.setattr(encode, "AT_ONCE", 3)
    np.testing.assert_allclose(encoder(given), whole, rtol=1e-5, atol=1e-6)
    one_by_one = np.concatenate([encoder(given[i : i + 1]) for i in range(7)])
    np.testing.assert_allclose(one_by_one, whole, rtol=1e-5, atol=1e-6)


def test_features_are_the_mean_of_the_map(encoder: ClipEncoder) -> None:
    given = clips(2)
    mean = encoder.map(given).double().numpy().mean(axis=(2, 3, 4))
    np.testing.assert_allclose(encoder(given), mean, rtol=1e-5, atol=1e-6)


def test_nothing_is_learned_while_encoding() -> None:
    with seeded(0):
        model = build_encoder("tiny").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    encoder = ClipEncoder(model, CONFIG, "cpu")
    assert not any(module.training for module in model.modules())
    encoder(clips(3))
    assert not encoder.map(clips(1)).requires_grad
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


class Input(nn.Module):
    """Gives on what it is given."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_the_encoder_sees_normalised_frames_with_channels_first() -> None:
    views = Views(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    given = clips(2)
    found = ClipEncoder(Input(), Config(clip=CONFIG.clip, views=views, train=CONFIG.train), "cpu").map(given)
    expected = (given.astype(float) / 255 - views.mean) / views.std
    np.testing.assert_allclose(found.numpy(), expected.transpose(0, 4, 1, 2, 3), atol=1e-5)


def test_views_that_are_no_copy_are_taken_too(encoder: ClipEncoder) -> None:
    given = clips(2)
    np.testing.assert_array_equal(encoder(given[:, ::-1]), encoder(given[:, ::-1].copy()))
