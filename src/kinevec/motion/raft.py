"""Optical flow by RAFT, for those who have its weights; torchvision has the network.

>>> method = raft(Path("raft_large_C_T_SKHT_V2.pth"), "cuda")
>>> flow = optical_flow(frames, gap=8, method=method)
"""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinevec.errors import CheckpointError, InputError, UsageError
from kinevec.motion.flow import Flow, Frames, Method, Pairs

_MULTIPLE = 8  # pixels: the network computes flow at an eighth of the resolution
_SMALLEST = 128  # pixels: its pyramid halves that three more times


def raft(weights: Path, device: str | torch.device = "cpu", batch: int = 8) -> Method:
    """Makes a flow method of RAFT's weights; see `kinevec.motion.flow.optical_flow`.

    Frames are padded with their edge to multiples of 8 pixels, and to at least 128.

    Args:
        weights: of torchvision's `raft_large` or `raft_small`, in a file of PyTorch or safetensors; which of
            the two they are is seen from them.
        batch: pairs that go through the network at once.

    Raises:
        UsageError: torchvision is not installed.
        InputError: there is no such file.
        CheckpointError: it holds something else.

    Source: Teed and Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow"; MSCL's choice.
    """
    network = _network(weights).to(device).eval().requires_grad_(False)

    @torch.inference_mode()
    def run(frames: Frames, pairs: Pairs) -> Flow:
        height, width = frames.shape[2:]
        padding = (0, _padded(width) - width, 0, _padded(height) - height)
        flow = np.empty((len(pairs), 2, height, width), np.float32)
        for start in range(0, len(pairs), batch):
            some = pairs[start : start + batch]
            first, second = (_image(frames[[pair[end] for pair in some]], padding, device) for end in (0, 1))
            finest = network(first, second)[-1]
            flow[start : start + len(some)] = finest[:, :, :height, :width].float().cpu().numpy()
        return flow

    return run


def _image(frames: Frames, padding: tuple[int, int, int, int], device: str | torch.device) -> Tensor:
    """Frames (N, 3, H, W) as the network sees them: padded, from -1 to 1."""
    image = torch.from_numpy(frames).to(device).float() / 127.5 - 1
    return F.pad(image, padding, mode="replicate")


def _padded(side: int) -> int:
    return max(_SMALLEST, -(-side // _MULTIPLE) * _MULTIPLE)


def _network(path: Path) -> nn.Module:
    try:
        networks: Any = importlib.import_module("torchvision.models.optical_flow")
    except ImportError as error:
        raise UsageError(
            "the flow method 'raft' needs torchvision, which must be made for this version of PyTorch: "
            f"pip install torchvision 'torch=={torch.__version__}'"
        ) from error
    state = _state(path)
    large = any(name.startswith("mask_predictor.") for name in state)
    network: nn.Module = (networks.raft_large if large else networks.raft_small)(weights=None)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        kind = "raft_large" if large else "raft_small"
        raise CheckpointError(f"{path}: not the weights of torchvision's {kind}: {error}") from error
    return network


def _state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            tree: Any = load_file(path)
        else:
            tree = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: cannot read these weights: {error.strerror or error}") from error
    except Exception as error:  # both raise many kinds on a damaged file
        raise CheckpointError(f"{path}: damaged, or not weights ({error})") from error
    if not isinstance(tree, dict) or not all(isinstance(value, Tensor) for value in tree.values()):
        raise CheckpointError(f"{path}: holds no weights by name")
    return {str(name).removeprefix("module."): value for name, value in tree.items()}
