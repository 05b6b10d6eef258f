"""Brings weights that were saved under other names (the papers' code, other libraries) to our names.

A name map is a dict of regular expression → replacement, in `re` syntax. An entry is renamed by the first
expression that matches the whole of its name; the replacement None drops it on purpose. Nothing is guessed:
whatever does not end up in the model is reported, and so is whatever the model still lacks.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from kinevec.errors import CheckpointError

NameMap = Mapping[str, str | None]

# Classifiers whose encoder has our names already: torchvision's video ResNets, the common I3D port,
# mmaction2's SlowOnly. The classifier itself is left out.
VIDEO_CLASSIFIER: NameMap = {
    r"(?:module\.)?(?:fc|logits|cls_head)\..+": None,
    r"(?:module\.)?(?:backbone\.)?(.+)": r"\1",
}

# pytorchvideo's slow_r50 → kinevec.models.slowonly.SlowOnly50; its blocks.5 is the classifier.
_BLOCK = r"blocks\.([1-4])\.res_blocks\.(\d)\."
PYTORCHVIDEO_SLOW_R50: NameMap = {
    r"blocks\.5\..+": None,
    r"blocks\.0\.conv\.(\w+)": r"conv1.conv.\1",
    r"blocks\.0\.norm\.(\w+)": r"conv1.bn.\1",
    _BLOCK + r"branch1_conv\.(\w+)": r"layer\1.\2.downsample.conv.\3",
    _BLOCK + r"branch1_norm\.(\w+)": r"layer\1.\2.downsample.bn.\3",
    _BLOCK + r"branch2\.conv_a\.(\w+)": r"layer\1.\2.conv1.conv.\3",
    _BLOCK + r"branch2\.norm_a\.(\w+)": r"layer\1.\2.conv1.bn.\3",
    _BLOCK + r"branch2\.conv_b\.(\w+)": r"layer\1.\2.conv2.conv.\3",
    _BLOCK + r"branch2\.norm_b\.(\w+)": r"layer\1.\2.conv2.bn.\3",
    _BLOCK + r"branch2\.conv_c\.(\w+)": r"layer\1.\2.conv3.conv.\3",
    _BLOCK + r"branch2\.norm_c\.(\w+)": r"layer\1.\2.conv3.bn.\3",
}

# The I3D of FIMA's released code → kinevec.models.i3d.I3D. Its batch norms have another epsilon; see
# `with_epsilon`.
_UNIT_PARTS = {"conv3d": "conv3d", "batch3d": "bn"}
_BRANCHES = {"0": "b0", "1.0": "b1a", "1.1": "b1b", "2.0": "b2a", "2.1": "b2b", "3.1": "b3b"}
FIMA_I3D: NameMap = {
    r"(?:fc|id_head)\..+": None,
    **{rf"conv3d_(\w+)\.{theirs}\.(\w+)": rf"Conv3d_\1.{ours}.\2" for theirs, ours in _UNIT_PARTS.items()},
    **{
        rf"mixed_(\w+)\.branch_{re.escape(branch)}\.{theirs}\.(\w+)": rf"Mixed_\1.{our_branch}.{ours}.\2"
        for branch, our_branch in _BRANCHES.items()
        for theirs, ours in _UNIT_PARTS.items()
    },
}
FIMA_I3D_EPSILON = 1e-5

# The released FIMA code's motion decoder → kinevec.methods.fima.decoder.MotionDecoder.
# Its norm2 precedes attention and norm3 the feed-forward: norm1 went with the self-attention.
_LAYER = r"(?:module\.)?(?:transformer_decoder\.)?layers\.(\d+)"
FIMA_MOTION_DECODER: NameMap = {
    r"(?:module\.)?cls_token": r"class_token",
    r"(?:module\.)?embedding1\.(\w+)": r"input.\1",
    r"(?:module\.)?embedding2\.(\w+)": r"output.\1",
    _LAYER + r"\.multihead_attn\.(.+)": r"layers.\1.attention.\2",
    _LAYER + r"\.norm2\.(\w+)": r"layers.\1.attention_norm.\2",
    _LAYER + r"\.norm3\.(\w+)": r"layers.\1.feedforward_norm.\2",
    _LAYER + r"\.linear1\.(\w+)": r"layers.\1.feedforward.0.\2",
    _LAYER + r"\.linear2\.(\w+)": r"layers.\1.feedforward.3.\2",
}


@dataclass(frozen=True)
class Conversion:
    """Converted weights, and what could not be converted.

    Attributes:
        weights: our name → tensor; only entries that the model has, in its shapes.
        dropped: foreign names that the map leaves out on purpose.
        unmapped: foreign names that no expression of the map matches.
        unexpected: "theirs -> ours" for renamed entries that the model does not have.
        mismatched: "ours: theirs (shape), the model's (shape)" for entries of another shape.
        missing: our names that got no weight.
    """

    weights: dict[str, Tensor]
    dropped: tuple[str, ...]
    unmapped: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def fills(self) -> bool:
        """The model lacks nothing, and nothing of its own parts is left over, as of a deeper network."""
        parts = {name.partition(".")[0] for name in self.weights}
        left = {name.rpartition(" -> ")[2].partition(".")[0] for name in self.unexpected}
        return not (self.mismatched or self.missing or left & parts)

    @property
    def complete(self) -> bool:
        """Every foreign entry found its place or was dropped on purpose, and the model lacks nothing."""
        return not (self.unmapped or self.unexpected or self.mismatched or self.missing)

    def report(self) -> str:
        """One line: how many entries converted, and the first few of each kind of trouble."""
        troubles = {
            "not in the name map": self.unmapped,
            "not in the model": self.unexpected,
            "of another shape": self.mismatched,
            "still missing": self.missing,
        }
        parts = [f"{len(self.weights)} weights converted"]
        parts += [f"{len(names)} {what} ({_first(names)})" for what, names in troubles.items() if names]
        return "; ".join(parts)

    def dropped_words(self) -> str:
        """How many entries were left out on purpose, and the first names of each part of the file."""
        parts = [".".join(name.split(".")[:2]) for name in self.dropped]
        return f"{len(parts)} ({_first(dict.fromkeys(parts), 6)})"


def below(prefix: str, names: NameMap) -> NameMap:
    """The map for entries that stand below a prefix; all that stand elsewhere are dropped on purpose.

    Args:
        prefix: an expression without groups of its own (`(?:…)` is none), such as `encoder_q\\.`.
        names: the map for what follows the prefix.
    """
    inside = {f"{prefix}(?:{theirs})": ours for theirs, ours in names.items()}
    return {rf"(?!{prefix}).+": None} | inside


def with_epsilon(weights: Mapping[str, Tensor], model: nn.Module, epsilon: float) -> dict[str, Tensor]:
    """Weights for a model whose batch norms add another ε to the variance than those they were trained with.

    In evaluation mode a batch norm divides by sqrt(running_var + ε); the difference of both ε goes into
    `running_var`, which may come out slightly below 0, but never below −ε.

    Args:
        weights: our name → tensor.
        model: it decides which entries are of batch norms, and has their ε.
        epsilon: ε that the weights were trained with.
    """
    shifts = {
        f"{name}.running_var": epsilon - norm.eps
        for name, norm in model.named_modules()
        if isinstance(norm, nn.modules.batchnorm._BatchNorm)
    }
    return {
        name: (value.double() + shifts[name]).to(value.dtype) if name in shifts else value
        for name, value in weights.items()
    }


def convert(weights: Mapping[str, Tensor], names: NameMap, model: nn.Module) -> Conversion:
    """Renames foreign weights for a model and compares them with what it needs; the model is not changed.

    Args:
        weights: foreign name → tensor.
        names: the name map.
        model: the module to convert for.

    Returns:
        The renamed weights, for `model.load_state_dict`, and what did not fit.

    Raises:
        CheckpointError: two foreign entries would get the same name.
    """
    needed = model.state_dict()
    found: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    dropped, unmapped, unexpected, mismatched = [], [], [], []
    for theirs, tensor in weights.items():
        matches, ours = _rename(theirs, names)
        if not matches:
            unmapped.append(theirs)
        elif ours is None:
            dropped.append(theirs)
        elif ours in origin:
            raise CheckpointError(f"{origin[ours]} and {theirs} both become {ours}: keep one of them")
        else:
            origin[ours] = theirs
            if ours not in needed:
                unexpected.append(f"{theirs} -> {ours}")
            elif tensor.shape != needed[ours].shape:
                shapes = tuple(tensor.shape), tuple(needed[ours].shape)
                mismatched.append(f"{ours}: theirs {shapes[0]}, the model's {shapes[1]}")
            else:
                found[ours] = tensor
    missing = [n for n in needed if n not in origin and not _is_optional(n)]
    return Conversion(
        found, tuple(dropped), tuple(unmapped), tuple(unexpected), tuple(mismatched), tuple(missing)
    )


def _rename(name: str, names: NameMap) -> tuple[bool, str | None]:
    """Whether an expression matches, and the new name (None: dropped on purpose)."""
    for expression, replacement in names.items():
        match = re.fullmatch(expression, name)
        if match:
            return True, None if replacement is None else match.expand(replacement)
    return False, None


def _is_optional(name: str) -> bool:
    # Checkpoints older than PyTorch 0.4.1 lack this counter; load_state_dict fills it in.
    return name.endswith(".num_batches_tracked")


def _first(names: Iterable[str], count: int = 3) -> str:
    shown = list(names)
    return ", ".join(shown[:count]) + (", …" if len(shown) > count else "")
