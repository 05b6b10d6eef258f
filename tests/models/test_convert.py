"""Renaming foreign weights, and an honest report of what did not fit."""

import pytest
import torch
from torch import nn

from kinevec.errors import CheckpointError
from kinevec.methods.fima.decoder import MotionDecoder
from kinevec.models import build_encoder
from kinevec.models.convert import FIMA_MOTION_DECODER, PYTORCHVIDEO_SLOW_R50, VIDEO_CLASSIFIER, convert
from kinevec.runtime import seeded
from reference import resnet, slowonly


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def weights() -> dict[str, torch.Tensor]:
    return {
        "fc.weight": torch.ones(3, 2),
        "fc.bias": torch.ones(3),
        "norm.weight": torch.ones(3),
        "norm.bias": torch.ones(3),
        "norm.running_mean": torch.ones(3),
        "norm.running_var": torch.ones(3),
    }


NAMES = {r"fc\.(\w+)": r"0.\1", r"norm\.(\w+)": r"1.\1", r"head\..*": None}


def test_everything_fits_even_without_the_counters_of_batch_norm() -> None:
    target = model()
    before = {k: v.clone() for k, v in target.state_dict().items()}
    converted = convert(weights(), NAMES, target)
    assert converted.complete
    assert converted.report() == "6 weights converted"
    assert all(torch.equal(v, before[k]) for k, v in target.state_dict().items())
    target.load_state_dict(converted.weights)
    assert torch.equal(target[0].weight, torch.ones(3, 2))
    assert torch.equal(target[1].running_mean, torch.ones(3))


def test_dropped_on_purpose_is_no_trouble() -> None:
    converted = convert({**weights(), "head.weight": torch.ones(9)}, NAMES, model())
    assert converted.complete
    assert converted.dropped == ("head.weight",)


def test_each_kind_of_trouble_is_reported_by_name() -> None:
    theirs = weights()
    theirs["stem.weight"] = torch.ones(1)
    theirs["fc.scale"] = torch.ones(1)
    theirs["fc.bias"] = torch.ones(4)
    del theirs["norm.running_mean"]
    converted = convert(theirs, NAMES, model())
    assert converted.unmapped == ("stem.weight",)
    assert converted.unexpected == ("fc.scale -> 0.scale",)
    assert converted.mismatched == ("0.bias: theirs (4,), the model's (3,)",)
    assert converted.missing == ("1.running_mean",)
    assert set(converted.weights) == {"0.weight", "1.weight", "1.bias", "1.running_var"}
    assert not converted.complete
    for part in ("4 weights", "stem.weight", "fc.scale", "theirs (4,)", "1.running_mean"):
        assert part in converted.report()


@pytest.mark.parametrize("trouble", ["unmapped", "unexpected", "mismatched", "missing"])
def test_each_kind_of_trouble_alone_is_incomplete(trouble: str) -> None:
    theirs = weights()
    if trouble == "unmapped":
        theirs["stem"] = torch.ones(1)
    elif trouble == "unexpected":
        theirs["fc.scale"] = torch.ones(1)
    elif trouble == "mismatched":
        theirs["fc.bias"] = torch.ones(4)
    else:
        del theirs["fc.bias"]
    assert not convert(theirs, NAMES, model()).complete


def test_long_lists_are_cut() -> None:
    report = convert({f"x{i}": torch.ones(1) for i in range(5)}, NAMES, model()).report()
    assert "5 not in the name map (x0, x1, x2, …)" in report
    report = convert({f"x{i}": torch.ones(1) for i in range(3)}, NAMES, model()).report()
    assert "3 not in the name map (x0, x1, x2);" in report


def test_expressions_match_whole_names_in_order() -> None:
    target = nn.Linear(2, 3)
    names = {r"weight": r"weight", r"(?:old\.)?(\w+)": r"\1"}
    converted = convert({"weight": torch.ones(3, 2), "old.bias": torch.ones(3)}, names, target)
    assert converted.complete
    partly = convert({"weight_v": torch.ones(3, 2)}, {r"weight": r"weight"}, target)
    assert partly.unmapped == ("weight_v",)
    first = convert({"weight": torch.ones(3, 2)}, {r"w.*": None, r"weight": r"weight"}, target)
    assert first.dropped == ("weight",)


def test_two_entries_of_one_name_are_refused() -> None:
    theirs = {"a.weight": torch.ones(3, 2), "b.weight": torch.ones(3, 2)}
    with pytest.raises(CheckpointError, match=r"a\.weight and b\.weight both become weight"):
        convert(theirs, {r"\w\.(\w+)": r"\1"}, nn.Linear(2, 3))


