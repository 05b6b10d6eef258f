"""What the command line does, as Python calls."""

from kinevec.tasks.judging import evaluate
from kinevec.tasks.training import pretrain
from kinevec.tasks.videos import Official, flow, open_collection, open_training, prepare, synth
from kinevec.tasks.watcher import Silent, Watcher, counter

__all__ = [
    "Official",
    "Silent",
    "Watcher",
    "counter",
    "evaluate",
    "flow",
    "open_collection",
    "open_training",
    "prepare",
    "pretrain",
    "synth",
]
