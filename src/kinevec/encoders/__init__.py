"""Any encoder by the place it lies in, with all that using it needs.

A place is a run's folder, a folder that `kinevec export` or `convert` made, one file of weights (ours, torchvision's,
the papers'), `untrained:NAME`, or a model `org/name` of the Hugging Face hub.
"""

from kinevec.encoders.loaded import Loaded
from kinevec.encoders.place import HUB, UNTRAINED, load

__all__ = ["HUB", "UNTRAINED", "Loaded", "load"]