def test_whole_fima_checkpoint() -> None:
    """All names of the released code's decoder, as they stand in a checkpoint of distributed training."""
    d, width = 6, 8
    theirs = {
        "module.cls_token": torch.full((1, 1, width), 1.0),
        "module.embedding1.weight": torch.full((width, d, 1, 1), 2.0),
        "module.embedding1.bias": torch.full((width,), 3.0),
        "module.embedding2.weight": torch.full((d, width, 1, 1), 4.0),
        "module.embedding2.bias": torch.full((d,), 5.0),
    }
    shapes = {
        "multihead_attn.in_proj_weight": (3 * width, width),
        "multihead_attn.in_proj_bias": (3 * width,),
        "multihead_attn.out_proj.weight": (width, width),
        "multihead_attn.out_proj.bias": (width,),
        "norm2.weight": (width,),
        "norm2.bias": (width,),
        "norm3.weight": (width,),
        "norm3.bias": (width,),
        "linear1.weight": (12, width),
        "linear1.bias": (12,),
        "linear2.weight": (width, 12),
        "linear2.bias": (width,),
    }
    for layer in range(2):
        for value, (name, shape) in enumerate(shapes.items()):
            theirs[f"module.transformer_decoder.layers.{layer}.{name}"] = torch.full(
                shape, 10.0 * (layer + 1) + value
            )
    decoder = MotionDecoder(d, width, heads=2, feedforward=12)
    rest = {"module.encoder_q.fc.weight": torch.ones(1)}
    converted = convert({**theirs, **rest}, FIMA_MOTION_DECODER, decoder)
    assert converted.unmapped == tuple(rest)
    decoder.load_state_dict(converted.weights)
    values = {k: v.unique().item() for k, v in decoder.state_dict().items()}
    assert values["class_token"] == 1.0
    assert [values[f"{io}.{p}"] for io in ("input", "output") for p in ("weight", "bias")] == [2, 3, 4, 5]
    for layer, start in ((0, 10.0), (1, 20.0)):
        parts = [
            "attention.in_proj_weight",
            "attention.in_proj_bias",
            "attention.out_proj.weight",
            "attention.out_proj.bias",
            "attention_norm.weight",
            "attention_norm.bias",
            "feedforward_norm.weight",
            "feedforward_norm.bias",
            "feedforward.0.weight",
            "feedforward.0.bias",
            "feedforward.3.weight",
            "feedforward.3.bias",
        ]
        assert [values[f"layers.{layer}.{p}"] for p in parts] == [start + i for i in range(12)]


def numbered(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """A checkpoint of these names, each entry filled with its place in the list."""
    return {name: torch.tensor(float(i)).expand(shape) for i, (name, shape) in enumerate(shapes.items())}


CLASSIFIERS = {
    "torchvision's r3d_18": ("r3d18", resnet.state_shapes(False, 400), ""),
    "torchvision's r2plus1d_18": ("r2plus1d18", resnet.state_shapes(True, 400), ""),
    "mmaction2's SlowOnly": (
        "slowonly50",
        {f"backbone.{name}": shape for name, shape in slowonly.state_shapes().items()}
        | {"cls_head.fc_cls.weight": (400, 2048), "cls_head.fc_cls.bias": (400,)},
        "backbone.",
    ),
}


@pytest.mark.parametrize("source", CLASSIFIERS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_classifiers_whose_encoder_has_our_names(source: str, wrapped: bool) -> None:
    name, shapes, prefix = CLASSIFIERS[source]
    outer = "module." if wrapped else ""
    theirs = numbered({outer + key: shape for key, shape in shapes.items()})
    encoder = build_encoder(name)
    converted = convert(theirs, VIDEO_CLASSIFIER, encoder)
    assert converted.complete, converted.report()
    assert len(converted.dropped) == 2
    encoder.load_state_dict(converted.weights)
    for key, value in encoder.state_dict().items():
        assert (value == theirs[f"{outer}{prefix}{key}"]).all(), key


def test_the_common_i3d_port() -> None:
    with seeded(0):
        encoder, other = build_encoder("i3d"), build_encoder("i3d")
    with torch.no_grad():
        for value in other.state_dict().values():
            value.fill_(7)
    logits = {"logits.conv3d.weight": torch.ones(400, 1024, 1, 1, 1), "logits.conv3d.bias": torch.ones(400)}
    converted = convert({**other.state_dict(), **logits}, VIDEO_CLASSIFIER, encoder)
    assert converted.complete, converted.report()
    assert set(converted.dropped) == set(logits)
    encoder.load_state_dict(converted.weights)
    assert all((value == 7).all() for value in encoder.state_dict().values())


def test_pytorchvideos_slow_r50() -> None:
    encoder = build_encoder("slowonly50")
    head = {"blocks.5.proj.weight": (400, 2048), "blocks.5.proj.bias": (400,)}
    theirs = numbered(slowonly.state_shapes(pytorchvideo=True) | head)
    converted = convert(theirs, PYTORCHVIDEO_SLOW_R50, encoder)
    assert converted.complete, converted.report()
    assert set(converted.dropped) == set(head)
    encoder.load_state_dict(converted.weights)
    state = encoder.state_dict()
    for conv, norm, other_conv, other_norm, _ in slowonly.layers():
        assert (state[f"{conv}.weight"] == theirs[f"{other_conv}.weight"]).all(), conv
        for entry in slowonly.BATCH_NORM:
            assert (state[f"{norm}.{entry}"] == theirs[f"{other_norm}.{entry}"]).all(), norm
