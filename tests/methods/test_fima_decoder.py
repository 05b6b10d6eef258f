"""The motion decoder against loops, the released code's arrays, and what "no self-attention" means."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from kinevec.methods.fima.decoder import MotionDecoder, sine_positions
from kinevec.models.convert import FIMA_MOTION_DECODER, convert
from reference import fima as reference


def randomised(decoder: MotionDecoder, seed: int = 0) -> MotionDecoder:
    """All parameters random, in float64: fresh ones have zero biases, unit norms and a zero class token."""
    generator = torch.Generator().manual_seed(seed)
    decoder = decoder.double().eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return decoder


def features(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    query, memory = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return query, memory


def test_golden(golden: Path) -> None:
    arrays = np.load(golden / "fima_decoder_0.npz")
    tensors = {k: torch.tensor(v, dtype=torch.float64) for k, v in arrays.items()}
    decoder = MotionDecoder(channels=8, width=32, heads=4, feedforward=32).double().eval()
    theirs = {k.removeprefix("w."): v for k, v in tensors.items() if k.startswith("w.")}
    converted = convert({**theirs, "cls_token": tensors["cls_token"]}, FIMA_MOTION_DECODER, decoder)
    assert (converted.unmapped, converted.unexpected, converted.mismatched, converted.dropped) == ((),) * 4
    assert set(converted.missing) == {f"{io}.{p}" for io in ("input", "output") for p in ("weight", "bias")}
    decoder.load_state_dict(converted.weights, strict=False)

    output = decoder.decode_tokens(tensors["target"].transpose(0, 1), tensors["memory"].transpose(0, 1))
    # The golden outputs are float32 and reach 9: two units in the last place of the largest.
    torch.testing.assert_close(output.transpose(0, 1), tensors["output"], rtol=0, atol=2e-6)
    positions = sine_positions(20, 32, tensors["position"])
    torch.testing.assert_close(positions, tensors["position"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "width", "heads", "feedforward", "layers"),
    [((3, 3), 8, 2, 12, 2), ((2, 5), 12, 3, 6, 3), ((1, 1), 4, 4, 4, 1)],
)
def test_loops(size: tuple[int, int], width: int, heads: int, feedforward: int, layers: int) -> None:
    decoder = randomised(MotionDecoder(5, width, heads, feedforward, layers))
    query, memory = features(2, 5, *size)
    class_prediction, cell_predictions = decoder(query, memory)
    weights = {k: v.numpy() for k, v in decoder.state_dict().items()}
    for n in range(2):
        wanted = reference.motion_decoder(weights, query[n].numpy(), memory[n].numpy(), layers, heads)
        np.testing.assert_allclose(class_prediction[n].detach(), wanted[0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(cell_predictions[n].detach(), wanted[1], rtol=0, atol=1e-12)


def test_positions() -> None:
    half = sine_positions(300, 4, torch.empty(0, dtype=torch.bfloat16))
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, sine_positions(300, 4, torch.empty(0)).bfloat16())
    wanted = np.stack([reference.position(p, 6) for p in range(196)])
    positions = sine_positions(196, 6, torch.empty(0, dtype=torch.float64))
    np.testing.assert_allclose(positions, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(7, 7), (4, 4), (14, 14), (4, 6)])
def test_any_feature_size(size: tuple[int, int]) -> None:
    decoder = MotionDecoder(6, width=16, heads=4, feedforward=8)
    query, memory = (f.float() for f in features(2, 6, *size))
    class_prediction, cell_predictions = decoder(query, memory)
    assert class_prediction.shape == (2, 6)
    assert cell_predictions.shape == (2, 6, *size)


def test_no_self_attention() -> None:
    decoder = randomised(MotionDecoder(6, width=16, heads=4, feedforward=8))
    query, memory = features(2, 6, 3, 4)
    class_before, cells_before = decoder(query, memory)
    query[0, :, 1, 2] += 1.0
    class_after, cells_after = decoder(query, memory)
    changed = (cells_after - cells_before).abs().amax(dim=1) > 1e-12
    wanted = torch.zeros(2, 3, 4, dtype=torch.bool)
    wanted[0, 1, 2] = True
    assert torch.equal(changed, wanted)
    torch.testing.assert_close(class_after, class_before, rtol=0, atol=1e-12)


def test_class_token_sees_nothing_but_its_own_memory() -> None:
    decoder = randomised(MotionDecoder(6, width=16, heads=4, feedforward=8))
    query, memory = features(2, 6, 3, 4)
    before, _ = decoder(query, memory)
    elsewhere, _ = decoder(features(2, 6, 3, 4, seed=1)[0], memory)
    torch.testing.assert_close(elsewhere, before, rtol=0, atol=1e-12)
    memory[0, :, 2, 3] += 1.0
    after, _ = decoder(query, memory)
    assert ((after - before).abs().amax(dim=1) > 1e-6).tolist() == [True, False]


def test_order_of_memory_cells_matters() -> None:
    decoder = randomised(MotionDecoder(6, width=16, heads=4, feedforward=8))
    query, memory = features(1, 6, 2, 2)
    before, _ = decoder(query, memory)
    after, _ = decoder(query, memory.flip(3))
    assert (after - before).abs().max() > 1e-3


def test_class_token_starts_at_zero_and_everything_learns() -> None:
    decoder = MotionDecoder(6, width=16, heads=4, feedforward=8)
    assert not decoder.class_token.any()
    query, memory = (f.float() for f in features(2, 6, 3, 3))
    class_prediction, cell_predictions = decoder(query, memory)
    (class_prediction.square().sum() + cell_predictions.square().sum()).backward()
    assert all(p.grad is not None and p.grad.any() for p in decoder.parameters())


def test_dropout_reaches_everything_the_blocks_add() -> None:
    decoder = MotionDecoder(6, width=16, heads=4, feedforward=8, dropout=1.0)
    for name, parameter in decoder.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.ones_(parameter)  # what dropout of the weights alone would leave
    target, memory = (f.float() for f in features(2, 9, 16))
    tokens = decoder.decode_tokens(target, memory)
    assert not tokens[:, 0].any()
    torch.testing.assert_close(tokens[:, 1:], target + sine_positions(9, 16, target))
    assert (decoder.eval().decode_tokens(target, memory) - tokens).abs().max() > 0.01


def test_dropout_default_is_on_in_training_and_off_in_evaluation() -> None:
    decoder = MotionDecoder(6, width=16, heads=4, feedforward=8)
    rates = [m.p for m in decoder.modules() if isinstance(m, torch.nn.Dropout)]
    rates += [m.dropout for m in decoder.modules() if isinstance(m, torch.nn.MultiheadAttention)]
    assert rates == [0.1] * 2 * (
        3 + 1
    )  # per layer: after attention, within and after feed-forward; attention
    query, memory = (f.float() for f in features(2, 6, 3, 3))
    assert not torch.equal(decoder(query, memory)[0], decoder(query, memory)[0])
    decoder.eval()
    assert torch.equal(decoder(query, memory)[0], decoder(query, memory)[0])


def test_size_at_the_papers_settings() -> None:
    convolutions = 1024 * 512 + 512 + 512 * 1024 + 1024
    layer = (4 * 512 * 512 + 4 * 512) + 2 * (512 * 512 + 512) + 2 * 2 * 512
    decoder = MotionDecoder(1024)
    assert sum(p.numel() for p in decoder.parameters()) == convolutions + 512 + 2 * layer
    assert {m.num_heads for m in decoder.modules() if isinstance(m, torch.nn.MultiheadAttention)} == {4}


def test_half_precision_by_autocast_and_by_weights() -> None:
    decoder = MotionDecoder(6, width=16, heads=4, feedforward=8).eval()
    query, memory = (f.float() for f in features(2, 6, 3, 3))
    exact = decoder(query, memory)[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = decoder(query, memory)[1]
    whole = decoder.bfloat16()(query.bfloat16(), memory.bfloat16())[1]
    assert (inside - exact).abs().max() < 0.05 * exact.abs().max()
    assert (whole - exact).abs().max() < 0.05 * exact.abs().max()


def test_shapes_and_sizes_that_do_not_fit() -> None:
    decoder = MotionDecoder(6, width=16, heads=4, feedforward=8)
    with pytest.raises(ValueError, match=r"\(2, 6, 3, 3\) and \(2, 6, 3, 4\)"):
        decoder(torch.zeros(2, 6, 3, 3), torch.zeros(2, 6, 3, 4))
    with pytest.raises(ValueError, match=r"\(2, 6, 9\)"):
        decoder(torch.zeros(2, 6, 9), torch.zeros(2, 6, 9))
    with pytest.raises(ValueError, match="heads 3"):
        MotionDecoder(6, width=16, heads=3)
    with pytest.raises(ValueError, match="width 9"):
        MotionDecoder(6, width=9, heads=3)
