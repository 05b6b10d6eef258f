"""Entry points for torch.hub, as in `torch.hub.load("path/to/this/repository", "model", "my/model", source="local")`.

`place` is what `kinevec.load` takes: a run's folder, an exported folder, one file of weights, `untrained:NAME`, or
`org/name` on the Hugging Face hub.
"""

import importlib.util as _util
import sys as _sys
from pathlib import Path as _Path
from typing import Any as _Any

dependencies = ["torch", "numpy", "av", "cv2", "pyarrow", "safetensors", "tomli_w"]

if _util.find_spec("kinevec") is None:  # an installed one goes first
    _sys.path.append(str(_Path(__file__).resolve().parent / "src"))


def model(place: str, **settings: _Any) -> _Any:
    """A `kinevec.exchange.model.Model`: `.embed(files)` gives a vector for each video.

    Args:
        place: see above.
        settings: `device` and `precision`, as for `kinevec.load`.
    """
    import kinevec

    return kinevec.load(place, **settings)


def encoder(place: str) -> _Any:
    """The encoder alone, a `torch.nn.Module` in evaluation mode: frames (N, 3, T, H, W), normalised, → feature map
    (N, C, T', H', W').

    Args:
        place: see above.
    """
    from kinevec import encoders

    return encoders.load(place).encoder.eval()
