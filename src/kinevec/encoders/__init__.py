"""Any encoder by the place it lies in, with all that using it needs.

A place is a run's folder, a folder that `kinevec export` or `convert` made, one file of weights (ours, torchvision's,
the papers'), `untrained:NAME`, or a model `org/name` of the Hugging Face hub.
"""

from typing import TYPE_CHECKING, Any

from kinevec.encoders.layout import HUB, UNTRAINED, check_place

if TYPE_CHECKING:
    from kinevec.encoders.loaded import Loaded
    from kinevec.encoders.place import load, load_beside

__all__ = ["HUB", "UNTRAINED", "Loaded", "check_place", "load", "load_beside"]


def __getattr__(name: str) -> Any:
    """What needs PyTorch is imported when it is asked for, so that a place can be checked before."""
    if name not in __all__:
        raise AttributeError(f"module 'kinevec.encoders' has no attribute '{name}'")
    from kinevec.encoders import loaded, place

    return loaded.Loaded if name == "Loaded" else getattr(place, name)
