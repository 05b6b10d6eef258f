"""What the command line does, as Python calls."""

from kinevec.tasks.auditing import audit
from kinevec.tasks.comparing import compare
from kinevec.tasks.exchange import convert, export
from kinevec.tasks.judging import evaluate
from kinevec.tasks.searching import cluster, embed, search
from kinevec.tasks.serving import is_loopback, serve
from kinevec.tasks.showing import show
from kinevec.tasks.training import pretrain
from kinevec.tasks.videos import Official, flow, open_collection, open_training, prepare, synth
from kinevec.tasks.watcher import Silent, Watcher, counter

__all__ = [
    "Official",
    "Silent",
    "Watcher",
    "audit",
    "cluster",
    "compare",
    "convert",
    "counter",
    "embed",
    "evaluate",
    "export",
    "flow",
    "is_loopback",
    "open_collection",
    "open_training",
    "prepare",
    "pretrain",
    "search",
    "serve",
    "show",
    "synth",
]
