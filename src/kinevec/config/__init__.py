"""Configuration: frozen dataclasses, read from TOML presets and files, refusing what makes no sense.

`load("moco", ["train.epochs=3"])` reads a preset and changes one value; `to_toml` writes a
configuration back so that reading it again gives an equal one.
"""

from kinevec.config.methods import Fima, Method, Model, Mscl, Terms
from kinevec.config.refusal import check
from kinevec.config.run import INCIDENTAL, Config, differences
from kinevec.config.toml import load, presets, to_toml
from kinevec.config.training import Log, Train
from kinevec.config.tree import from_dict, to_dict
from kinevec.config.videos import Clip, Data, Flow, Sampling, Views

__all__ = [
    "INCIDENTAL",
    "Clip",
    "Config",
    "Data",
    "Fima",
    "Flow",
    "Log",
    "Method",
    "Model",
    "Mscl",
    "Sampling",
    "Terms",
    "Train",
    "Views",
    "check",
    "differences",
    "from_dict",
    "load",
    "presets",
    "to_dict",
    "to_toml",
]
